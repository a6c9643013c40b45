"""Sets of slots as ranges: what a store owns, what a follower wants. Pure.

Rules:

- a range is half-open, ``(start, end)``;
- ranges that a function here gives are in order, none is empty, and no two of them overlap or touch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from pyshard.model.key_slots import SLOTS

#: Ranges of slots: pairs of the first slot, and that behind the last one.
SlotRanges: TypeAlias = tuple[tuple[int, int], ...]

#: The whole keyspace.
EVERYTHING: SlotRanges = ((0, SLOTS),)


def in_ranges(slot: int, ranges: SlotRanges | None) -> bool:
    """Whether a slot lies in one of some ranges; None: of all slots."""
    return ranges is None or any(start <= slot < end for start, end in ranges)


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
    return union(tuple((max(a, c), min(b, d)) for a, b in one for c, d in other))


def without(ranges: SlotRanges, taken: SlotRanges) -> SlotRanges:
    """The slots of some ranges that aren't in others."""
    bounds = [0, *(bound for one in union(taken) for bound in one), SLOTS]
    gaps = tuple(zip(bounds[::2], bounds[1::2], strict=True))
    return common(ranges, gaps)


def holds_all(ranges: SlotRanges, slots: Sequence[int]) -> bool:
    """Whether each of many slots lies in some ranges."""
    if not slots:
        return True
    least, most = min(slots), max(slots)
    if any(start <= least and most < end for start, end in ranges):
        return True
    return len(ranges) > 1 and all(in_ranges(slot, ranges) for slot in slots)
