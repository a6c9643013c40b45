"""A transaction of LMDB that writes: it takes what was changed before, and removes what nobody can see any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Set

import attrs
import lmdb

from pyshard.settings import settings
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import State
from pyshard.storage.durable.memtable import Changes, Databases, Value
from pyshard.storage.histogram import BUCKET_BITS


@attrs.define
class Writing:
    """One transaction, and what is counted in it.

    :param transaction: with buffers.
    :param changes: what isn't in LMDB; stays as it is.
    :param stored: counts what is in LMDB.
    :param state: counts what there is in all.
    :ivar brought: those of the changes that have come into LMDB, as the records of `Changes`.
    """

    transaction: lmdb.Transaction
    databases: Databases
    changes: Changes
    stored: State
    state: State
    brought: dict[bytes, bytes] = attrs.field(factory=dict)

    def bring_in(self, keys: Iterable[bytes]) -> None:
        """Have changes in LMDB, with the list of expiries that follows from them.

        :param keys: database keys, of changes that weren't brought in.
        """
        records = self.databases.records
        ordered = sorted(keys)
        changed = dict(zip(ordered, map(self.changes.records.__getitem__, ordered), strict=True))
        before = {bytes(one): value for one, value in self.transaction.cursor(db=records).getmulti(changed)}
        kept = {database: value for database, value in changed.items() if value}
        self._count_changed(before, kept)
        self._list_expiries(before, kept)  # from here on LMDB's own bytes may not be looked at any more
        for database in changed.keys() - kept.keys():
            self.transaction.delete(database, db=records)
        self.transaction.cursor(db=records).putmulti(kept.items())
        self.brought.update(changed)

    def _count_changed(self, before: Mapping[bytes, Value], kept: Mapping[bytes, bytes]) -> None:
        """Count what comes in place of what was there before."""
        self.stored.used += lmdb_encoding.bytes_of_all(kept.keys(), kept.values())
        self.stored.used -= lmdb_encoding.bytes_of_all(before.keys(), before.values())
        _count(self.stored, kept.keys() - before.keys(), 1)
        _count(self.stored, before.keys() - kept.keys(), -1)

    def _list_expiries(self, before: Mapping[bytes, Value], kept: Mapping[bytes, bytes]) -> None:
        """Have the expiries of what was there before off the list, and those of what comes on it."""
        transaction, listed = self.transaction, self.databases.expiries
        gone, new = [], []
        if transaction.stat(db=listed)["entries"]:
            gone = [(expires, one) for one, value in before.items() if (expires := lmdb_encoding.expiry_of(value))]
        if self.changes.first_expiry:
            new = [(expires, one) for one, value in kept.items() if (expires := lmdb_encoding.expiry_of(value))]
        for expires, database in gone:
            transaction.delete(lmdb_encoding.expiry_key(expires, database), db=listed)
        for expires, database in new:
            transaction.put(lmdb_encoding.expiry_key(expires, database), database, db=listed)

    def settle(self) -> None:
        """Have all changes in LMDB."""
        self.bring_in(self.changes.records.keys() - self.brought.keys())

    def sweep(self, now: int, most: int) -> bool:
        """Remove up to `most` records that nobody can see; whether there may be more."""
        expired = self._expired(now, most)
        self.bring_in(database for database in expired if database in self.changes.records)
        for database in expired:
            stored = self.transaction.get(database, db=self.databases.records)
            if stored is not None and 0 < lmdb_encoding.expiry_of(stored) <= now:  # it may have another expiry now
                self._forget(database)
        most -= len(expired)
        for index in list(self.state.dropped):
            cursor, prefix = self.transaction.cursor(db=self.databases.records), lmdb_encoding.PREFIX.pack(index, 0)[:4]
            while most > 0 and cursor.set_range(prefix) and cursor.key()[:4] == prefix:
                self._forget(bytes(cursor.key()))
                most -= 1
            if most > 0:
                self.stored.dropped.remove(index)
                self.state.dropped.remove(index)
        return most <= 0

    def _expired(self, now: int, most: int) -> list[bytes]:
        """Database keys of records that have expired, in LMDB at least."""
        expired: list[bytes] = []
        for entry, database in self.transaction.cursor(db=self.databases.expiries).iternext():
            if len(expired) >= most or not lmdb_encoding.expired(entry, now):
                break
            expired.append(bytes(database))
        known = set(expired)
        changed = self.changes.expired(now, most)
        return [*expired, *(one for one in changed if one not in known)][:most]

    def _forget(self, database: bytes) -> None:
        """Remove one record, which isn't among the changes or was brought in, with what is counted for it."""
        stored = self.transaction.get(database, db=self.databases.records)
        assert stored is not None  # whoever calls it has seen it
        used, expires = lmdb_encoding.bytes_of_all([database], [stored]), lmdb_encoding.expiry_of(stored)
        self.transaction.delete(database, db=self.databases.records)
        for state in (self.stored, self.state):
            state.used -= used
            _count(state, {database}, -1)
        if expires:
            self.transaction.delete(lmdb_encoding.expiry_key(expires, database), db=self.databases.expiries)


def _count(state: State, databases: Set[bytes], each: int) -> None:
    """Count records more or less, but for the bytes of their keys and themselves."""
    counts = state.counts
    indexes: defaultdict[int, int] = defaultdict(int)
    for index, slot in map(lmdb_encoding.PREFIX.unpack_from, databases):
        indexes[index] += each
        counts[slot >> BUCKET_BITS] += each
    for index, documents in indexes.items():
        if index in state.documents:
            state.documents[index] += documents
    state.used += sum(indexes.values()) * settings.ITEM_OVERHEAD
