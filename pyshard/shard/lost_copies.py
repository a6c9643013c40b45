"""Copies that never will be complete, though their slots are to be owned already.

A range is committed to a target when all of its members have a complete copy. So there are such copies only where an
operator has had a replica lead that was no member, and lacks what the members had. What it lacks is lost; else the
range could never be owned, and its shard could take on nothing any more.
"""

from __future__ import annotations

from twisted.logger import Logger

from pyshard.model.slot_ranges import SlotRanges, common, shown
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage import IStore

_log = Logger()


def lost_copies(ranges: StoreRanges, wanted: SlotRanges) -> dict[str, SlotRanges]:
    """The copies of a store that are lost: name → the slots. Pure.

    :param ranges: the store's.
    :param wanted: what it is to own.
    """
    incomplete = {name: staging.ranges for name, staging in ranges.staged.items() if not staging.origin.sequence}
    return {name: slots for name, slots in incomplete.items() if common(slots, wanted)}


async def give_up_lost_copies(store: IStore, wanted: SlotRanges) -> None:
    """Give them up, of a store that is to own some slots: these begin empty when what is there of them is removed."""
    for name, slots in lost_copies(store.ranges, wanted).items():
        _log.error(
            "{move}: its copy of {ranges} isn't complete here, and the replicas that had it are gone: the documents "
            "that it lacks are lost, and the range begins empty",
            move=name,
            ranges=shown(slots),
        )
        await store.unstage(name)
