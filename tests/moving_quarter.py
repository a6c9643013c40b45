"""A quarter of all slots that moves from shard to shard, in a cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from deferreds import change_state

from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.testing import MemoryCluster

QUARTER: SlotRanges = ((SLOTS // 4, SLOTS // 2),)


DOCS = {f"key {number}": number for number in range(500)}


MOVING = [key for key in DOCS if in_ranges(slot_of(key.encode()), QUARTER)]


@contextmanager
def quarter_to_move() -> Iterator[MemoryCluster]:
    """Two shards with some documents."""
    with MemoryCluster() as made:
        client = made.connect()
        made.run(client.write_many(DOCS))
        made.run(client.write(MOVING[0], 0, ttl=1000))
        yield made


def state_of(cluster: MemoryCluster) -> ClusterState:
    """The cluster's state."""
    assert cluster.bootstrap is not None
    return cluster.bootstrap.bootstrap.state


def plan(cluster: MemoryCluster, source: str, target: str, ranges: SlotRanges = QUARTER) -> RangeMove:
    """Have a move planned."""
    assert cluster.bootstrap is not None
    bootstrap = cluster.bootstrap.bootstrap
    change_state(bootstrap, bootstrap.state.with_moves([Transfer(source, target, ranges)]))
    return bootstrap.state.moves[-1]


def until(cluster: MemoryCluster, *phases: Phase) -> None:
    """Let time pass until the first move has one of these phases; none given: until no move is left."""
    for _ in range(2000):
        cluster.advance(0.01)
        moves = state_of(cluster).moves
        if (not moves and not phases) or (moves and moves[0].phase in phases):
            return
    raise AssertionError(state_of(cluster).moves)


def owned(cluster: MemoryCluster) -> dict[str, SlotRanges]:
    """What the map says that each shard owns."""
    return {shard.name: shard.ranges for shard in state_of(cluster).map.shards}
