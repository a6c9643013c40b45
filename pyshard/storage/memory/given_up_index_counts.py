"""Counts of what a store in memory may give up soon, taken some records at a time while it is still owned and changes.

Rules:

- the records of an index are counted in the order of slot and key. One that was counted is counted no more when it is
  about to change, and is counted as it is then at the end of its batch (`settle`);
- a store that counts nothing ahead does nothing for it but ask whether there are ranges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from pyshard.model.slot_ranges import SlotRanges, in_ranges, positions_in
from pyshard.storage.hidden_counts import Tallies, Tally
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.memory.index_watchers import Watcher
from pyshard.storage.memory.key_bins import Place
from pyshard.storage.page_walk import Step


class IndexCount(Watcher):
    """The counts of an index's records in some ranges.

    :param changed: has it while it must be settled.
    :ivar tally: what is counted. After a change it is right when `settle` was called.
    :ivar done: whether that is everything.
    """

    def __init__(self, index: MemoryIndex, ranges: SlotRanges, changed: set[IndexCount]) -> None:
        self.tally = Tally()
        self._index = index
        self._ranges = ranges
        self._reached: Place = (-1, b"")  # all up to here is counted
        self.done = not index.records
        self._changed = changed
        self._changing: dict[bytes, int] = {}  # key → slot of what was counted, and isn't now

    def count(self, most: int) -> int:
        """Count on.

        :param most: how many entries are looked at, at the most. With fewer, everything is counted.
        :return: how many were.
        """
        looked_at = 0
        for slot, key, present in islice(self._rest(), most) if not self.done else ():
            looked_at += 1
            if key is not None:
                self._reached = slot, key
                if present:
                    self._add(key, slot, 1)
        self.done = looked_at < most
        return looked_at

    def keep(self, key: bytes, slot: int) -> None:
        """See `Watcher`."""
        counted = self.done or (slot, key) <= self._reached
        if counted and key not in self._changing and in_ranges(slot, self._ranges):
            self._changed.add(self)
            self._changing[key] = slot
            self._add(key, slot, -1)

    def keep_column(self, keys: Sequence[bytes], slots: Sequence[int]) -> None:
        """See `Watcher`. What is about to be given up is seldom written: most slots are others."""
        for position in positions_in(slots, self._ranges):
            self.keep(keys[position], slots[position])

    def settle(self) -> None:
        """Count what has changed as it is now."""
        for key, slot in self._changing.items():
            self._add(key, slot, 1)
        self._changing = {}

    def _rest(self) -> Iterator[Step]:
        """The entries that weren't reached."""
        reached, after = self._reached
        for start, end in self._ranges:
            if reached < end:
                yield from self._index.walk(max(start, reached), after if reached >= start else None, end, now=0)

    def _add(self, key: bytes, slot: int, each: int) -> None:
        if key in self._index.records:
            self.tally.add(slot, each, each * self._index.used_by(key))


class RangeCounts:
    """The counts of all records of a store in some ranges.

    :param indexes: the indexes of the store, by id.
    :ivar ranges: these; empty: nothing is counted.
    """

    def __init__(self, indexes: Mapping[int, MemoryIndex]) -> None:
        self._indexes = indexes
        self.ranges: SlotRanges = ()
        self._counts: dict[int, IndexCount] = {}
        self._changed: set[IndexCount] = set()

    def begin(self, ranges: SlotRanges) -> None:
        """Count other ranges instead of those before; empty: count nothing more."""
        for number in list(self._counts):
            self.drop_index(number)
        self.ranges = ranges
        for number in self._indexes:
            self.add_index(number)

    def count(self, ranges: SlotRanges, most: int) -> bool:
        """Count on; see `pyshard.storage.ranges_interface.IRangedStore.count_ahead`.

        :return: whether everything is counted.
        """
        if ranges != self.ranges:
            self.begin(ranges)
        for counts in self._counts.values():
            if not counts.done:
                if most <= 0:
                    return False
                most -= counts.count(most) + len(ranges)  # each is looked for, though nothing may be there
                if not counts.done:
                    return False
        return True

    def settle(self) -> None:
        """Have the counts be right after a change."""
        while self._changed:
            self._changed.pop().settle()

    def counted(self, ranges: SlotRanges) -> Tallies | None:
        """The counts of all records in some ranges; None: they aren't counted."""
        if not ranges or ranges != self.ranges or not all(counts.done for counts in self._counts.values()):
            return None
        return {number: counts.tally for number, counts in self._counts.items()}

    def add_index(self, number: int) -> None:
        """Count the records of an index, too."""
        if self.ranges:
            self._counts[number] = counts = IndexCount(self._indexes[number], self.ranges, self._changed)
            self._indexes[number].watch(counts)

    def drop_index(self, number: int) -> None:
        """Count nothing of an index any more."""
        counts = self._counts.pop(number, None)
        if counts is not None and number in self._indexes:
            self._indexes[number].unwatch(counts)
            self._changed.discard(counts)
