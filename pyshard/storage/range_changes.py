"""What stores do alike about their ranges: whatever a decision on their present ranges settles."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.store_ranges import Origin, StoreRanges


class RangeChanges:
    """A part of `pyshard.storage.ranges_interface.IRangedStore`."""

    def change_ranges(self, decide: Callable[[StoreRanges], StoreRanges]) -> Deferred[None]:
        """Have other ranges, after all changes that were asked for before.

        :param decide: given the present ranges; what it raises fails the Deferred.
        """
        raise NotImplementedError

    def stage(self, name: str, ranges: SlotRanges, origin: Origin) -> Deferred[None]:
        """See `IRangedStore`."""
        return self.change_ranges(lambda now: now.staging(name, ranges, origin))

    def unstage(self, name: str) -> Deferred[None]:
        """See `IRangedStore`."""
        return self.change_ranges(lambda now: now.unstaged(name))

    def seal(self, name: str, ranges: SlotRanges, attempt: int) -> Deferred[None]:
        """See `IRangedStore`."""
        return self.change_ranges(lambda now: now.sealing(name, ranges, attempt))

    def unseal(self, name: str) -> Deferred[None]:
        """See `IRangedStore`."""
        return self.change_ranges(lambda now: now.unsealed(name))
