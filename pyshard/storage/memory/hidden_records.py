"""Hidden records of a store in memory: how slots become hidden or visible, and how what is left over is removed.

Rules:

- records stay where they are when ranges change: who may see them changes;
- what is left over is removed some hundred records at a time. When nothing of it is left, the slots are free;
- what isn't there isn't left over, so slots without records are free at once;
- what is given up and isn't all counted, as at a member that was told of it late, is counted behind, some at a time. It
  goes on from where the count was.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice

from pyshard.model.slot_ranges import EVERYTHING, SlotRanges, without
from pyshard.protocol.change_groups import Change
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage.absorbed_groups import refuse_past_limit
from pyshard.storage.hidden_counts import MOST_AT_ONCE, HiddenCounts, not_counted
from pyshard.storage.memory.given_up_index_counts import RangeCounts
from pyshard.storage.memory.index_owner import IndexOwner
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.store_index import StoredRecord, cost

_LOOKS = 2000  # ranges of indexes that are looked for together when something is removed


class HiddenRecords:
    """The ranges of a store, and those of its records that are hidden.

    :param store: the store, which counts what all its records take.
    :param indexes: its indexes, by id.
    :ivar counts: its ranges, and what is counted of hidden records.
    :ivar ahead: counts of what the store may give up soon.
    """

    def __init__(self, store: IndexOwner, indexes: Mapping[int, MemoryIndex]) -> None:
        self.counts = HiddenCounts()
        self._of_copy: HiddenCounts | None = None  # for the ranges that the store has when the present copy is complete
        self.ahead = RangeCounts(indexes)
        self._store = store
        self._indexes = indexes
        self._trimmed: set[int] = set()  # the indexes that have nothing left over any more

    @property
    def ranges(self) -> StoreRanges:
        """The store's ranges."""
        return self.counts.ranges

    @property
    def any(self) -> bool:
        """Whether any slot isn't served. If all are, a record that is there is of one that is owned."""
        return self.counts.ranges.withholds_any

    def count_given_up(self, ranges: SlotRanges) -> None:
        """Count what the store gives up if it owns exactly these ranges.

        :raises BadRequest: that are too many records, and they aren't counted yet.
        """
        given_up = self.ranges.given_up(ranges)
        if given_up and not self.ahead.count(given_up, MOST_AT_ONCE):
            raise not_counted(given_up)

    def count_ahead(self, ranges: SlotRanges, most: int) -> bool:
        """See `IRangedStore.count_ahead`. What is given up already comes first."""
        given_up = self.ranges.given_up(ranges)
        if self.counts.uncounted:
            return self.count_behind(most) or bool(given_up)
        return not self.ahead.count(given_up, most)

    def count_behind(self, most: int) -> bool:
        """Count on what is given up already; see `count_ahead`."""
        uncounted = self.counts.uncounted
        if uncounted and self.ahead.count(uncounted, most):
            self.counts.count_left(self.ahead.counted(uncounted) or {})
            self.ahead.begin(())
        return bool(self.counts.uncounted)

    def set_ranges(self, ranges: StoreRanges) -> None:
        """Have other ranges."""
        before, given_up = self.ranges.hidden, self.ranges.given_up(ranges.owned)
        if ranges.left != self.ranges.left:
            self._trimmed = set()
        if given_up:
            self.ahead.count(given_up, MOST_AT_ONCE)
        counted = self.ahead.counted(given_up)
        self.counts.set_ranges(ranges, self._counted, counted)
        if self.ahead.ranges != self.counts.uncounted and without(self.ahead.ranges, ranges.owned):
            self.ahead.begin(())
        if ranges.hidden != before:
            self.sweep_again()

    def not_swept(self, origin: Origin | None) -> SlotRanges:
        """The slots of which a sweep leaves what has expired to another store.

        :param origin: whose groups this store absorbs as a whole; None: nobody's.
        """
        return self.ranges.hidden if origin is None else EVERYTHING

    def sweep_again(self) -> None:
        """Have sweeps look again at what they have passed over."""
        for index in self._indexes.values():
            index.sweep_again()

    def free_what_is_empty(self) -> None:
        """Have no slots left over if they have no records."""
        if self.ranges.left and self.counts.nothing_is_left():
            self.set_ranges(self.ranges.trimmed())

    def drop_index(self, number: int) -> None:
        """Count nothing of an index any more, which is about to be dropped."""
        self.counts.drop_index(number)
        self.ahead.drop_index(number)

    def refuse_past_limit(self, name: str, changes: Sequence[Change], limit: int) -> None:
        """Refuse changes of a copy that take the store past its limit.

        :param name: of the copy.
        :raises ShardFull: they do.
        """
        used = self._store.held - self.counts.used(staged=False)
        if used + sum(map(_cost, changes)) > limit:  # else there is no need to look what was there before
            last = {(change.index, change.key): change for change in changes}
            grown = sum(map(self._growth, last.values()))
            refuse_past_limit(name, used + grown, grown, limit)

    def absorb(self, changes: Iterable[Change]) -> None:
        """Have become of records what has become elsewhere; those of an index that isn't there are passed over."""
        counts = self._of_copy or self.counts
        for change in changes:
            index = self._indexes.get(change.index)
            if index is not None:
                documents, held = len(index.records), self._store.held
                index.absorb(change)
                grown = self._store.held - held
                counts.note(change.index, change.slot, len(index.records) - documents, grown)

    def begin_copy(self, ranges: StoreRanges) -> None:
        """Own nothing, and have nothing: all is to be absorbed until `end_copy`. It is counted for some ranges then."""
        self.set_ranges(StoreRanges(owned=()))
        self._of_copy = HiddenCounts()
        self._of_copy.set_ranges(ranges, self._counted, {})

    def end_copy(self) -> None:
        """Have the ranges for which the copy was counted."""
        self.counts, self._of_copy = self._of_copy or self.counts, None
        self.sweep_again()

    def trim(self, most: int) -> int:
        """Remove records that are left over.

        When nothing is left over any more, the slots are free. A call looks for a bounded number of ranges.

        :param most: how many, at the most.
        :return: how many.
        """
        left, trimmed, looks = self.ranges.left, 0, 0
        for number, index in self._indexes.items() if left else ():
            if number in self._trimmed:
                continue
            if trimmed >= most or looks >= _LOOKS:
                return trimmed
            found = list(islice(index.records_in(left), most - trimmed)) if index.records else []
            looks += len(left) if index.records else 0
            if len(found) < most - trimmed:
                self._trimmed.add(number)
            for key, slot, used in found:
                index.trim(key, slot, used)
                self.counts.note(number, slot, -1, -used)
            trimmed += len(found)
        if left and self._indexes.keys() <= self._trimmed:
            self.set_ranges(self.ranges.trimmed())
        return trimmed

    def _growth(self, change: Change) -> int:
        """By how many bytes a change makes the store's records grow."""
        index = self._indexes.get(change.index)
        if index is None:
            return 0
        return _cost(change) - (index.used_by(change.key) if change.key in index.records else 0)

    def _counted(self, ranges: SlotRanges) -> Iterator[tuple[int, int, int]]:
        """Index id, slot and used bytes of each record in some ranges."""
        for number, index in self._indexes.items():
            for _, slot, used in index.records_in(ranges) if index.records else ():
                yield number, slot, used


def _cost(change: Change) -> int:
    """Bytes that a record counts after a change; 0: it isn't there then."""
    if change.record is None:
        return 0
    return cost(change.key, StoredRecord(change.version, change.expires, change.record))
