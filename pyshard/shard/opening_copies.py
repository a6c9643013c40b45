"""The copies that are being opened: one at a time, and each follower waits for one alone.

To open a copy waits for the store. All that were asked for meanwhile would be open together when it comes to them,
before the first could give way to the next: each costs what a snapshot costs, and a reader's place in a durable store.
There the writer's thread copies what isn't in LMDB yet, before anything else is committed. So all else has some times
as long as one took before the next one is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from pyshard.errors import TooManySnapshots
from pyshard.message_texts import shown_value
from pyshard.model.slot_ranges import SlotRanges
from pyshard.storage import ICopy, IStore

_TIMES = 20  # as long as one took; it costs all else more than that, as a disk syncs behind it
_LONGEST = 1.0  # seconds

_T = TypeVar("_T")


class OpeningTurns:
    """The turns in which copies of one store are opened.

    :param clock: times them.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._lock = DeferredLock()
        self._rests_until = 0.0

    async def run(self, begin: Callable[[], Deferred[_T]]) -> _T:
        """Do something when it is its turn."""
        await self._lock.acquire()
        began = self._clock.seconds()
        try:
            if (rest := self._rests_until - began) > 0:
                await deferLater(self._clock, rest)
                began = self._clock.seconds()
            return await begin()
        finally:
            ended = self._clock.seconds()
            self._rests_until = ended + min(_LONGEST, _TIMES * (ended - began))
            self._lock.release()


class OpeningCopies:
    """Opens copies of one store.

    :param store: it.
    :param turns: in which they are opened.
    """

    def __init__(self, store: IStore, turns: OpeningTurns) -> None:
        self._store = store
        self._turns = turns
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
            return await self._turns.run(lambda: self._store.copy(name, ranges))
        finally:
            self._opening.remove(opener)
