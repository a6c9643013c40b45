"""Which slots a shard serves to whom: what it is to own, as far as its store owns it, and it isn't closed for a move.

It is asked for each batch. A shard may have a thousand ranges, and to compare as many takes milliseconds; so it is
found once for each assignment, for what the store serves, and for what is about to be sealed.
"""

from __future__ import annotations

from typing import NamedTuple

from pyshard.model.slot_ranges import SlotRanges, common, without
from pyshard.shard.assignment import Assignment

_EPOCHS = 100  # for so many older epochs it is remembered


class ServedSlots(NamedTuple):
    """What is served to who routed by an epoch.

    :param ranges: these slots.
    :param closed: those that the shard is to own, and doesn't serve now.
    """

    ranges: SlotRanges
    closed: SlotRanges


class FoundServedSlots:
    """What was found, for one assignment and one state of the store."""

    def __init__(self) -> None:
        self._for: tuple[object, object, object] = (None, None, None)
        self._found: dict[int, ServedSlots] = {}  # by epoch; 0: of all in which the shard has all that it is to own

    def of(self, assignment: Assignment, epoch: int, by_store: SlotRanges, sealing: SlotRanges) -> ServedSlots:
        """What is served now. Parameters that didn't change are the same objects each time.

        :param epoch: by which somebody routed.
        :param by_store: what the store serves.
        :param sealing: what it is about to seal.
        """
        known = self._for
        if known[0] is not assignment or known[1] is not by_store or known[2] is not sealing:
            self._for, self._found = (assignment, by_store, sealing), {}
        wanted = assignment.served_to(epoch)
        key = 0 if wanted is assignment.ranges else epoch
        found = self._found.get(key)
        if found is None:
            if len(self._found) >= _EPOCHS:
                self._found.clear()
            found = self._found[key] = _served(wanted, by_store, sealing)
        return found


def _served(wanted: SlotRanges, by_store: SlotRanges, sealing: SlotRanges) -> ServedSlots:
    still = without(by_store, sealing) if sealing else by_store
    if wanted == still:
        return ServedSlots(still, ())
    both = common(still, wanted)
    # The store compares with what it serves itself, which takes no time if it is the same object.
    return ServedSlots(still if both == still else both, without(wanted, both))
