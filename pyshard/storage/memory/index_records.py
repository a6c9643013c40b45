"""One index of a store in memory: a dict of records, beside it expiries, and the keys in slot order.

Rules:

- a value of the dict is version and record in one (`VERSION`, record), so that a read copies nothing;
- operations touch the dict alone as far as they can, and in columns where a run has many keys;
- each change keeps the store's `used` and `bucket_counts` right at once;
- `write` has a plain twin, `write_plainly`, which it falls back to (tests/storage/memory/test_index_records.py).
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from functools import partial
from operator import add
from typing import Protocol

from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_answers import VERSION, Result
from pyshard.protocol.batch_operations import picker
from pyshard.settings import settings
from pyshard.storage.batch_executor import StoredRecord, cost
from pyshard.storage.memory.slot_index import SlotIndex
from pyshard.storage.page_walk import Step
from pyshard.storage.slot_histogram import BUCKET_BITS

#: Bytes of memory that a value takes beside its record, and a key beside its text.
KEPT_BYTES = 45
_LONG = 1024  # bytes of a value from which on a view costs less than a copy


class IndexOwner(Protocol):
    """The store of an index: what all its indexes share.

    :ivar used: bytes that count against the limit.
    :ivar discarded: bytes of records that were ever replaced or removed: open snapshots keep them.
    :ivar bucket_counts: documents in each bucket; see `pyshard.storage.slot_histogram`.
    """

    used: int
    discarded: int
    bucket_counts: array[int]

    def schedule_expiry(self, expires: int, index: int, key: bytes) -> None:
        """Have `sweep` remove a key when it has expired, unless it has another expiry by then."""
        ...

    def grown(self) -> object:
        """Is told when there are many more lists of keys than before; see `SlotIndex`."""
        ...


class MemoryIndex:
    """`StoreIndex` in memory, of every batch that uses the index.

    :param store: the store of the index.
    :param number: id of the index.
    :param name: name of the index, in UTF-8.
    :ivar records: key → version and record.
    :ivar expiries: key → expiry, of the records that have one.
    """

    def __init__(self, store: IndexOwner, number: int, name: bytes) -> None:
        self._store = store
        self._number = number
        self.records: dict[bytes, bytes] = {}
        self.expiries: dict[bytes, int] = {}
        self.slot_of = partial(slot_of, index=name)
        self._slot_index = SlotIndex(self.slot_of, self.records, self._store.grown)

    def find(self, key: bytes, slot: int) -> StoredRecord | None:
        """See `StoreIndex`."""
        value = self.records.get(key)
        if value is None:
            return None
        record = value[VERSION.size :] if len(value) < _LONG else memoryview(value)[VERSION.size :]
        return StoredRecord(VERSION.unpack_from(value)[0], self.expiries.get(key, 0), record)

    def put(self, key: bytes, slot: int, new: StoredRecord, old: StoredRecord | None) -> None:
        """See `StoreIndex`."""
        store = self._store
        if old is None:
            store.bucket_counts[slot >> BUCKET_BITS] += 1
            store.used += cost(key, new.record)
        else:
            store.used += len(new.record) - len(old.record)
            store.discarded += len(old.record) + KEPT_BYTES
        self.records[key] = VERSION.pack(new.version) + new.record
        if old is None:
            self._slot_index.add([slot], [key])
        if new.expires:
            self.expiries[key] = new.expires
            store.schedule_expiry(new.expires, self._number, key)
        elif old is not None and old.expires:
            del self.expiries[key]

    def delete(self, key: bytes, slot: int, old: StoredRecord) -> None:
        """See `StoreIndex`."""
        store = self._store
        del self.records[key]
        self.expiries.pop(key, None)
        store.used -= cost(key, old.record)
        store.discarded += len(key) + len(old.record) + 2 * KEPT_BYTES
        store.bucket_counts[slot >> BUCKET_BITS] -= 1
        self._slot_index.note_removed(slot)

    def write(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> int:
        """See `StoreIndex`."""
        if not self.expiries.keys().isdisjoint(keys):
            return self.write_plainly(keys, slots, records, versions)
        store, before = self._store, self._store.used
        old = list(map(self.records.get, keys))
        replaced = list(filter(None, old))  # no value is empty: each begins with its version
        replaced_bytes = sum(map(len, replaced)) - len(replaced) * VERSION.size
        store.used += sum(map(len, records)) - replaced_bytes
        store.discarded += replaced_bytes + len(replaced) * KEPT_BYTES
        self.records.update(zip(keys, map(add, map(VERSION.pack, versions), records), strict=True))
        if len(replaced) < len(keys):
            if replaced:
                pick = picker([position for position, value in enumerate(old) if value is None])
                keys, slots = pick(keys), pick(slots)
            self._slot_index.add(slots, keys)
            counts = store.bucket_counts
            for slot in slots:
                counts[slot >> BUCKET_BITS] += 1
            store.used += len(b"".join(keys)) + len(keys) * settings.ITEM_OVERHEAD
        return store.used - before

    def write_plainly(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> int:
        """As `write`, key by key, also for keys that have an expiry."""
        before = self._store.used
        for key, slot, record, version in zip(keys, slots, records, versions, strict=True):
            self.put(key, slot, StoredRecord(version, 0, record), self.find(key, slot))
        return self._store.used - before

    def has(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        """See `StoreIndex`."""
        return [value is not None for value in self.read(keys, slots, now, 0)]

    def read(self, keys: Sequence[bytes], slots: Sequence[int], now: int, room: int) -> list[Result]:
        """See `StoreIndex`."""
        values: list[Result] = list(map(self.records.get, keys))
        if self.expiries:
            expiry = self.expiries.get
            values = [None if 0 < expiry(key, 0) <= now else value for key, value in zip(keys, values, strict=True)]
        return values

    def walk(self, start: int, after: bytes | None, end: int, now: int) -> Iterator[Step]:
        """The entries of the slots [start, end), in order of slot and key; those that nobody may see, too.

        :param after: of the first slot only the entries behind this key; None: all.
        """
        steps = self._slot_index.walk(start, after, end)
        if not self.expiries:
            return steps
        expiries = self.expiries

        def expired(key: bytes | None) -> bool:
            return key in expiries and expiries[key] <= now

        return ((slot, key, visible and not expired(key)) for slot, key, visible in steps)

    def count_expired(self, now: int) -> int:
        """How many records have expired and aren't swept away yet."""
        return sum(map(now.__ge__, self.expiries.values()))

    def leave_counts(self) -> None:
        """Take a dropped index out of the store's histogram; its records still count as used."""
        for bucket, count in self._slot_index.bucket_counts():
            self._store.bucket_counts[bucket] -= count
        self._slot_index = SlotIndex(self.slot_of, self.records, self._store.grown)
        self.expiries.clear()
