"""The merged view: records as readers see them, with memtables over what LMDB has.

Rules:

- of several layers the newest that has a record decides, and LMDB comes last;
- a record that the deciding layer has as `REMOVED` isn't there;
- expired records are in the view; its reader compares their expiry with the time;
- of a value no more is read from the disk than its first page (`pyshard.storage.durable.cursor_values`);
- `get_many` works in columns; its plain twin is `get` (tests/storage/durable/test_merged_view.py compares them);
- it gives one value at a time: views of LMDB that are dropped at once cost the collector of cycles nothing, and lists
  of them a good part of a bulk read.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from heapq import merge
from operator import itemgetter
from typing import NamedTuple

import attrs
import lmdb

from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.storage.dict_values import values_of
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.checkpoint import PAGE
from pyshard.storage.durable.cursor_values import CursorValues, PlainCursorValues, ValuesOf
from pyshard.storage.durable.memtable import Memtable, Value
from pyshard.storage.page_walk import KEY_STEP


@attrs.frozen
class Databases:
    """The handles of an environment's named databases; docs/storage.md says what is in them.

    :param values_of: gives the values of a cursor.
    """

    records: lmdb._Database
    expiries: lmdb._Database
    meta: lmdb._Database
    values_of: ValuesOf = PlainCursorValues

    def stored(self, transaction: lmdb.Transaction[memoryview]) -> CursorValues:
        """The values of LMDB's records, by database key."""
        return self.values_of(transaction.cursor(db=self.records))


class Expired(NamedTuple):
    """Records that have expired.

    :param records: database key → value.
    :param place: where in LMDB's expiries the next search begins.
    :param more: whether there may be more.
    """

    records: dict[bytes, memoryview]
    place: bytes
    more: bool


