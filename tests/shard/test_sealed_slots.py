"""A shard answers nothing of slots that its store has sealed, or doesn't own yet."""

from __future__ import annotations

import attrs
import pytest
from deferreds import result
from shard.states import HALF, HIGH, LOW, STATE, applied
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import ShardBehind, WrongShard
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.batch_operations import Has, Read, Write
from pyshard.shard.open_snapshots import OpenSnapshots
from pyshard.shard.shard import Shard
from pyshard.shard.snapshot_limits import SnapshotPeer

SEALED: SlotRanges = ((HALF // 4, HALF // 2),)
KEYS = [key for key in (b"%d" % number for number in range(400)) if in_ranges(slot_of(key), LOW.ranges)]
SHUT = [key for key in KEYS if in_ranges(slot_of(key), SEALED)]
OPEN = [key for key in KEYS if key not in SHUT]


@pytest.fixture
def sealed(shard: Shard) -> Shard:
    """The shard called low with all keys, and a part of its range sealed."""
    result(shard.apply(7, [Write("", KEYS, [b"record"] * len(KEYS))]))
    result(shard.store.seal("move 1", SEALED, 1))
    return shard


def test_operations(sealed: Shard) -> None:
    """Those on sealed slots are redirected; the others in their batch are done."""
    refused = ["WRONG_SHARD" if key in SHUT else True for key in KEYS]
    assert applied(sealed, Has("", KEYS)) == [refused]
    assert applied(sealed, Write("", KEYS, [b"new"] * len(KEYS))) == [refused]
    assert applied(sealed, Read("", SHUT[:1])) == [["WRONG_SHARD"]]


def test_pages(sealed: Shard) -> None:
    """No page passes over what is sealed: it ends before it, and none begins there."""
    first = result(sealed.keys(7, "", 0, None))
    assert first.slot == SEALED[0][0]
    assert all(slot_of(key) < SEALED[0][0] for key in first.keys)
    for slot in (SEALED[0][0], SEALED[0][1] - 1):
        with pytest.raises(WrongShard):
            sealed.keys(7, "", slot, None)
    behind = result(sealed.keys(7, "", SEALED[0][1], None))
    assert {*first.keys, *behind.keys} == set(OPEN)


def test_counts(sealed: Shard) -> None:
    """What is sealed is the shard's until it is given up, and counts."""
    assert result(sealed.count(7, "", 0)) == (len(KEYS), LOW.ranges)
    with pytest.raises(WrongShard):
        result(sealed.count(7, "", SEALED[0][0]))


def test_while_the_store_follows(sealed: Shard, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between a commit and what its store does for it, what goes isn't served any more. Nothing is counted, and
    no snapshot opened, which would have other ranges than its epoch says."""
    shards = [
        attrs.evolve(LOW, ranges=((0, SEALED[0][0]), (SEALED[0][1], HALF))),
        attrs.evolve(HIGH, ranges=(*SEALED, (HALF, SLOTS))),
    ]
    move = RangeMove(1, "low", "high", SEALED, phase=Phase.COMMITTED)
    state: ClusterState = attrs.evolve(STATE, epoch=8, map=ShardMap(shards), moves=(move,))
    waiting: Deferred[None] = Deferred()
    own = sealed.store.own
    monkeypatch.setattr(sealed.store, "own", lambda ranges: waiting.addCallback(lambda _: own(ranges)))
    configured = sealed.configure("low", state)
    refused = ["WRONG_SHARD" if key in SHUT else True for key in KEYS]
    assert applied(sealed, Has("", KEYS), epoch=8) == [refused]
    with pytest.raises(ShardBehind, match="taking on other ranges"):
        result(sealed.count(8, "", 0))
    snapshots = OpenSnapshots(sealed, Clock())
    with pytest.raises(ShardBehind, match="taking on other ranges"):
        result(snapshots.open("a", SnapshotPeer("10.0.0.1", admin=False)))
    assert len(snapshots) == 0
    waiting.callback(None)
    result(configured)
    assert applied(sealed, Has("", KEYS), epoch=8) == [refused]
    assert result(sealed.count(8, "", 0)) == (len(OPEN), shards[0].ranges)
    assert sealed.store.ranges.sealed == {}
