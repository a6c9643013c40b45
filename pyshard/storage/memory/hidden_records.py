"""Hidden records of a store in memory: how slots become hidden or visible, and how what is left over is removed.

Rules:

- records stay where they are when ranges change: who may see them changes;
- what is left over is removed some hundred records at a time. When nothing of it is left, the slots are free;
- what isn't there isn't left over, so slots without records are free at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import Change
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage.hidden_counts import HiddenCounts
from pyshard.storage.memory.index_records import IndexOwner, MemoryIndex


class HiddenRecords:
    """The ranges of a store, and those of its records that are hidden.

    :param store: the store, which counts what all its records take.
    :param indexes: its indexes, by id.
    :ivar counts: its ranges, and what is counted of hidden records.
    """

    def __init__(self, store: IndexOwner, indexes: Mapping[int, MemoryIndex]) -> None:
        self.counts = HiddenCounts()
        self._store = store
        self._indexes = indexes

    @property
    def ranges(self) -> StoreRanges:
        """The store's ranges."""
        return self.counts.ranges

    @property
    def any(self) -> bool:
        """Whether any slot is hidden. If none is, a record that is there is of an owned slot."""
        return self.counts.ranges.hides_any

    def set_ranges(self, ranges: StoreRanges) -> None:
        """Have other ranges."""
        before = self.ranges.hidden
        self.counts.set_ranges(ranges, self._counted)
        if ranges.hidden != before:
            for index in self._indexes.values():
                index.sweep_again()

    def free_what_is_empty(self) -> None:
        """Have no slots left over if they have no records."""
        if self.ranges.left and self.counts.nothing_is_left():
            self.set_ranges(self.ranges.trimmed())

    def absorb(self, changes: Iterable[Change]) -> None:
        """Have become of records what has become elsewhere; those of an index that isn't there are passed over."""
        for change in changes:
            index = self._indexes.get(change.index)
            if index is not None:
                documents, held = len(index.records), self._store.held
                index.absorb(change)
                grown = self._store.held - held
                self.counts.note(change.index, change.slot, len(index.records) - documents, grown)

    def trim(self, most: int) -> int:
        """Remove records that are left over.

        :param most: how many, at the most. With fewer, nothing is left over any more.
        :return: how many.
        """
        left, trimmed = self.ranges.left, 0
        for number, index in self._indexes.items() if left else ():
            for key, slot, used in list(islice(index.records_in(left), most - trimmed)):
                index.trim(key, slot, used)
                self.counts.note(number, slot, -1, -used)
                trimmed += 1
        if left and trimmed < most:
            self.set_ranges(self.ranges.trimmed())
        return trimmed

    def _counted(self, ranges: SlotRanges) -> Iterator[tuple[int, int, int]]:
        """Index id, slot and used bytes of each record in some ranges."""
        for number, index in self._indexes.items():
            for _, slot, used in index.records_in(ranges):
                yield number, slot, used
