"""One index of a durable store during one batch: records found, kept and counted; and batches that are done again."""

from __future__ import annotations

from collections.abc import Sequence

from pyshard.protocol.answers import VERSION, Result
from pyshard.settings import settings
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import State
from pyshard.storage.durable.memtable import Changes, Value, View
from pyshard.storage.executor import Found, cost
from pyshard.storage.histogram import BUCKET_BITS


class LmdbTable:
    """`Table` of one index within one batch.

    :param view: the records.
    :param state: the counters; None: for reading only.
    :param changes: takes what is changed, and is part of the view; None: for reading only.
    """

    def __init__(self, view: View, index: int, state: State | None = None, changes: Changes | None = None) -> None:
        self._view = view
        self._index = index
        self._state = state
        self._changes = changes

    def find(self, key: bytes, slot: int) -> Found | None:
        """See `Table`."""
        value = self._view.get(lmdb_encoding.database_key(self._index, slot, key))
        return None if value is None else lmdb_encoding.unpack(key, value)

    def put(self, key: bytes, slot: int, new: Found, old: Found | None) -> None:
        """See `Table`."""
        assert self._state is not None
        assert self._changes is not None
        self._changes.put(lmdb_encoding.database_key(self._index, slot, key), lmdb_encoding.pack(key, new), new.expires)
        if old is None:
            self._count(slot, 1, cost(key, new.record))
        else:
            self._state.used += len(new.record) - len(old.record)

    def delete(self, key: bytes, slot: int, old: Found) -> None:
        """See `Table`."""
        assert self._changes is not None
        self._changes.remove(lmdb_encoding.database_key(self._index, slot, key))
        self._count(slot, -1, -cost(key, old.record))

    def write(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> int:
        """See `Table`."""
        state, changes = self._state, self._changes
        assert state is not None
        assert changes is not None
        used = state.used
        if _all_short(keys):
            databases = lmdb_encoding.database_keys(self._index, slots, keys)
            self._count_written(keys, slots, records, self._view.many(databases))
            changes.records.update(zip(databases, lmdb_encoding.pack_many(versions, records), strict=True))
        else:
            for key, slot, record, version in zip(keys, slots, records, versions, strict=True):
                self.put(key, slot, Found(version, 0, record), self.find(key, slot))
        return state.used - used

    def has(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        """See `Table`."""
        if _all_short(keys):
            return [value is not None for value in self._live_values(keys, slots, now)]
        found: list[Result] = []
        for key, slot in zip(keys, slots, strict=True):
            value = self._view.get(lmdb_encoding.database_key(self._index, slot, key))
            found.append(value is not None and lmdb_encoding.is_live(key, value, now))
        return found

    def read(self, keys: Sequence[bytes], slots: Sequence[int], now: int, room: int) -> list[Result]:
        """See `Table`."""
        found: list[Result] = []
        if _all_short(keys):
            for value in self._live_values(keys, slots, now):
                if room <= 0:
                    break
                result = None if value is None else lmdb_encoding.result(value)
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

    def _live_values(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Value | None]:
        """The value of each of many short keys, by calls in C over all of them."""
        values = self._view.many(lmdb_encoding.database_keys(self._index, slots, keys))
        if not self._view.something_expires():
            return values
        return [
            value if value is not None and lmdb_encoding.is_live(key, value, now) else None
            for key, value in zip(keys, values, strict=True)
        ]

    def _count_written(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], before: Sequence[Value | None]
    ) -> None:
        """Count records that come in place of what was there, for short keys."""
        state = self._state
        assert state is not None
        replaced = [value for value in before if value is not None]
        state.used += sum(map(len, records)) - lmdb_encoding.bytes_of_records(replaced)
        new = len(keys) - len(replaced)
        if new:
            made = [(key, slot) for key, slot, value in zip(keys, slots, before, strict=True) if value is None]
            state.used += sum([len(key) for key, _ in made]) + new * settings.ITEM_OVERHEAD
            counts = state.counts
            for _, slot in made:
                counts[slot >> BUCKET_BITS] += 1
            state.documents[self._index] = state.documents.get(self._index, 0) + new

    def _count(self, slot: int, documents: int, used: int) -> None:
        assert self._state is not None
        self._state.documents[self._index] = self._state.documents.get(self._index, 0) + documents
        self._state.counts[slot >> BUCKET_BITS] += documents
        self._state.used += used


def _all_short(keys: Sequence[bytes]) -> bool:
    """Whether the database keys hold the whole keys."""
    return max(map(len, keys), default=0) <= lmdb_encoding.LONGEST


def apply_again(view: View, state: State, changes: Changes, done: dict[bytes, bytes]) -> None:
    """Do once more what was done before, as it stands in the log.

    :param changes: part of the view.
    :param done: the records of a group's `Changes`.
    """
    for database, value in done.items():
        before = view.get(database)
        stored = memoryview(value) if value else before
        if stored is None:
            continue  # it was made and removed within the group
        key = lmdb_encoding.whole_key(memoryview(database), stored)
        index, slot = lmdb_encoding.PREFIX.unpack_from(database)
        old = None if before is None else lmdb_encoding.unpack(key, before)
        new = lmdb_encoding.unpack(key, memoryview(value)) if value else None
        table = LmdbTable(view, index, state, changes)
        if new is not None:
            table.put(key, slot, new, old)
        elif old is not None:
            table.delete(key, slot, old)
