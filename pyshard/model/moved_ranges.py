"""Which slots have moved from shard to shard, and since which epoch each is where it is. Pure.

An operation that was routed by an older epoch than the *since* of its slot may have been on its way while the slot went
away and came back. What has happened to its key in between, it doesn't know of; so it is redirected.
"""

from __future__ import annotations

from typing import TypeAlias

from pyshard.model.slot_ranges import SlotRanges, common, union, without

#: Ranges that have moved, in order: the first slot, the slot behind the last one, and the epoch of the last move.
MovedRanges: TypeAlias = tuple[tuple[int, int, int], ...]


def moved_since(moved: MovedRanges, ranges: SlotRanges, epoch: int) -> MovedRanges:
    """What has moved, when some ranges have moved once more."""
    by_epoch: dict[int, SlotRanges] = {epoch: union(ranges)}
    for start, end, since in moved:
        by_epoch[since] = union(by_epoch.get(since, ()), without(((start, end),), by_epoch[epoch]))
    return tuple(sorted((start, end, since) for since, found in by_epoch.items() for start, end in found))


def newest_move(moved: MovedRanges, ranges: SlotRanges) -> int:
    """The epoch of the last move of any of some ranges; 0: none of them has moved."""
    return max((since for start, end, since in moved if common(((start, end),), ranges)), default=0)


def moved_after(moved: MovedRanges, epoch: int) -> SlotRanges:
    """The ranges that have moved after an epoch."""
    return union(tuple((start, end) for start, end, since in moved if since > epoch))
