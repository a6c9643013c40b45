"""Which slots have moved from shard to shard, and since which epoch each is where it is. Pure.

An operation that was routed by an older epoch than the *since* of its slot may have been on its way while the slot went
away and came back. What has happened to its key in between, it doesn't know of; so it is redirected.

Rule: of many moves only the newest are known one by one. All other slots count as moved with the newest of the rest,
also those that never did. That costs who routes by an older epoch a redirect, and nothing else.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import TypeAlias

from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import SlotRanges, union, without
from pyshard.settings import settings

#: Ranges that have moved, in order: the first slot, the slot behind the last one, and the epoch of the last move.
MovedRanges: TypeAlias = tuple[tuple[int, int, int], ...]


def moved_since(moved: MovedRanges, ranges: SlotRanges, epoch: int) -> MovedRanges:
    """What has moved, when some ranges have moved once more: as many ranges as a state has room for."""
    since = _all_since(moved, ranges, epoch)
    if len(since) <= settings.MAX_RANGES:
        return since
    # Between n ranges, and around them, there are n + 1 gaps at the most.
    by_age = sorted(since, key=lambda one: one[2])
    newest = by_age[-(settings.MAX_RANGES // 4) :]
    known = union(tuple((start, end) for start, end, _ in newest))
    bound = by_age[-len(newest) - 1][2]
    return tuple(sorted([*newest, *((start, end, bound) for start, end in without(((0, SLOTS),), known))]))


def _all_since(moved: MovedRanges, ranges: SlotRanges, epoch: int) -> MovedRanges:
    gone = union(ranges)
    by_epoch: dict[int, list[tuple[int, int]]] = {epoch: list(gone)}
    for start, end, since in moved:
        by_epoch.setdefault(since, []).extend(without(((start, end),), _touched(gone, start, end)))
    return tuple(sorted((*one, since) for since, found in by_epoch.items() for one in union(tuple(found))))


def newest_move(moved: MovedRanges, ranges: SlotRanges) -> int:
    """The epoch of the last move of any of some ranges; 0: none of them has moved."""
    ordered = union(ranges)
    return max((since for start, end, since in moved if _touched(ordered, start, end)), default=0)


def _touched(ranges: SlotRanges, start: int, end: int) -> SlotRanges:
    """Those of some ranges in order that have a slot of another one."""
    first = bisect_right(ranges, start, key=lambda one: one[1])
    return ranges[first : bisect_left(ranges, end, lo=first, key=lambda one: one[0])]


def moved_after(moved: MovedRanges, epoch: int) -> SlotRanges:
    """The ranges that have moved after an epoch."""
    return union(tuple((start, end) for start, end, since in moved if since > epoch))
