"""Counts of what a durable store may give up soon, taken some records at a time while it is still owned and changes.

Rules:

- records are counted in the order of their database keys. A group's changes of records that were counted are counted
  when the group is;
- what is counted is what the groups up to the last one have left, so a group that fails changes nothing here;
- what is given up before all of it is counted is counted behind: it goes on from where the count was;
- a store that counts nothing ahead does nothing for it but ask whether there are ranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from pyshard.model.slot_ranges import SlotRanges, in_ranges, without
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.hidden_records import records_between
from pyshard.storage.durable.memtable import Value
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.hidden_counts import MOST_AT_ONCE, HiddenCounts, Tallies, Tally, merged


class CountsAhead:
    """The counts of records in some ranges; for the writer's thread.

    :param ranges: these; empty: nothing is counted.
    """

    def __init__(self, ranges: SlotRanges = ()) -> None:
        self._begin(ranges)

    def _begin(self, ranges: SlotRanges) -> None:
        self.ranges = ranges
        self._tallies: Tallies = {}
        self._place = b""  # a database key: all records before it are counted
        self._done = False  # whether all records are

    def count(self, view: MergedView, counters: Counters, ranges: SlotRanges, most: int) -> bool:
        """Count on, or count other ranges instead of those before.

        :param view: the records as the last group has left them.
        :param most: how many records are looked at, at the most.
        :return: whether all of them are counted.
        """
        if ranges != self.ranges:
            self._begin(ranges)
        if not self._done:
            looked_at = 0
            for db_key, value in islice(records_between(view, counters, ranges, self._place), most):
                looked_at += 1
                if value is not None:
                    _add(self._tallies, db_key, value, 1)
                self._place = db_key + b"\0"
            self._done = looked_at < most
        return self._done

    def difference(self, view: MergedView, changed: Mapping[bytes, Value]) -> Tallies:
        """What changes of records add to the counts.

        :param view: the records with these changes as the newest layer.
        :param changed: database key → new value, or `REMOVED`.
        """
        if not self.ranges:  # as nearly always
            return {}
        found: Tallies = {}
        view = view.before_newest()
        for db_key, value in changed.items():
            slot = lmdb_encoding.PREFIX.unpack_from(db_key)[1]
            if in_ranges(slot, self.ranges) and (self._done or db_key < self._place):
                before = view.get(db_key)
                if before is not None:
                    _add(found, db_key, before, -1)
                if value:
                    _add(found, db_key, value, 1)
        return found

    def counted(self, difference: Tallies, counters: Counters) -> Tallies:
        """The counts, with a difference; without those of dropped indexes.

        :param counters: know which indexes there are.
        """
        found = merged([self._tallies, difference])
        return {number: tally for number, tally in found.items() if number in counters.documents}

    def given_up(
        self, view: MergedView, counters: Counters, changed: Mapping[bytes, Value], ranges: SlotRanges
    ) -> Tallies | None:
        """The counts of exactly these ranges; None: too many records aren't counted yet, so they are counted behind.

        :param view: the records, with changes as the newest layer.
        :param changed: these; see `difference`.
        """
        if not self.count(view.before_newest(), counters, ranges, MOST_AT_ONCE):
            return None
        return self.counted(self.difference(view, changed), counters)

    def count_behind(self, view: MergedView, counters: Counters, most: int) -> Counters | None:
        """Count on what is given up already; for the parameters see `count`.

        :return: the counters with all of it; None: there is more.
        """
        if not self.count(view, counters, counters.hidden.uncounted, most):
            return None
        counters = counters.copy()
        counters.hidden.count_left(self.counted({}, counters))
        self._begin(())
        return counters

    def take(self, difference: Tallies, hidden: HiddenCounts) -> None:
        """A group has made a difference; what isn't all owned after it is counted no more, unless it is counted behind.

        :param hidden: as it is after the group.
        """
        if self.ranges and self.ranges != hidden.uncounted and without(self.ranges, hidden.ranges.owned):
            self._begin(())
        for number, tally in difference.items() if self.ranges else ():
            self._tallies.setdefault(number, Tally()).merge(tally)


def _add(tallies: Tallies, db_key: bytes, value: Value, each: int) -> None:
    number, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
    if number not in tallies:
        tallies[number] = Tally()
    tallies[number].add(slot, each, each * lmdb_encoding.used_by(db_key, value))