class MergedView:
    """Records of memtables and LMDB as one.

    :param transaction: of LMDB, with buffers.
    :param memtables: the layers over it, the newest first.
    """

    def __init__(self, databases: Databases, transaction: lmdb.Transaction[memoryview], *memtables: Memtable) -> None:
        self._databases = databases
        self._transaction = transaction
        self._memtables = memtables
        self._stored: CursorValues | None = None

    def before_newest(self) -> MergedView:
        """The records without those of the newest memtable."""
        return MergedView(self._databases, self._transaction, *self._memtables[1:])

    def get(self, db_key: bytes) -> memoryview | None:
        """The value of a record."""
        for memtable in self._memtables:
            changed = memtable.records.get(db_key)
            if changed is not None:
                return memoryview(changed) if changed else None
        return self._stored_value_of(db_key)

    def get_many(self, db_keys: Sequence[bytes]) -> Iterator[Value | None]:
        """The values of many records, by calls in C. Plain twin: `get`.

        :return: each when it is asked for; until the last one, nothing may change what is viewed.
        """
        stored = self._stored_value_of
        layers = [memtable.records for memtable in self._memtables if memtable.records]
        if not layers:
            return map(stored, db_keys)
        changed = values_of(layers[0], db_keys)
        for older in layers[1:]:
            if None in changed:
                both = zip(changed, values_of(older, db_keys), strict=True)
                changed = [before if value is None else value for value, before in both]
        if all(changed):  # as is so while the same keys are written again and again
            return iter(changed)
        pairs = zip(db_keys, changed, strict=True)
        return (stored(db_key) if value is None else value or None for db_key, value in pairs)

    @property
    def _stored_value_of(self) -> Callable[[bytes], memoryview | None]:
        if self._stored is None:
            self._stored = self._databases.stored(self._transaction)
        return self._stored.get

    def may_expire(self) -> bool:
        """Whether any record may have an expiry."""
        return any(memtable.first_expiry for memtable in self._memtables) or bool(
            self._transaction.stat(db=self._databases.expiries)["entries"]
        )

    def may_be_longer(self, size: int) -> bool:
        """Whether any value may have more bytes than these. LMDB has each long one on pages of its own."""
        return any(memtable.longest > size for memtable in self._memtables) or (
            self._transaction.stat(db=self._databases.records)["overflow_pages"] * PAGE > size
        )

    def first_expiry(self, place: bytes = b"") -> int:
        """No record expires earlier, in milliseconds since 1970; 0: no record expires.

        :param place: of LMDB's expiries only those from here on count.
        """
        expiries = [memtable.first_expiry for memtable in self._memtables if memtable.first_expiry]
        cursor = self._transaction.cursor(db=self._databases.expiries)
        if cursor.set_range(place):
            expiries.append(lmdb_encoding.expiry_in(cursor.key()))
        return min(expiries, default=0)

    def expired(self, place: bytes, now: int, most: int, hidden: SlotRanges = ()) -> Expired:
        """Records that have expired.

        :param place: where in LMDB's expiries the search begins. All before it that has expired was removed or changed,
            and a memtable has it so.
        :param now: milliseconds since 1970.
        :param most: how many entries are looked at, at the most, in LMDB and in each memtable. A large record counts as
            several, and one with a long key as more, since the log takes the whole key of what is removed; the last one
            may cross it.
        :param hidden: slots whose records are passed over.
        """
        found: dict[bytes, memoryview] = {}
        looked_at = 0
        cursor = self._transaction.cursor(db=self._databases.expiries)

        def look_at(db_key: bytes) -> int:
            value = self.get(db_key)
            if value is not None and 0 < lmdb_encoding.expiry_of(value) <= now:
                found[db_key] = value
            return 1 + len(value or b"") // KEY_STEP if lmdb_encoding.is_long(db_key) else lmdb_encoding.looks(value)

        for entry, listed in cursor.iternext() if cursor.set_range(place) else ():
            if looked_at >= most or not lmdb_encoding.is_due(entry, now):
                break
            db_key = bytes(listed)
            looked_at += 1 if _is_hidden(db_key, hidden) else look_at(db_key)
            place = bytes(entry) + b"\0"
        more = looked_at >= most
        for memtable in self._memtables:
            looked_at = 0
            with closing(memtable.expired(now, hidden)) as due:
                for db_key in due:
                    if looked_at >= most:
                        break
                    looked_at += look_at(db_key) if db_key else 1
            more |= looked_at >= most
        return Expired(found, place, more)

    def between(self, first: bytes, behind: bytes) -> Iterator[tuple[bytes, memoryview]]:
        """Database key and value of the records of [first, behind), in order."""
        return ((db_key, value) for db_key, value in self.entries(first, behind) if value)

    def entries(self, first: bytes, behind: bytes) -> Iterator[tuple[bytes, memoryview]]:
        """As `between`, with those that were removed: their value is empty."""
        cursor = self._transaction.cursor(db=self._databases.records)
        stored = _stored_between(cursor, self._databases.values_of(cursor), first, behind)
        layers = [_changed_between(memtable, first, behind) for memtable in self._memtables if memtable.records]
        if not layers:
            yield from stored
            return
        last = None
        for db_key, value in merge(*layers, stored, key=itemgetter(0)):
            if db_key != last:  # of equal keys the newest value comes first
                yield db_key, value
            last = db_key


def _is_hidden(db_key: bytes | memoryview, hidden: SlotRanges) -> bool:
    return bool(hidden) and in_ranges(lmdb_encoding.PREFIX.unpack_from(db_key)[1], hidden)


def _changed_between(memtable: Memtable, first: bytes, behind: bytes) -> Iterator[tuple[bytes, memoryview]]:
    keys = memtable.sorted_keys()
    for at in range(bisect_left(keys, first), len(keys)):
        if (db_key := keys[at]) >= behind:
            break
        yield db_key, memoryview(memtable.records[db_key])


def _stored_between(
    cursor: lmdb.Cursor[memoryview], values: CursorValues, first: bytes, behind: bytes
) -> Iterator[tuple[bytes, memoryview]]:
    if cursor.set_range(first):
        for key in cursor.iternext(values=False):
            db_key = bytes(key)
            if db_key >= behind:
                break
            yield db_key, values.here()
