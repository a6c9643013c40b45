"""All indexes of a store in memory as they were at one moment: for snapshots, and for copies that followers begin with.

Rules:

- which slots are wanted is said at that moment, so that a slot which is hidden later is still there, and one which is
  visible later isn't;
- nothing is kept any more once `forget` was called.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import repeat

from pyshard.model.slot_ranges import EVERYTHING, SlotRanges
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.change_groups import Change
from pyshard.protocol.pages import Row
from pyshard.storage.memory.index_at_moment import IndexAtMoment
from pyshard.storage.memory.index_records import MemoryIndex


class StoreAtMoment:
    """What the indexes of a store have when this is made.

    :param indexes: by id.
    :param newest: no record has a higher version, and each one that the store writes from now on has one.
    :param now: what has expired by then isn't given, in milliseconds since 1970; 0: everything is.
    :param ranges: which slots are wanted; None: all.
    """

    def __init__(
        self, indexes: Mapping[int, MemoryIndex], newest: int, now: int = 0, ranges: SlotRanges | None = None
    ) -> None:
        wanted = None if ranges == EVERYTHING else ranges  # as nothing need be compared then
        self._moments: list[tuple[int, MemoryIndex, IndexAtMoment]] = []
        for number, index in indexes.items():
            moment = IndexAtMoment(index, index.slot_index, newest, now, wanted)
            index.watch(moment)
            self._moments.append((number, index, moment))

    def rows(self) -> Iterator[Row | None]:
        """The rows of a snapshot, and None for each place that has none."""
        for number, _, moment in self._moments:
            for found in moment.found():
                yield None if found is None else Row(number, found[0], found[2], found[1][VERSION.size :])

    def changes(self) -> Iterator[Change | None]:
        """The records as followers are given them, and None for each place that has none."""
        for number, index, moment in self._moments:
            for found in moment.found():
                yield None if found is None else _change(number, index, *found)

    def expired(self, sweep: Callable[[MemoryIndex], int]) -> Iterator[int]:
        """Have what had expired removed, until it is known how much that was.

        :param sweep: removes some of what an index has that had expired; gives how many records it has looked at.
        :return: for each record that is looked at, how many more were found to have expired.
        """
        known = 0
        for _, index, _ in self._moments:
            last = index.sweep_rounds + 3  # by then all were looked at, though others have them looked at anew
            while index.sweep_rounds < last and (looked_at := sweep(index)):
                count = self._expired()
                yield count - known
                known = count
                yield from repeat(0, looked_at - 1)
        yield self._expired() - known

    def pinned(self) -> int:
        """How many bytes are kept for it."""
        return sum(moment.pinned for _, _, moment in self._moments)

    def kept(self) -> int:
        """How many records were kept for it, ever."""
        return sum(moment.kept for _, _, moment in self._moments)

    def forget(self) -> None:
        """Have the indexes keep nothing more for it."""
        for _, index, moment in self._moments:
            index.unwatch(moment)

    def _expired(self) -> int:
        return sum(moment.expired for _, _, moment in self._moments)


def _change(number: int, index: MemoryIndex, key: bytes, value: bytes, expires: int) -> Change:
    """A record as followers are given it."""
    version = VERSION.unpack_from(value)[0]
    return Change(number, index.slot_of(key), key, version, expires, value[VERSION.size :])
