"""A transaction of LMDB that writes: it takes what was changed before, and removes what nobody can see any more."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import attrs
import lmdb

from pyshard.settings import settings
from pyshard.storage import layout
from pyshard.storage.buckets import BUCKET_BITS
from pyshard.storage.changes import Changes, Databases
from pyshard.storage.counters import State


class _Stored(NamedTuple):
    used: int
    expires: int


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
        transaction, records, expiries = self.transaction, self.databases.records, self.databases.expiries
        changed = {database: self.changes.records[database] for database in sorted(keys)}
        before = {
            bytes(database): _Stored(layout.bytes_of(bytes(database), value), layout.expiry_of(value))
            for database, value in transaction.cursor(db=records).getmulti(changed)
        }
        for database, value in changed.items():
            old = before.get(database)
            if old is not None:
                self.stored.used -= old.used
                if old.expires:
                    transaction.delete(layout.expiry_key(old.expires, database), db=expiries)
                if not value:
                    transaction.delete(database, db=records)
            if value:
                self.stored.used += layout.bytes_of(database, value)
                if expires := layout.expiry_of(value):
                    transaction.put(layout.expiry_key(expires, database), database, db=expiries)
            if bool(value) != (old is not None):
                _count(self.stored, database, 1 if value else -1)
        transaction.cursor(db=records).putmulti(one for one in changed.items() if one[1])
        self.brought.update(changed)

    def settle(self) -> None:
        """Have all changes in LMDB."""
        self.bring_in(self.changes.records.keys() - self.brought.keys())

    def sweep(self, now: int, most: int) -> bool:
        """Remove up to `most` records that nobody can see; whether there may be more."""
        expired = self._expired(now, most)
        self.bring_in(database for database in expired if database in self.changes.records)
        for database in expired:
            stored = self.transaction.get(database, db=self.databases.records)
            if stored is not None and 0 < layout.expiry_of(stored) <= now:  # it may have another expiry now
                self._forget(database)
        most -= len(expired)
        for index in list(self.state.dropped):
            cursor, prefix = self.transaction.cursor(db=self.databases.records), layout.PREFIX.pack(index, 0)[:4]
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
            if len(expired) >= most or not layout.expired(entry, now):
                break
            expired.append(bytes(database))
        known = set(expired)
        changed = self.changes.expired(now, most)
        return [*expired, *(one for one in changed if one not in known)][:most]

    def _forget(self, database: bytes) -> None:
        """Remove one record, which isn't among the changes or was brought in, with what is counted for it."""
        stored = self.transaction.get(database, db=self.databases.records)
        assert stored is not None  # whoever calls it has seen it
        used, expires = layout.bytes_of(database, stored), layout.expiry_of(stored)
        self.transaction.delete(database, db=self.databases.records)
        for state in (self.stored, self.state):
            state.used -= used
            _count(state, database, -1)
        if expires:
            self.transaction.delete(layout.expiry_key(expires, database), db=self.databases.expiries)


def _count(state: State, database: bytes, documents: int) -> None:
    """Count a record more or less, but for the bytes of its key and itself."""
    index, slot = layout.PREFIX.unpack_from(database)
    if index in state.documents:
        state.documents[index] += documents
    state.counts[slot >> BUCKET_BITS] += documents
    state.used += documents * settings.ITEM_OVERHEAD
