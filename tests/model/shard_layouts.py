"""Shards for tests of maps."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import strategies as st

from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard

QUARTER = SLOTS // 4


def shard(*ranges: tuple[int, int], name: str = "") -> MapShard:
    """A shard whose name and address follow from its ranges."""
    return MapShard(name or f"of {ranges}", ranges, 1024, f"host{ranges}", 5050)


def ranges_at(boundaries: set[int]) -> list[tuple[int, int]]:
    """The ranges between the given boundaries."""
    return list(pairwise([0, *sorted(boundaries), SLOTS]))


def shards_at(boundaries: set[int]) -> list[MapShard]:
    """A shard for each range between the given boundaries."""
    return [shard(bounds) for bounds in ranges_at(boundaries)]


def equal_parts(number: int) -> list[MapShard]:
    """So many shards with a range of the same length each."""
    return shards_at({SLOTS * one // number for one in range(1, number)})


boundary_sets = st.sets(st.integers(1, SLOTS - 1), max_size=20)
slots = st.integers(0, SLOTS - 1)
