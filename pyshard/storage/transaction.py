"""What happens within one LMDB transaction: records found and kept, counted, and swept away.

Counters belong to a transaction as its records do: each works on a copy of those of the last commit, and saves them
with its effects.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import cast

import attrs
import lmdb
import msgspec

from pyshard.batch import VERSION, Result
from pyshard.storage import layout
from pyshard.storage.application import Found, cost
from pyshard.storage.buckets import BUCKET_BITS


@attrs.frozen
class Databases:
    """The handles of an environment's named databases; docs/storage.md says what is in them."""

    records: lmdb._Database
    expiries: lmdb._Database
    meta: lmdb._Database


class Counters(msgspec.Struct, array_like=True):
    """What is counted, as it is saved with each commit.

    :param version: the last one given.
    :param used: bytes that count against the limit.
    :param documents: index id → documents; an index that is dropped and not yet swept away is in `dropped`.
    :param dropped: ids of such indexes.
    :param buckets: the counts of `pyshard.storage.buckets`.
    """

    version: int
    used: int
    documents: dict[int, int]
    dropped: list[int]
    buckets: bytes


@attrs.define
class State:
    """The counters of one transaction; those of the last commit stay as they are until it is committed."""

    version: int
    used: int
    documents: dict[int, int]
    dropped: list[int]
    counts: array[int]

    def copy(self) -> State:
        return State(self.version, self.used, dict(self.documents), list(self.dropped), self.counts[:])

    def packed(self) -> bytes:
        return msgspec.msgpack.encode(
            Counters(self.version, self.used, self.documents, self.dropped, self.counts.tobytes())
        )

    def next_version(self) -> int:
        self.version += 1
        return self.version


