"""Ranges that move between shards with replicas, while primaries are lost: moves go on, and nothing is lost.

Either side's primary is killed in each phase. The next one takes the move up, by what the log has brought it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import attrs
import pytest
from deferreds import watch
from moving import (
    DOCS,
    MOVING,
    QUARTER,
    STAYING,
    DurableStores,
    cancel,
    filled,
    owner,
    plan,
    slow_down,
    state_of,
    until,
)
from moving_replicas import LEASE, LED, check_members, group_of, others, primary, replicated, rows_of, wait_whole
from stores import folder
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pyshard.client import Client
from pyshard.client.layout_client import LayoutClient
from pyshard.errors import OutcomeUnknown, StorageFailed, Unavailable
from pyshard.model.config_file import ClusterConfig
from pyshard.model.layout_change import with_other_ranges
from pyshard.model.range_moves import Phase
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.storage import IStore
from pyshard.testing import MemoryCluster

SIDES = {"source": "shard0", "target": "shard1"}


@pytest.fixture(params=["memory", "durable"])
def cluster(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """Two shards with two replicas each, in memory, or durable."""
    with folder() as path:
        store = None if request.param == "memory" else DurableStores(path).open
        with replicated(store) as made:
            yield made


@pytest.fixture
def durable() -> Iterator[MemoryCluster]:
    """Durable ones."""
    with folder() as path, replicated(DurableStores(path).open) as made:
        yield made


def fail_over(cluster: MemoryCluster, shard: str) -> str:
    """Kill a shard's primary, and wait until another one leads; the name of who was killed."""
    killed = primary(cluster, shard)
    cluster.kill_shard(killed)
    wait_led(cluster, shard, killed)
    return killed


def wait_led(cluster: MemoryCluster, shard: str, former: str) -> None:
    """Wait until another one leads."""
    for _ in range(round(LED / 0.05)):
        if primary(cluster, shard) != former:
            return
        cluster.advance(0.05)
    raise AssertionError(f"nobody leads {shard} in place of {former}")


def check_whole(cluster: MemoryCluster, client: Client) -> None:
    """Nothing is lost or doubled, all can be changed, and all members have the same."""
    keys = list(DOCS)
    assert cluster.run(client.get_many(keys, deadline=30)) == list(DOCS.values())
    assert cluster.run(client.count()) == len(DOCS)
    cluster.run(client.write_many(dict.fromkeys(DOCS, "new"), deadline=30))
    assert cluster.run(client.get_many(keys, deadline=30)) == ["new"] * len(DOCS)
    cluster.run(client.write_many(DOCS))
    check_members(cluster)


def test_a_range_moves(cluster: MemoryCluster) -> None:
    """All members of the target have it, and none of the source; and back."""
    client = cluster.connect()
    plan(cluster)
    until(cluster)
    assert owner(cluster) == "shard1"
    check_whole(cluster, client)
    plan(cluster, "shard1", "shard0")
    until(cluster)
    assert owner(cluster) == "shard0"
    check_whole(cluster, client)


