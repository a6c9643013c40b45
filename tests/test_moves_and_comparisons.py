"""A range that moves is compared with its source before it is handed over, in a cluster in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import pytest
from moving_quarter import DOCS, MOVING, owned, plan, state_of, until
from msgspec.structs import replace
from twisted.internet.defer import Deferred

from pyshard.client.layout_client import LayoutClient
from pyshard.errors import SnapshotEnded
from pyshard.model import range_moves
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase
from pyshard.protocol import row_digests
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.settings import settings
from pyshard.shard import copy_check, digest_slices
from pyshard.shard.followed_shard import FollowedShard
from pyshard.storage import MemoryStore
from pyshard.testing import MemoryCluster


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """Two shards with some documents."""
    with MemoryCluster() as made:
        client = made.connect()
        made.run(client.write_many(DOCS))
        made.run(client.write(MOVING[0], 0, ttl=1000))
        yield made


def lossy(monkeypatch: pytest.MonkeyPatch, times: int, part: float = 0.0) -> None:
    """Have rows of a copy be lost on their way into the store, when they are fetched, and when they are fetched again.

    :param times: how often.
    :param part: which part of those that come together; it is one at the least.
    """
    absorb = MemoryStore.absorb_staged

    def without_some(store: MemoryStore, name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        nonlocal times
        known = store.ranges.staged[name].origin.sequence
        if sequence == known and group.changes and times:
            times -= 1
            group = replace(group, changes=group.changes[max(1, int(len(group.changes) * part)) :])
        return absorb(store, name, group, sequence, limit)

    monkeypatch.setattr(MemoryStore, "absorb_staged", without_some)


@pytest.mark.parametrize("part", [0.0, 0.9], ids=["in one row", "in most rows"])
def test_a_copy_that_differs(
    cluster: MemoryCluster,
    monkeypatch: pytest.MonkeyPatch,
    logged_errors: Callable[[], list[BaseException]],
    part: float,
) -> None:
    """It isn't sealed, but what differs is fetched again, or the copy begun anew; and the move ends with all rows.

    Of this operators are told.
    """
    monkeypatch.setattr(row_digests, "MOST_BUCKETS", 64)
    lossy(monkeypatch, times=1, part=part)
    client, value = cluster.connect(), 0
    plan(cluster, "shard0", "shard1")
    while state_of(cluster).moves:
        value += 1
        waiting = [client.write(key, value) for key in MOVING[:20]]
        cluster.advance(0.02)
        for written in waiting:
            assert cluster.run(written) > 0
    assert len(logged_errors()) == 1
    (listed,) = cluster.run(Deferred.fromCoroutine(LayoutClient(client).moves()))
    assert (listed.copies, listed.refetched) == ((2, 0) if part else (1, 1))
    found = cluster.run(client.get_many(MOVING))
    assert found == [value if key in MOVING[:20] else DOCS[key] for key in MOVING]
    assert owned(cluster)["shard1"] == ((SLOTS // 4, SLOTS),)
    assert cluster.run(client.count()) == len(DOCS)


def test_copies_that_always_differ(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, logged_errors: Callable[[], list[BaseException]]
) -> None:
    """After three times the move is cancelled with its reason; it was never sealed, and nothing is lost."""
    before, phases = owned(cluster), set()
    lossy(monkeypatch, times=1000)
    plan(cluster, "shard0", "shard1")
    for _ in range(2000):
        cluster.advance(0.01)
        phases |= {move.phase for move in state_of(cluster).moves}
        if Phase.CANCELLED in phases:
            break
    assert phases <= {Phase.PLANNED, Phase.COPYING, Phase.CANCELLED}
    assert state_of(cluster).moves[0].why == (
        "the copy was compared 3 times with what shard 'shard0' has, and never equal; the log of shard 'shard1' says "
        "where"
    )
    until(cluster)
    assert len(logged_errors()) >= 3
    assert owned(cluster) == before
    assert cluster.run(cluster.connect().count()) == len(DOCS)


def test_a_comparison_without_an_end(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that goes on counting for ever is told of, and then the move is cancelled; nothing is lost."""
    before, client = owned(cluster), cluster.connect()
    monkeypatch.setattr(range_moves, "settings", attrs.evolve(settings, MOVE_STALLS=70.0))

    async def never(*_: object) -> None:
        await Deferred()

    monkeypatch.setattr(FollowedShard, "digests", never)
    plan(cluster, "shard0", "shard1")
    cluster.advance(66)
    (listed,) = cluster.run(Deferred.fromCoroutine(LayoutClient(client).moves()))
    assert listed.phase is Phase.COPYING
    assert 60 < listed.stalled < 66
    cluster.advance(6)
    until(cluster)
    (listed,) = cluster.run(Deferred.fromCoroutine(LayoutClient(client).moves()))
    assert listed.phase is Phase.CANCELLED
    assert listed.why.startswith("the move has come no further for 70 s, though the source answers")
    assert owned(cluster) == before
    assert cluster.run(client.count()) == len(DOCS)


def test_not_sealed_before_it_is_compared(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A complete copy waits for as long as that takes."""
    count = digest_slices.digest_slice

    def ended(*_: object) -> bool:
        raise SnapshotEnded("the map grows")

    monkeypatch.setattr(copy_check, "digest_slice", ended)
    move = plan(cluster, "shard0", "shard1")
    cluster.advance(10)
    assert [each.phase for each in state_of(cluster).moves] == [Phase.COPYING]
    staging = cluster.services["shard1"].shard.store.ranges.staged[move.name]
    assert staging.origin.sequence == cluster.services["shard0"].shard.store.sequence
    monkeypatch.setattr(copy_check, "digest_slice", count)
    until(cluster)
    assert owned(cluster)["shard1"] == ((SLOTS // 4, SLOTS),)


@pytest.mark.parametrize("anew", [True, False], ids=["begun anew", "restarted"])
def test_not_compared_while_it_is_sealed(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, anew: bool) -> None:
    """A target that doesn't know (any more) that its copy is equal isn't committed before it was compared again."""
    move = plan(cluster, "shard0", "shard1")
    until(cluster, Phase.SEALING)
    taker = cluster.services["shard1"]
    pulling = taker.moves._pulling[move.name]
    assert pulling.pull.verdict.equal

    def ended(*_: object) -> bool:
        raise SnapshotEnded("the map grows")

    count = digest_slices.digest_slice
    monkeypatch.setattr(copy_check, "digest_slice", ended)
    if anew:
        cluster.run(taker.shard.store.unstage(move.name))
    pulling.stop()
    del taker.moves._pulling[move.name]
    taker.moves.update()
    for _ in range(500):
        cluster.advance(0.01)
        assert state_of(cluster).moves[0].phase in (Phase.SEALING, Phase.COPYING)
    assert state_of(cluster).moves[0].phase is Phase.COPYING
    monkeypatch.setattr(copy_check, "digest_slice", count)
    until(cluster)
    assert owned(cluster)["shard1"] == ((SLOTS // 4, SLOTS),)
    assert cluster.run(cluster.connect().count()) == len(DOCS)
