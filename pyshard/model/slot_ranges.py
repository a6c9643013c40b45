"""Sets of slots as ranges: what a store owns, what a follower wants. Pure.

Rules:

- a range is half-open, ``(start, end)``;
- ranges that a function here gives are in order, none is empty, and no two of them overlap or touch;
- `in_ranges`, `range_with`, `positions_in` and `holds_all` are given such ranges, so that a look takes hardly longer
  for a thousand than for one. All other functions are given any.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from typing import TypeAlias

from pyshard.compiled import IN_USE, key_leaves
from pyshard.model.key_slots import SLOTS, slot_to_hash

#: Ranges of slots: pairs of the first slot, and that behind the last one.
SlotRanges: TypeAlias = tuple[tuple[int, int], ...]

#: The whole keyspace.
EVERYTHING: SlotRanges = ((0, SLOTS),)


def in_ranges(slot: int, ranges: SlotRanges | None) -> bool:
    """Whether a slot lies in one of some ranges, which are in order; None: of all slots."""
    return ranges is None or range_with(slot, ranges) is not None


def union(*several: SlotRanges) -> SlotRanges:
    """All slots of some ranges, which may overlap, in any order."""
    found: list[tuple[int, int]] = []
    for start, end in sorted(one for ranges in several for one in ranges):
        if start >= end:
            continue
        if found and start <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((start, end))
    return tuple(found)


def common(one: SlotRanges, other: SlotRanges) -> SlotRanges:
    """The slots that are in both."""
    one, other = union(one), union(other)
    found: list[tuple[int, int]] = []
    here, there = 0, 0
    while here < len(one) and there < len(other):
        start, end = max(one[here][0], other[there][0]), min(one[here][1], other[there][1])
        if start < end:
            found.append((start, end))
        if one[here][1] == end:
            here += 1
        else:
            there += 1
    return tuple(found)


def without(ranges: SlotRanges, taken: SlotRanges) -> SlotRanges:
    """The slots of some ranges that aren't in others."""
    bounds = [0, *(bound for one in union(taken) for bound in one), SLOTS]
    gaps = tuple(zip(bounds[::2], bounds[1::2], strict=True))
    return common(ranges, gaps)


def range_with(slot: int, ranges: SlotRanges) -> tuple[int, int] | None:
    """The range that has a slot, or None.

    :param ranges: in order.
    """
    place = bisect_right(ranges, (slot, SLOTS)) - 1
    return ranges[place] if place >= 0 and slot < ranges[place][1] else None


def positions_in(slots: Sequence[int], ranges: SlotRanges) -> list[int]:
    """Where in `slots` those are that lie in some ranges, rising. The cost of a slot hardly grows with the ranges."""
    if len(slots) < len(ranges):  # a batch may have many runs of a few keys
        return [position for position, slot in enumerate(slots) if range_with(slot, ranges) is not None]
    bounds = [bound for one in ranges for bound in one]  # an odd number of them is no higher than a slot inside
    return [position for position, slot in enumerate(slots) if bisect_right(bounds, slot) & 1]


def span_plainly(slots: Sequence[int]) -> tuple[int, int]:
    """The least and the greatest of some slots."""
    return min(slots), max(slots)


span = key_leaves.span if IN_USE else span_plainly


def holds_all(ranges: SlotRanges, slots: Sequence[int]) -> bool:
    """Whether each of some slots lies in some ranges, which are in order."""
    if len(slots) == 1:
        return range_with(slots[0], ranges) is not None
    if not slots:
        return True
    least, most = span(slots)
    around = range_with(least, ranges)
    if around is None or most < around[1]:
        return around is not None
    return len(ranges) > 1 and len(positions_in(slots, ranges)) == len(slots)


def shown(ranges: SlotRanges) -> str:
    """Ranges as people read them; of many the first ones."""
    texts = [f"[{slot_to_hash(start)}, {slot_to_hash(end)})" for start, end in ranges[:3]]
    more = [f"{len(ranges) - 3} more"] if len(ranges) > 3 else []
    return ", ".join([*texts, *more]) or "no slot"
