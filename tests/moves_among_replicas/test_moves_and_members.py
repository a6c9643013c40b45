"""What one member of a shard with replicas alone has of a move counts for nothing: it could be lost with it.

A member's disk hangs meanwhile, so that the primary has groups that aren't committed.
"""

from __future__ import annotations

import pytest
from deferreds import watch
from moving import (
    DOCS,
    MOVING,
    QUARTER,
    STAYING,
    owner,
    plan,
    slow_down,
    state_of,
    until,
)
from moving_replicas import (
    HungDisk,
    check_members,
    check_whole,
    copies_of_last,
    has_staged,
    others,
    primary,
    replicated,
    store_of,
    until_so,
    wait_led,
)
from twisted.internet.task import deferLater

from pyshard.errors import NotConfigured, OutcomeUnknown
from pyshard.model.range_moves import Phase
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.pages import encode_ranges
from pyshard.shard.protocol import ShardProtocol
from pyshard.storage import LmdbStore
from pyshard.testing import MemoryCluster


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
    assert not has_staged(cluster, primary(cluster, "shard1"))
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
    (member,) = others(durable, "shard1")
    HungDisk(durable, member, monkeypatch)
    for number in range(30):
        client.write(MOVING[0], number).addErrback(lambda _: None)
        durable.advance(0.01)
    assert copied() > before
    assert isinstance(source, LmdbStore)
    assert source._engine.retention.places.by_name["move 1"] <= before


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


def connection_to(cluster: MemoryCluster, name: str) -> ShardProtocol:
    """What answers over a connection to a process."""
    made = cluster.services[name]
    return ShardProtocol(made.shard, made.snapshots, made.followers, made.moves, made.factory, cluster.clock)


def test_answers_wait_for_members(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A primary gives copies and digests, and reports, when all members have what it has; the others give nothing."""
    client = cluster.connect()
    leads, (member,) = primary(cluster, "shard0"), others(cluster, "shard0")
    ranges = encode_ranges(QUARTER)
    hung = HungDisk(cluster, member, monkeypatch)
    watch(client.write(MOVING[0], "it may be lost", deadline=20))
    cluster.advance(0.05)
    asked = connection_to(cluster, leads)
    waiting = [watch(asked.open_copy("m", ranges)), watch(asked.open_digest("m", ranges)), watch(asked.report_moves())]
    cluster.advance(0.2)
    assert waiting == [[], [], []]
    hung.let_go(monkeypatch)
    until_so(cluster, lambda: all(waiting))
    assert all(isinstance(each[0], dict) for each in waiting)
    other = connection_to(cluster, member)
    for ask in (
        lambda: other.open_copy("m", ranges),
        lambda: other.open_digest("m", ranges),
        lambda: other.read_groups("m", 1, ranges, 0),
        other.report_moves,
    ):
        with pytest.raises(NotConfigured, match="doesn't lead"):
            ask()
    asked.connectionLost()
