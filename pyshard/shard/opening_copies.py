"""The copies that are being opened: one at a time for each follower.

To open a copy waits for the store. All that were asked for meanwhile would be open together when it comes to them,
before the first could give way to the next: each costs what a snapshot costs, and a reader's place in a durable store.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred

from pyshard.errors import TooManySnapshots
from pyshard.message_texts import shown_value
from pyshard.model.slot_ranges import SlotRanges
from pyshard.storage import ICopy, IStore


class OpeningCopies:
    """Opens copies of one store.

    :param store: it.
    """

    def __init__(self, store: IStore) -> None:
        self._store = store
        self._opening: set[str] = set()

    async def copy(self, opener: str, name: str | None, ranges: SlotRanges | None = None) -> ICopy:
        """Open one.

        :param opener: whoever has one opened at a time.
        :param name, ranges: as of `IFollowedStore.copy`.
        :raises TooManySnapshots: another one is being opened for it.
        :raises StorageFailed: there is no copy.
        """
        if opener in self._opening:
            raise TooManySnapshots(f"a copy is being opened for {shown_value(opener)} already; wait for its answer")
        self._opening.add(opener)
        try:
            copied: Deferred[ICopy] = self._store.copy(name, ranges)
            return await copied
        finally:
            self._opening.remove(opener)
