"""Cluster states and keys for tests of a shard, and what its answers come to."""

from __future__ import annotations

from itertools import count
from typing import Any, TypeAlias

import attrs
from deferreds import result
from stores import bare

from pyshard.errors import PyshardError
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_answers import Answer, Result
from pyshard.protocol.batch_operations import Run
from pyshard.shard.shard import Shard

Outcome: TypeAlias = Result | str

HALF = SLOTS // 2
LOW = MapShard("low", ((0, HALF),), 100_000, "127.0.0.1", 5050, identity="1d")
HIGH = MapShard("high", ((HALF, SLOTS),), 100_000, "127.0.0.1", 5051, identity="2e")
STATE = ClusterState("c1", 7, ShardMap([LOW, HIGH]), {"pages": 1}, 2)
NEXT = attrs.evolve(STATE, epoch=8)


def keys_of(own: MapShard, index: str = "") -> list[bytes]:
    """Some keys that a range owns."""
    found: list[bytes] = []
    for number in count():
        key = b"%d" % number
        if in_ranges(slot_of(key, index.encode()), own.ranges):
            found.append(key)
        if len(found) == 5:
            break
    return found


A, B, C, D, E = keys_of(LOW)
X, Y = keys_of(HIGH)[:2]


def outcomes(answers: list[Answer]) -> list[list[Outcome]]:
    """Results, with the code of the refusal where there is one."""
    return [[one.code if isinstance(one, PyshardError) else one for one in answer.outcomes()] for answer in answers]


def applied(shard: Shard, *runs: Run, epoch: int = 7) -> list[list[Outcome]]:
    """Apply runs as one batch."""
    return outcomes(result(shard.apply(epoch, runs)))


def answers(shard: Shard, *runs: Run, epoch: int = 7) -> list[list[Outcome]]:
    """Apply runs as one batch; records come without what stands before them."""
    found = applied(shard, *runs, epoch=epoch)
    return [[bare(run, one) for one in each] for run, each in zip(runs, found, strict=True)]


def with_low(state: ClusterState = STATE, **changes: Any) -> ClusterState:
    """A state in which low is another one."""
    ranges = [attrs.evolve(one, **changes) if one.name == "low" else one for one in state.map.shards]
    return attrs.evolve(state, map=ShardMap(ranges))


def split_at(slot: int, epoch: int) -> ClusterState:
    """A state in which low ends at `slot`."""
    ranges = [
        attrs.evolve(LOW, ranges=((LOW.ranges[0][0], slot),)),
        attrs.evolve(HIGH, ranges=((slot, HIGH.ranges[0][1]),)),
    ]
    return attrs.evolve(STATE, epoch=epoch, map=ShardMap(ranges))
