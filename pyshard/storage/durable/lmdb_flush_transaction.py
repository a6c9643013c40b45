"""A transaction of LMDB that writes: it flushes records of the memtable, and sweeps those of dropped indexes.

Rules:

- the memtable itself stays as it is; `flushed` says what goes from it when the transaction is committed: what LMDB has
  then, and what is left of dropped indexes;
- records of dropped indexes go from both, some at a time. No start brings them back: LMDB knows that the index is gone,
  and a replay passes over records of an index that isn't there;
- a step looks through the memtable once, for all dropped indexes together: there may be a thousand, and writers wait
  while it looks;
- counters are changed along: `lmdb_counters` with each record that LMDB gets or loses, `counters` when a record goes
  for good;
- the database of expiries has one entry for each record of LMDB that has an expiry;
- `flush` works in columns. Its plain twin is a flush of one key at a time, and what comes out is counted anew
  (tests/storage/durable/test_lmdb_flush_transaction.py compares all three).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator
from itertools import repeat
from typing import TypeAlias

import attrs
import lmdb

from pyshard.settings import settings
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.memtable import REMOVED, FlushableMemtable, Value
from pyshard.storage.durable.merged_view import Databases
from pyshard.storage.slot_histogram import BUCKET_BITS

_Expiry: TypeAlias = tuple[int, bytes]  # when a record expires, and its database key


@attrs.define
class WriteTransaction:
    """One transaction, and what is counted in it.

    :param lmdb: LMDB's transaction, with buffers.
    :param memtable: records that aren't in LMDB.
    :param lmdb_counters: count what is in LMDB.
    :param counters: count all that there is.
    :ivar flushed: records of the memtable that it need not have any more; see `Memtable.records`.
    :ivar first_listed: the first entry that LMDB's expiries have got; None: they have got none.
    """

    lmdb: lmdb.Transaction[memoryview]
    databases: Databases
    memtable: FlushableMemtable
    lmdb_counters: Counters
    counters: Counters
    flushed: dict[bytes, bytes] = attrs.field(factory=dict)
    first_listed: bytes | None = None

    def flush(self, keys: Iterable[bytes]) -> None:
        """Write records of the memtable to LMDB.

        :param keys: their database keys; none of them is flushed yet.
        """
        records = self.databases.records
        ordered = sorted(keys)
        changed = dict(zip(ordered, map(self.memtable.records.__getitem__, ordered), strict=True))
        removed = [db_key for db_key, value in changed.items() if not value]
        stored = self.databases.stored(self.lmdb).get  # of old values only their sizes and expiries are wanted
        before: Iterable[Value | None] = map(stored, ordered)  # as they are asked for
        gone: list[_Expiry] = []
        if self.lmdb.stat(db=self.databases.expiries)["entries"]:
            before = list(before)
            gone = list(_expiries(ordered, before))
        new = list(_expiries(ordered, changed.values())) if self.memtable.first_expiry else []
        self._count_flushed(changed, lmdb_encoding.sizes_of_values(before))
        del before  # LMDB's buffers mean nothing from here on
        self._list_expiries(gone, new)
        for db_key in removed:
            self.lmdb.delete(db_key, db=records)
            del changed[db_key]
        self.lmdb.cursor(db=records).putmulti(changed.items())
        self.flushed.update(changed)
        self.flushed.update(zip(removed, repeat(REMOVED)))

    def flush_all(self) -> None:
        """Write all records of the memtable to LMDB."""
        self.flush(self.memtable.records.keys() - self.flushed.keys())

    def sweep(self, most: int) -> bool:
        """Remove records of dropped indexes.

        :param most: how many records at the most; a large one counts as several, and the last may cross it. An index
            of which nothing is left counts as one, since LMDB is looked at for it.
        :return: whether there may be more.
        """
        dropped = {index: lmdb_encoding.first_bytes(index) for index in self.lmdb_counters.dropped}
        changed = self.memtable.some_of_dropped(frozenset(dropped.values()), most, self.flushed)
        for db_key in changed:
            self._remove(db_key)
        most -= len(changed)  # where this leaves some, the memtable has none of any dropped index
        cursor = self.lmdb.cursor(db=self.databases.records)
        for index, first in dropped.items():
            while most > 0 and cursor.set_range(first) and cursor.key()[: len(first)] == first:
                most -= self._remove(bytes(cursor.key()))
            if most <= 0:
                break
            self.lmdb_counters.dropped.remove(index)
            self.counters.dropped.remove(index)
            most -= 1
        return bool(self.lmdb_counters.dropped)

    def _count_flushed(self, changed: dict[bytes, bytes], before: list[int]) -> None:
        """Count that LMDB has some records in place of others.

        :param changed: what the memtable has of them.
        :param before: the sizes of the values that LMDB has of them; 0: none.
        """
        after = list(map(len, changed.values()))
        grown = sum(after) - sum(before)
        if 0 in before or 0 in after:
            sizes = list(zip(changed, before, after, strict=True))
            for each, db_keys in (
                (1, [db_key for db_key, was, size in sizes if not was and size]),
                (-1, [db_key for db_key, was, size in sizes if was and not size]),
            ):
                count_records(self.lmdb_counters, db_keys, each)
                grown += each * lmdb_encoding.bytes_of_many(db_keys, 0)
        self.lmdb_counters.used += grown

    def _list_expiries(self, gone: list[_Expiry], new: list[_Expiry]) -> None:
        """Bring the database of expiries in line, and count them."""
        self.lmdb_counters.used += (len(new) - len(gone)) * settings.EXPIRY_OVERHEAD
        for expires, db_key in gone:
            self.lmdb.delete(lmdb_encoding.expiry_key(expires, db_key), db=self.databases.expiries)
        for expires, db_key in new:
            entry = lmdb_encoding.expiry_key(expires, db_key)
            self.lmdb.put(entry, db_key, db=self.databases.expiries)
            self.first_listed = min(self.first_listed or entry, entry)

    def _remove(self, db_key: bytes) -> int:
        """Remove a record of a dropped index for good, from LMDB and from the memtable.

        :return: as how many it counts where some are removed together.
        """
        stored = self.databases.stored(self.lmdb).get(db_key)
        size = lmdb_encoding.looks(stored)
        changed = None if db_key in self.flushed else self.memtable.records.get(db_key)
        self._count_removed(self.lmdb_counters, db_key, stored)
        self._count_removed(self.counters, db_key, stored if changed is None else changed)
        if changed is not None:
            self.flushed[db_key] = changed  # LMDB need not get it
        if stored is not None:
            expires = lmdb_encoding.expiry_of(stored)
            self.lmdb.delete(db_key, db=self.databases.records)
            if expires:
                self.lmdb.delete(lmdb_encoding.expiry_key(expires, db_key), db=self.databases.expiries)
        return size

    def _count_removed(self, counters: Counters, db_key: bytes, value: Value | None) -> None:
        """Count that a record is gone.

        :param value: what there was of it; empty or None: nothing.
        """
        if value:
            expires = lmdb_encoding.expiry_of(value)
            counters.used -= lmdb_encoding.bytes_of(db_key, value) + (settings.EXPIRY_OVERHEAD if expires else 0)
            count_records(counters, {db_key}, -1)


def _expiries(db_keys: Iterable[bytes], values: Iterable[Value | None]) -> Iterator[_Expiry]:
    """The expiries of those records that have one."""
    for db_key, value in zip(db_keys, values, strict=True):
        if value and (expires := lmdb_encoding.expiry_of(value)):
            yield expires, db_key


def count_records(counters: Counters, db_keys: Collection[bytes], each: int) -> None:
    """Count records, with the overhead of each but without the bytes of their keys and themselves.

    :param each: 1 for records that are new, -1 for records that are gone.
    """
    bucket_counts = counters.bucket_counts
    indexes: defaultdict[int, int] = defaultdict(int)
    for index, slot in map(lmdb_encoding.PREFIX.unpack_from, db_keys):
        indexes[index] += each
        bucket_counts[slot >> BUCKET_BITS] += each
    for index, documents in indexes.items():
        if index in counters.documents:
            counters.documents[index] += documents
    counters.used += sum(indexes.values()) * settings.ITEM_OVERHEAD
