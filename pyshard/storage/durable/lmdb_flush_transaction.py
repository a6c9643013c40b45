"""A transaction of LMDB that writes: it flushes records of the memtable, and sweeps those that are out of sight.

Rules:

- the memtable itself stays as it is; `flushed` says what LMDB has of it when the transaction is committed;
- counters are changed along: `lmdb_counters` with each record that LMDB gets or loses, `counters` when a record goes
  for good;
- the database of expiries has one entry for each record of LMDB that has an expiry;
- `flush` works in columns. Its plain twin is a flush of one key at a time, and what comes out is counted anew
  (tests/storage/durable/test_lmdb_flush_transaction.py compares all three).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set

import attrs
import lmdb

from pyshard.settings import settings
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.memtable import Memtable, Value
from pyshard.storage.durable.merged_view import Databases
from pyshard.storage.slot_histogram import BUCKET_BITS


@attrs.define
class WriteTransaction:
    """One transaction, and what is counted in it.

    :param lmdb: LMDB's transaction, with buffers.
    :param memtable: records that aren't in LMDB.
    :param lmdb_counters: count what is in LMDB.
    :param counters: count all that there is.
    :ivar flushed: records of the memtable that LMDB has; see `Memtable.records`.
    """

    lmdb: lmdb.Transaction
    databases: Databases
    memtable: Memtable
    lmdb_counters: Counters
    counters: Counters
    flushed: dict[bytes, bytes] = attrs.field(factory=dict)

    def flush(self, keys: Iterable[bytes]) -> None:
        """Write records of the memtable to LMDB.

        :param keys: their database keys; none of them is flushed yet.
        """
        records = self.databases.records
        ordered = sorted(keys)
        changed = dict(zip(ordered, map(self.memtable.records.__getitem__, ordered), strict=True))
        before = {bytes(key): value for key, value in self.lmdb.cursor(db=records).getmulti(changed)}
        after = {db_key: value for db_key, value in changed.items() if value}
        self._count_flushed(before, after)
        self._list_expiries(before, after)  # LMDB's buffers, such as those in `before`, mean nothing from here on
        for db_key in changed.keys() - after.keys():
            self.lmdb.delete(db_key, db=records)
        self.lmdb.cursor(db=records).putmulti(after.items())
        self.flushed.update(changed)

    def flush_all(self) -> None:
        """Write all records of the memtable to LMDB."""
        self.flush(self.memtable.records.keys() - self.flushed.keys())

    def sweep(self, now: int, most: int) -> bool:
        """Remove records that are out of sight.

        :param now: milliseconds since 1970.
        :param most: how many records at the most.
        :return: whether there may be more.
        """
        expired = self._expired(now, most)
        self.flush(db_key for db_key in expired if db_key in self.memtable.records and db_key not in self.flushed)
        for db_key in expired:
            stored = self.lmdb.get(db_key, db=self.databases.records)
            if stored is not None and 0 < lmdb_encoding.expiry_of(stored) <= now:  # it may have another expiry now
                self._remove(db_key)
        most -= len(expired)
        for index in list(self.counters.dropped):
            cursor, prefix = self.lmdb.cursor(db=self.databases.records), lmdb_encoding.PREFIX.pack(index, 0)[:4]
            while most > 0 and cursor.set_range(prefix) and cursor.key()[:4] == prefix:
                self._remove(bytes(cursor.key()))
                most -= 1
            if most > 0:
                self.lmdb_counters.dropped.remove(index)
                self.counters.dropped.remove(index)
        return most <= 0

    def _count_flushed(self, before: Mapping[bytes, Value], after: Mapping[bytes, bytes]) -> None:
        """Count that LMDB has some records in place of others.

        :param before: what it had of them.
        :param after: what it has of them.
        """
        self.lmdb_counters.used += lmdb_encoding.bytes_of_many(after.keys(), after.values())
        self.lmdb_counters.used -= lmdb_encoding.bytes_of_many(before.keys(), before.values())
        _count(self.lmdb_counters, after.keys() - before.keys(), 1)
        _count(self.lmdb_counters, before.keys() - after.keys(), -1)

    def _list_expiries(self, before: Mapping[bytes, Value], after: Mapping[bytes, bytes]) -> None:
        """Bring the database of expiries in line, and count them; for the parameters see `_count_flushed`."""
        gone, new = [], []
        if self.lmdb.stat(db=self.databases.expiries)["entries"]:
            gone = [(expires, key) for key, value in before.items() if (expires := lmdb_encoding.expiry_of(value))]
        if self.memtable.first_expiry:
            new = [(expires, key) for key, value in after.items() if (expires := lmdb_encoding.expiry_of(value))]
        self.lmdb_counters.used += (len(new) - len(gone)) * settings.EXPIRY_OVERHEAD
        for expires, db_key in gone:
            self.lmdb.delete(lmdb_encoding.expiry_key(expires, db_key), db=self.databases.expiries)
        for expires, db_key in new:
            self.lmdb.put(lmdb_encoding.expiry_key(expires, db_key), db_key, db=self.databases.expiries)

    def _expired(self, now: int, most: int) -> list[bytes]:
        """Database keys of records that have expired, in LMDB (the memtable may have another expiry) or the memtable.

        The memtable may have a record that an update before this one flushed and removed; so those are left out.
        """
        expired: list[bytes] = []
        for entry, db_key in self.lmdb.cursor(db=self.databases.expiries).iternext():
            if len(expired) >= most or not lmdb_encoding.is_due(entry, now):
                break
            expired.append(bytes(db_key))
        known = self.flushed.keys() | expired
        changed = self.memtable.expired(now, most + len(self.flushed))
        return [*expired, *(db_key for db_key in changed if db_key not in known)][:most]

    def _remove(self, db_key: bytes) -> None:
        """Remove a record of LMDB that the memtable doesn't have, or that is flushed."""
        stored = self.lmdb.get(db_key, db=self.databases.records)
        assert stored is not None  # the caller has seen it
        used, expires = lmdb_encoding.bytes_of(db_key, stored), lmdb_encoding.expiry_of(stored)
        used += settings.EXPIRY_OVERHEAD if expires else 0
        self.lmdb.delete(db_key, db=self.databases.records)
        for counters in (self.lmdb_counters, self.counters):
            counters.used -= used
            _count(counters, {db_key}, -1)
        if expires:
            self.lmdb.delete(lmdb_encoding.expiry_key(expires, db_key), db=self.databases.expiries)


def _count(counters: Counters, db_keys: Set[bytes], each: int) -> None:
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
