"""Slots that have moved to other shards while the one that had them still owes answers. Pure.

Operations on one key must not pass each other on two connections. So what is asked of such slots is held where it was
asked before, until nothing is in flight there. Slots of other shards aren't concerned.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from pyshard.model.shard_map import MapShard
from pyshard.model.slot_ranges import SlotRanges, in_ranges, without

#: The name of each shard that still owes answers → its slots that are another one's by now. Where two have a slot,
#: since it moved on meanwhile, what is asked of it is held at the first one, and then at the other.
HeldSlots: TypeAlias = Mapping[str, SlotRanges]


def lost_slots(before: MapShard, now: MapShard | None) -> SlotRanges:
    """The slots that a shard doesn't have any more.

    :param before: its place in the map by which it was asked.
    :param now: in a newer one; None: it isn't there.
    """
    ranges = () if now is None else now.ranges
    return () if before.ranges == ranges else without(before.ranges, ranges)


def holder_of(held: HeldSlots, slot: int) -> str | None:
    """The name of the shard at which operations on a slot are held; None: they go to the shard that owns it."""
    return next((name for name, ranges in held.items() if in_ranges(slot, ranges)), None)


def places_by_holder(held: HeldSlots, slots: Sequence[int]) -> dict[str | None, list[int]]:
    """What `holder_of` gives for each of some slots → where those are."""
    places: dict[str | None, list[int]] = {}
    for place, slot in enumerate(slots):
        places.setdefault(holder_of(held, slot), []).append(place)
    return places
