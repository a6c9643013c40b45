"""A replica that is to lead: what has moved away meanwhile it never serves, and whoever doesn't lead owns nothing."""

from __future__ import annotations

from random import Random

import attrs
import pytest
from conftest import TakeErrors
from deferreds import result
from shard.states import HALF, HIGH, LOW, STATE, answers
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import BadRequest, StaleEpoch
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.range_moves import Phase, RangeMove, StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.batch_operations import Read, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.store_ranges import Origin
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.shard import Shard
from pyshard.shard.shard_moves import ShardMoves
from pyshard.shard.shard_replica import ShardReplica
from pyshard.storage import MemoryStore
from pyshard.testing import MemoryNetwork

ME, OTHER = MapReplica("127.0.0.1", 5050, StoreId("1d", "1d")), MapReplica("127.0.0.1", 6050, StoreId("9x", "9x"))
REST: SlotRanges = ((0, HALF // 2),)
KEYS = [key for key in (b"%d" % number for number in range(100)) if in_ranges(slot_of(key), LOW.ranges)]
GONE = next(key for key in KEYS if not in_ranges(slot_of(key), REST))
KEPT = next(key for key in KEYS if in_ranges(slot_of(key), REST))
MOVE = RangeMove(1, "low", "high", ((HALF // 2, HALF),), phase=Phase.COMMITTED)


def led(
    epoch: int, ballot: int, primary: MapReplica, *members: MapReplica, ranges: SlotRanges = LOW.ranges
) -> ClusterState:
    """A state in which one of the two replicas leads low, which has some ranges."""
    group = ReplicaGroup(ballot, primary.address, frozenset(each.address for each in members), (ME, OTHER), 1, 1.0)
    rest = () if ranges == LOW.ranges else MOVE.ranges
    low = attrs.evolve(LOW, ranges=ranges).led_by_group(group)
    shards = ShardMap([low, attrs.evolve(HIGH, ranges=(*rest, (HALF, SLOTS)))])
    return attrs.evolve(STATE, epoch=epoch, map=shards, moves=(MOVE,) if rest else ())


@pytest.fixture
def member(new: Shard, clock: Clock) -> Shard:
    """A shard with documents that was led by this replica, and is led by the other one; nothing was sealed here."""
    new.replica = ShardReplica(new.store, clock, MemoryNetwork(clock).dial, Random(1))
    result(new.configure("low", led(7, 1, ME, ME)))
    result(new.apply(7, [Write("", [GONE, KEPT], [b"record"] * 2)]))
    result(new.configure("low", led(8, 2, OTHER, ME, OTHER)))
    assert not new.replica.leads
    return new


def test_what_has_gone_is_not_served(member: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the moment on in which it leads, though its store owns the range for a while yet, and never had a seal."""
    monkeypatch.setattr(member.store, "set_indexes", lambda *_: Deferred())
    member.configure("low", led(10, 3, ME, ME, ranges=REST))
    assert member.replica is not None
    assert member.replica.leads
    assert not member.store.ranges.sealed
    assert in_ranges(slot_of(GONE), member.store.ranges.owned)
    for epoch in (7, 10):
        found = answers(member, Read("", [GONE, KEPT]), Write("", [GONE], [b"new"]), epoch=epoch)
        assert found[0][0] == found[1][0] == "WRONG_SHARD"
        assert answers(member, Read("", [GONE]), epoch=epoch) == [["WRONG_SHARD"]]
    assert answers(member, Read("", [KEPT]), epoch=10) == [[b"record"]]


def test_ranges_are_of_the_log(member: Shard) -> None:
    """One that doesn't lead is told ranges of moves that it never heard of: its own change with the primary's log.

    The same of one that is to lead: it may have been away meanwhile.
    """
    forgotten = attrs.evolve(led(9, 3, OTHER, ME, OTHER, ranges=REST), moves=())
    result(member.configure("low", forgotten))
    assert member.store.ranges.owned == LOW.ranges
    result(member.configure("low", attrs.evolve(led(10, 4, ME, ME, ranges=REST), moves=())))
    assert member.store.ranges.owned == REST
    with pytest.raises(StaleEpoch, match="they don't move"):
        result(member.configure("low", attrs.evolve(led(11, 5, ME, ME), moves=())))


def test_ranges_of_one_that_leads_no_more(new: Shard, clock: Clock) -> None:
    """A primary that was cut off hears of the next one only when a move is long over: it follows."""
    new.replica = ShardReplica(new.store, clock, MemoryNetwork(clock).dial, Random(1))
    result(new.configure("low", led(7, 1, ME, ME)))
    result(new.apply(7, [Write("", [GONE, KEPT], [b"record"] * 2)]))
    result(new.configure("low", attrs.evolve(led(20, 9, OTHER, OTHER, ranges=REST), moves=())))
    assert not new.replica.leads


def test_a_copy_that_is_lost(member: Shard, logged_errors: TakeErrors) -> None:
    """One that an operator has lead in the middle of a copy that was committed elsewhere: the range begins empty."""
    result(member.configure("low", led(9, 3, ME, ME, ranges=REST)))
    while result(member.store.sweep(100)):
        pass
    result(member.store.stage("move 2", MOVE.ranges, Origin("2e", "2e")))
    rows = [Change(0, slot_of(GONE), GONE, 9, 0, b"a part of it")]
    result(member.store.absorb_staged("move 2", ChangeGroup(5, 0, 9, rows), 0, 100_000))
    result(member.configure("low", led(10, 4, OTHER, ME, OTHER, ranges=REST)))
    back = RangeMove(2, "high", "low", MOVE.ranges, phase=Phase.COMMITTED)
    state = attrs.evolve(led(11, 5, ME, ME), moves=(back,))
    with pytest.raises(BadRequest, match="old records are being removed"):
        result(member.configure("low", state))  # the bootstrap tells it again
    while result(member.store.sweep(100)):
        pass
    result(member.configure("low", state))
    assert "are lost" in str(logged_errors())
    assert member.store.ranges.owned == LOW.ranges
    assert answers(member, Read("", [GONE, KEPT]), epoch=11) == [[None, b"record"]]


def test_counted_ahead(member: Shard, clock: Clock) -> None:
    """One that doesn't lead counts what it will give up with the primary's log, so that this takes no time then."""
    ShardMoves(member, ServedFollowers(member.store, clock), clock, None, Random(1))
    assert isinstance(member.store, MemoryStore)
    result(member.configure("low", led(9, 3, OTHER, ME, OTHER, ranges=REST)))
    counted = member.store._hidden.ahead.counted(MOVE.ranges)
    assert counted is not None
    assert counted[0].documents == 1