class LmdbTable:
    """`Table` of one index within one transaction; without `state`, for reading only."""

    def __init__(self, databases: Databases, transaction: lmdb.Transaction, index: int, state: State | None) -> None:
        self._databases = databases
        self._transaction = transaction
        self._index = index
        self._state = state

    def find(self, key: bytes, slot: int) -> Found | None:
        """See `Table`."""
        value = self._transaction.get(layout.database_key(self._index, slot, key), db=self._databases.records)
        return None if value is None else layout.unpack(key, memoryview(value))

    def put(self, key: bytes, slot: int, new: Found, old: Found | None) -> None:
        """See `Table`."""
        assert self._state is not None
        database = layout.database_key(self._index, slot, key)
        self._transaction.put(database, layout.pack(key, new), db=self._databases.records)
        if old is None:
            self._count(slot, 1, cost(key, new.record))
        else:
            self._state.used += len(new.record) - len(old.record)
        self._move_expiry(database, old.expires if old else 0, new.expires)

    def delete(self, key: bytes, slot: int, old: Found) -> None:
        """See `Table`."""
        database = layout.database_key(self._index, slot, key)
        self._transaction.delete(database, db=self._databases.records)
        self._count(slot, -1, -cost(key, old.record))
        self._move_expiry(database, old.expires, 0)

    def write(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> int:
        """See `Table`."""
        assert self._state is not None
        before = self._state.used
        if not self._written_together(keys, slots, records, versions):
            for key, slot, record, version in zip(keys, slots, records, versions, strict=True):
                self.put(key, slot, Found(version, 0, record), self.find(key, slot))
        return self._state.used - before

    def has(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        """See `Table`."""
        if _all_short(keys):
            return [value is not None for value in self._live_values(keys, slots, now)]
        found: list[Result] = []
        for key, slot in zip(keys, slots, strict=True):
            value = self._transaction.get(layout.database_key(self._index, slot, key), db=self._databases.records)
            found.append(value is not None and layout.is_live(key, memoryview(value), now))
        return found

    def read(self, keys: Sequence[bytes], slots: Sequence[int], now: int, room: int) -> list[Result]:
        """See `Table`."""
        found: list[Result] = []
        if _all_short(keys):
            for value in self._live_values(keys, slots, now):
                if room <= 0:
                    break
                result = None if value is None else layout.result(value)
                room -= len(result or b"")
                found.append(result)
            return found
        for key, slot in zip(keys, slots, strict=True):
            if room <= 0:
                break
            one = self.find(key, slot)
            if one is None or 0 < one.expires <= now:
                found.append(None)
            else:
                found.append(VERSION.pack(one.version) + one.record)
                room -= VERSION.size + len(one.record)
        return found

    def _live_values(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[memoryview | None]:
        """The value of each of many short keys, by calls in C over all of them."""
        values = self._values(layout.database_keys(self._index, slots, keys))
        if not self._something_expires():
            return values
        return [
            value if value is not None and layout.is_live(key, value, now) else None
            for key, value in zip(keys, values, strict=True)
        ]

    def _values(self, databases: list[bytes]) -> list[memoryview | None]:
        """The value of each of many database keys."""
        cursor = self._transaction.cursor(db=self._databases.records)
        found = cast("list[tuple[memoryview, memoryview]]", cursor.getmulti(databases))  # transactions give buffers
        if len(found) == len(databases):
            return [value for _, value in found]
        by_key: dict[bytes, memoryview] = {bytes(database): value for database, value in found}
        return list(map(by_key.get, databases))

    def _written_together(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> bool:
        """Do `write` by calls in C over all keys; nothing when some are long, given twice, or have an expiry."""
        state = self._state
        assert state is not None
        if not _all_short(keys) or len(set(keys)) < len(keys):
            return False
        databases = layout.database_keys(self._index, slots, keys)
        before = self._values(databases)
        if self._something_expires() and any(value is not None and layout.expiry_of(value) for value in before):
            return False
        new = 0
        state.used += sum(map(len, records))
        for key, slot, value in zip(keys, slots, before, strict=True):
            if value is None:
                new += 1
                state.counts[slot >> BUCKET_BITS] += 1
                state.used += cost(key, b"")
            else:
                state.used -= layout.record_bytes(value)
        state.documents[self._index] = state.documents.get(self._index, 0) + new
        cursor = self._transaction.cursor(db=self._databases.records)
        cursor.putmulti(zip(databases, layout.pack_many(versions, records), strict=True))
        return True

    def _something_expires(self) -> bool:
        """Whether any record has an expiry."""
        return bool(self._transaction.stat(db=self._databases.expiries)["entries"])

    def _count(self, slot: int, documents: int, used: int) -> None:
        assert self._state is not None
        self._state.documents[self._index] = self._state.documents.get(self._index, 0) + documents
        self._state.counts[slot >> BUCKET_BITS] += documents
        self._state.used += used

    def _move_expiry(self, database: bytes, old: int, new: int) -> None:
        if old and old != new:
            self._transaction.delete(layout.expiry_key(old, database), db=self._databases.expiries)
        if new and old != new:
            self._transaction.put(layout.expiry_key(new, database), database, db=self._databases.expiries)


def _all_short(keys: Sequence[bytes]) -> bool:
    """Whether the database keys hold the whole keys."""
    return max(map(len, keys), default=0) <= layout.LONGEST


def sweep(transaction: lmdb.Transaction, databases: Databases, state: State, now: int, most: int) -> bool:
    """Remove up to `most` records that nobody can see; whether there are more."""
    expiries = transaction.cursor(db=databases.expiries)
    while most > 0 and expiries.first() and layout.expired(expiries.key(), now):
        _forget(transaction, databases, state, bytes(expiries.value()))
        most -= 1
    for index in list(state.dropped):
        cursor, prefix = transaction.cursor(db=databases.records), layout.PREFIX.pack(index, 0)[:4]
        while most > 0 and cursor.set_range(prefix) and cursor.key()[:4] == prefix:
            _forget(transaction, databases, state, bytes(cursor.key()))
            most -= 1
        if most > 0:
            state.dropped.remove(index)
    return most <= 0


def _forget(transaction: lmdb.Transaction, databases: Databases, state: State, database: bytes) -> None:
    """Remove one record, by its database key, with its expiry and what is counted for it."""
    stored = transaction.get(database, db=databases.records)
    assert stored is not None  # every expiry has its record
    value = memoryview(stored)
    key = layout.whole_key(memoryview(database), value)
    found = layout.unpack(key, value)
    assert found is not None  # the key is the value's own
    transaction.delete(database, db=databases.records)
    index, slot = layout.PREFIX.unpack_from(database)
    if index in state.documents:
        state.documents[index] -= 1
    state.counts[slot >> BUCKET_BITS] -= 1
    state.used -= cost(key, found.record)
    if found.expires:
        transaction.delete(layout.expiry_key(found.expires, database), db=databases.expiries)