@pytest.mark.parametrize("phase", [Phase.COPYING, Phase.SEALING, Phase.COMMITTED])
@pytest.mark.parametrize("side", SIDES)
def test_a_primary_is_lost(cluster: MemoryCluster, side: str, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever phase, the move comes to its end all the same, and isn't cancelled."""
    client = cluster.connect()
    slow_down(cluster, monkeypatch)
    plan(cluster)
    until(cluster, phase)
    killed = fail_over(cluster, SIDES[side])
    until(cluster, Phase.COMMITTED)
    cluster.start_shard(killed)
    until(cluster)
    assert owner(cluster) == "shard1"
    check_whole(cluster, client)


class HungDisk:
    """Has a replica's store take nothing more of the primary's log, until it is let go.

    :param name: the process's.
    :param from_: the first group that it doesn't take.
    """

    def __init__(
        self,
        cluster: MemoryCluster,
        name: str,
        patched: pytest.MonkeyPatch,
        from_: Callable[[ChangeGroup], object] = lambda _: True,
    ) -> None:
        self._store = store_of(cluster, name)
        self._append = self._store.append
        self._from = from_
        self._waiting: list[Deferred[None]] = []
        patched.setattr(self._store, "append", self._take)

    def _take(self, groups: Sequence[ChangeGroup]) -> Deferred[None]:
        if not self._waiting and not any(map(self._from, groups)):
            return self._append(groups)
        self._waiting.append(Deferred())
        return self._waiting[-1]

    def let_go(self, patched: pytest.MonkeyPatch) -> None:
        """Fail what it was told, and go on."""
        patched.setattr(self._store, "append", self._append)
        for waiting in self._waiting:
            waiting.errback(StorageFailed("the disk hung"))


def store_of(cluster: MemoryCluster, name: str) -> IStore:
    """The store of a process."""
    return cluster.services[name].shard.store


def until_so(cluster: MemoryCluster, holds: Callable[[], object], seconds: float = 10.0) -> None:
    """Let time pass, a millisecond at a time, until something holds."""
    for _ in range(round(seconds / 0.001)):
        if holds():
            return
        cluster.advance(0.001)
    raise AssertionError(f"in vain for {seconds:g} s: {state_of(cluster).moves}")


def copies_of_last(cluster: MemoryCluster) -> tuple[int, Phase]:
    """How often the copy of the last move was begun by whoever led its target at last, and what became of it."""
    assert cluster.bootstrap is not None
    last = cluster.bootstrap.driver.listed()[-1]
    return last.copies, last.phase


@pytest.mark.parametrize(("side", "copies"), [("source", 1), ("target", 0)])
def test_a_complete_copy_stays(durable: MemoryCluster, side: str, copies: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a primary is lost after it was copied, the next one goes on from there; what it changed meanwhile, too."""
    client = durable.connect()
    slow_down(durable, monkeypatch)
    plan(durable)
    until(durable, Phase.SEALING)
    fail_over(durable, SIDES[side])
    durable.run(client.write_many(dict.fromkeys(MOVING, "meanwhile"), deadline=30))
    until(durable)
    assert copies_of_last(durable) == (copies, Phase.COMMITTED)
    assert durable.run(client.get_many(MOVING)) == ["meanwhile"] * len(MOVING)
    assert durable.run(client.count()) == len(DOCS)


def _says_sealed(group: ChangeGroup) -> bool:
    """Whether a group of a target's says that it has all up to a seal."""
    return group.ranges is not None and any(staging.sealed for staging in group.ranges.staged.values())


def test_committed_when_all_members_have_it(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target whose member hasn't got that it has all isn't ready, until it goes on without that one."""
    client = cluster.connect()
    slow_down(cluster, monkeypatch)
    plan(cluster)
    leads, (member,) = store_of(cluster, primary(cluster, "shard1")), others(cluster, "shard1")
    hung = HungDisk(cluster, member, monkeypatch, _says_sealed)
    until_so(cluster, lambda: "move 1" in leads.ranges.staged and leads.ranges.staged["move 1"].sealed, 30)
    assert leads.committed < leads.position.sequence
    while others(cluster, "shard1"):
        assert state_of(cluster).moves[0].phase is not Phase.COMMITTED
        cluster.advance(0.01)
    until(cluster, Phase.COMMITTED)
    hung.let_go(monkeypatch)
    until(cluster)
    check_whole(cluster, client)


def test_a_seal_that_is_lost_with_its_primary(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The target hears of a seal when all members have it. One that they don't have is void: the range is served."""
    client = cluster.connect()
    cluster.run(client.get_many(MOVING))
    slow_down(cluster, monkeypatch)
    plan(cluster)
    sealed, (member,) = primary(cluster, "shard0"), others(cluster, "shard0")
    until_so(cluster, lambda: state_of(cluster).moves[0].phase is Phase.SEALING, 30)
    hung = HungDisk(cluster, member, monkeypatch)
    until_so(cluster, lambda: store_of(cluster, sealed).ranges.sealed)
    assert store_of(cluster, sealed).committed < store_of(cluster, sealed).position.sequence
    cluster.advance(0.2)
    target = store_of(cluster, primary(cluster, "shard1"))
    assert target.ranges.staged["move 1"].sealed == 0
    cluster.kill_shard(sealed)
    hung.let_go(monkeypatch)
    wait_led(cluster, "shard0", sealed)
    move = state_of(cluster).moves[0]
    assert (move.phase, move.attempt) == (Phase.COPYING, 1), "it isn't cancelled, and the attempt counts no more"
    cluster.run(client.write(MOVING[0], "after", deadline=30))
    cluster.run(client.write(MOVING[0], DOCS[MOVING[0]]))
    cluster.start_shard(sealed)
    until(cluster)
    assert copies_of_last(cluster)[1] is Phase.COMMITTED
    assert owner(cluster) == "shard1"
    check_whole(cluster, client)


@pytest.mark.parametrize("lost", [None, "shard0", "shard1"])
def test_sealed_without_a_bootstrap(cluster: MemoryCluster, lost: str | None) -> None:
    """A sealed range stays sealed with the next primary, also of the target, until the state has decided."""
    client = cluster.connect()
    cluster.run(client.get_many(list(DOCS)))
    plan(cluster)
    until_so(cluster, lambda: state_of(cluster).moves[0].phase is Phase.SEALING)
    cluster.stop_bootstrap()
    cluster.advance(0.5)
    if lost is not None:
        killed = primary(cluster, lost)
        cluster.kill_shard(killed)
    cluster.advance(3)
    with pytest.raises(Unavailable):
        cluster.run(client.write(MOVING[0], "lost?", deadline=2))
    cluster.start_bootstrap()
    if lost is not None:
        cluster.start_shard(killed)
    until(cluster)
    assert copies_of_last(cluster)[1] is Phase.COMMITTED
    check_whole(cluster, client)


def test_cancelled(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a target has copied is removed by whoever leads it then, though it never led before."""
    client = cluster.connect()
    slow_down(cluster, monkeypatch)
    plan(cluster)
    until_so(cluster, lambda: _staged(cluster, others(cluster, "shard1")[0]))
    cancel(cluster)
    killed = fail_over(cluster, "shard1")
    cluster.start_shard(killed)
    until(cluster)
    assert copies_of_last(cluster)[1] is Phase.CANCELLED
    assert owner(cluster) == "shard0"
    check_whole(cluster, client)


def _staged(cluster: MemoryCluster, name: str) -> bool:
    """Whether a process has records of a copy."""
    store = store_of(cluster, name)
    return any(in_ranges(row.slot, QUARTER) for row in rows_of(store)) and bool(store.ranges.staged)


def test_nobody_sees_a_copy(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members take what is copied from the log, as hidden as it is; so the next primary shows nothing of it."""
    client = cluster.connect()
    slow_down(cluster, monkeypatch)
    plan(cluster)
    (member,) = others(cluster, "shard1")
    until_so(cluster, lambda: _staged(cluster, member))
    assert store_of(cluster, member).documents == cluster.run(client.count()) - store_of(cluster, "shard0").documents
    assert not cluster.services[member].moves._pulling
    former = primary(cluster, "shard1")
    replica = cluster.services[former].shard.replica
    assert replica is not None
    replica.switch(*group_of(cluster, "shard1").others)
    wait_led(cluster, "shard1", former)
    assert member == primary(cluster, "shard1")
    assert cluster.run(client.count(deadline=20)) == len(DOCS)
    assert sorted(cluster.run(_keys(client))) == sorted(DOCS)
    assert not cluster.services[former].moves._pulling, "who leads no more pulls no more"
    until(cluster)
    assert copies_of_last(cluster)[1] is Phase.COMMITTED
    check_whole(cluster, client)


async def _keys(client: Client) -> list[str]:
    return [key async for key in client.keys(deadline=20)]


def test_a_learner_copies_what_is_staged(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica of the target that begins from a copy meanwhile can lead, and go on."""
    client = cluster.connect()
    (member,) = others(cluster, "shard1")
    cluster.kill_shard(member)
    until_so(cluster, lambda: not others(cluster, "shard1"))
    slow_down(cluster, monkeypatch)
    plan(cluster)
    until_so(cluster, lambda: _staged(cluster, primary(cluster, "shard1")))
    cluster.start_shard(member)
    until_so(cluster, lambda: others(cluster, "shard1"))
    fail_over(cluster, "shard1")
    for name in ("shard1", "shard1.2"):
        if name not in cluster.services:
            cluster.start_shard(name)
    until(cluster)
    assert copies_of_last(cluster)[1] is Phase.COMMITTED
    check_whole(cluster, client)


def test_a_target_with_too_few_members() -> None:
    """What it would own is promised to be on two machines: it waits for the second one, and says so."""
    with replicated(replicas=3) as cluster:
        client = cluster.connect()
        for member in others(cluster, "shard1"):
            cluster.kill_shard(member)
        until_so(cluster, lambda: not others(cluster, "shard1"))
        plan(cluster)
        cluster.advance(10)
        (move,) = state_of(cluster).moves
        assert (move.phase, move.attempt) == (Phase.COPYING, 0)
        assert cluster.bootstrap is not None
        assert "too few replicas" in cluster.bootstrap.driver.listed()[-1].error
        for name in cluster.processes.keys() - cluster.services.keys():
            cluster.start_shard(name)
        until(cluster)
        assert copies_of_last(cluster)[1] is Phase.COMMITTED
        check_whole(cluster, client)


def test_what_may_be_undone_is_not_copied(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy waits until all members of the source have what is in it; the rest the next primary may not have."""
    client = cluster.connect()
    cluster.run(client.get_many(MOVING))
    slow_down(cluster, monkeypatch)
    lost, (member,) = primary(cluster, "shard0"), others(cluster, "shard0")
    plan(cluster)
    until_so(cluster, lambda: state_of(cluster).moves[0].phase is Phase.COPYING)
    hung = HungDisk(cluster, member, monkeypatch)
    wrote = watch(client.write(MOVING[0], "it may be lost", deadline=20))
    cluster.advance(0.2)
    assert not _staged(cluster, primary(cluster, "shard1"))
    cluster.kill_shard(lost)
    hung.let_go(monkeypatch)
    wait_led(cluster, "shard0", lost)
    cluster.start_shard(lost)
    until(cluster)
    assert isinstance(wrote[0], OutcomeUnknown)
    assert cluster.run(client.get(MOVING[0])) == DOCS[MOVING[0]]
    check_whole(cluster, client)


def test_what_is_confirmed_stays(durable: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The source is told to keep no more what all members of the target have, and not before."""
    client = durable.connect()
    slow_down(durable, monkeypatch)
    plan(durable)
    source, target = (store_of(durable, primary(durable, shard)) for shard in ("shard0", "shard1"))

    def copied() -> int:
        staging = target.ranges.staged.get("move 1")
        return 0 if staging is None else staging.origin.sequence

    until_so(durable, lambda: copied() and target.committed == target.position.sequence, 30)
    before = copied()
    HungDisk(durable, *others(durable, "shard1"), monkeypatch)
    for number in range(30):
        client.write(MOVING[0], number).addErrback(lambda _: None)
        durable.advance(0.01)
    assert copied() > before
    assert dict(source.followers)["move 1"] <= before


def test_beside_writes(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that always has changes which its members don't have yet gives a range away all the same."""
    client = cluster.connect()
    store = store_of(cluster, *others(cluster, "shard0"))
    append = store.append
    monkeypatch.setattr(store, "append", lambda groups: deferLater(cluster.clock, 0.05, append, groups))
    plan(cluster)
    for number in range(5000):
        client.write(STAYING[number % len(STAYING)], number)
        cluster.advance(0.002)
        if state_of(cluster).moves[0].phase is Phase.COMMITTED:
            break
    else:
        raise AssertionError(state_of(cluster).moves)
    until(cluster)
    check_members(cluster)


def test_a_shard_gets_replicas_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides of a move, while it goes on; then their primaries are lost."""
    with filled() as cluster:
        client = cluster.connect(deadline=20)
        slow_down(cluster, monkeypatch)
        plan(cluster)
        until_so(cluster, lambda: _staged(cluster, "shard1"))
        shards = []
        for own in cluster.map.shards:
            places = [MapReplica(own.host, own.port + 100 * number) for number in range(2)]
            shards.append(own.led_by_group(new_group(places, lease=LEASE)))
        cluster.map = ShardMap(shards)
        for name in ("shard0.2", "shard1.2"):
            cluster.start_shard(name)
        layout = LayoutClient(client)
        state = cluster.run(layout.state())
        wanted = ShardMap(
            attrs.evolve(own, ranges=before.ranges)
            for own, before in zip(shards, with_other_ranges(state, []).shards, strict=True)
        )
        assert cluster.run(layout.apply(ClusterConfig(wanted, "localhost", 9192), state)) == []
        assert [move.phase for move in state_of(cluster).moves] == [Phase.COPYING]
        until_so(cluster, lambda: others(cluster, "shard0") and others(cluster, "shard1"))
        for shard in ("shard0", "shard1"):
            cluster.start_shard(fail_over(cluster, shard))
            wait_whole(cluster)
        until(cluster)
        assert copies_of_last(cluster)[1] is Phase.COMMITTED
        check_whole(cluster, client)
