"""A store in memory: for each index a dict, and beside it the keys in slot order.

Operations touch the dict alone as far as they can.
"""

from __future__ import annotations

import heapq
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from operator import add

from twisted.internet.defer import Deferred, fail, succeed

from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.model.keyspace import slot_of
from pyshard.protocol.answers import VERSION, Answer, Result
from pyshard.protocol.batches import picker
from pyshard.settings import settings
from pyshard.storage.executor import Application, Found, cost, no_such_index
from pyshard.storage.histogram import BUCKET_BITS, histogram, new_counts
from pyshard.storage.interface import Page, Task
from pyshard.storage.memory.slot_index import SlotOrder
from pyshard.storage.snapshot import Snapshot, copied_rows

_FEW_EXPIRING = 1000


class _Index:
    """One index, and the `Table` of every batch that uses it.

    :ivar records: key → version and record.
    :ivar expiries: key → expiry, of the records that have one.
    """

    def __init__(self, store: MemoryStore, number: int, name: bytes) -> None:
        self._store = store
        self._number = number
        self.records: dict[bytes, bytes] = {}
        self.expiries: dict[bytes, int] = {}
        self.slot_of = partial(slot_of, index=name)
        self._order = SlotOrder(self.slot_of, self.records)

    def find(self, key: bytes, slot: int) -> Found | None:
        """See `Table`."""
        stored = self.records.get(key)
        if stored is None:
            return None
        return Found(VERSION.unpack_from(stored)[0], self.expiries.get(key, 0), stored[VERSION.size :])

    def put(self, key: bytes, slot: int, new: Found, old: Found | None) -> None:
        """See `Table`."""
        store = self._store
        if old is None:
            store.counts[slot >> BUCKET_BITS] += 1
            store.used += cost(key, new.record)
        else:
            store.used += len(new.record) - len(old.record)
        self.records[key] = VERSION.pack(new.version) + new.record
        if old is None:
            self._order.add([slot], [key])
        if new.expires:
            self.expiries[key] = new.expires
            store.will_expire(new.expires, self._number, key)
        elif old is not None and old.expires:
            del self.expiries[key]

    def delete(self, key: bytes, slot: int, old: Found) -> None:
        """See `Table`."""
        store = self._store
        del self.records[key]
        self.expiries.pop(key, None)
        store.used -= cost(key, old.record)
        store.counts[slot >> BUCKET_BITS] -= 1
        self._order.removed(slot)

    def write(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> int:
        """See `Table`."""
        store, before = self._store, self._store.used
        if not self.expiries.keys().isdisjoint(keys):
            for key, slot, record, version in zip(keys, slots, records, versions, strict=True):
                self.put(key, slot, Found(version, 0, record), self.find(key, slot))
            return store.used - before
        old = list(map(self.records.get, keys))
        kept = list(filter(None, old))  # no value is empty: each begins with its version
        store.used += sum(map(len, records)) - sum(map(len, kept)) + len(kept) * VERSION.size
        self.records.update(zip(keys, map(add, map(VERSION.pack, versions), records), strict=True))
        if len(kept) < len(keys):
            if kept:
                pick = picker([place for place, one in enumerate(old) if one is None])
                keys, slots = pick(keys), pick(slots)
            self._order.add(slots, keys)
            counts = store.counts
            for slot in slots:
                counts[slot >> BUCKET_BITS] += 1
            store.used += len(b"".join(keys)) + len(keys) * settings.ITEM_OVERHEAD
        return store.used - before

    def has(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        """See `Table`."""
        return [one is not None for one in self.read(keys, slots, now, 0)]

    def read(self, keys: Sequence[bytes], slots: Sequence[int], now: int, room: int) -> list[Result]:
        """See `Table`."""
        found: list[Result] = list(map(self.records.get, keys))
        if self.expiries:
            expiry = self.expiries.get
            found = [None if 0 < expiry(key, 0) <= now else one for key, one in zip(keys, found, strict=True)]
        return found

    def between(self, start: int, after: bytes | None, end: int, now: int) -> Iterator[bytes]:
        """The live keys of the slots [start, end) in order; of the first slot only those behind `after`."""
        expiry = self.expiries.get
        return (key for key in self._order.between(start, after, end) if not 0 < expiry(key, 0) <= now)

    def forget(self) -> None:
        """Take the index out of the store's counts; its records still use room."""
        for bucket, count in self._order.counted():
            self._store.counts[bucket] -= count
        self._order = SlotOrder(self.slot_of, self.records)
        self.expiries.clear()


class MemoryStore:
    """`IStore` in this process's memory; see `pyshard.storage.interface` for what each method promises.

    :param identity: hex UUID; a new one for each start, since a restart loses the data.
    :param seconds: the time since 1970, for versions and expiry.
    """

    ephemeral = True

    def __init__(self, identity: str, seconds: Callable[[], float]) -> None:
        self.identity = identity
        self._seconds = seconds
        # Versions begin with the time in microseconds, so that they rise over a restart as well.
        self._version = int(seconds() * 1_000_000)
        self._indexes = {DEFAULT_INDEX: _Index(self, DEFAULT_INDEX, b"")}
        self._dropped: list[_Index] = []
        self._remembered: bytes | None = None
        self.used = 0
        self.counts: array[int] = new_counts()
        # A heap: expiry, index, key. An expiry that was changed stays in it until there are too many of them.
        self._expiring: list[tuple[int, int, bytes]] = []
        self._most_expiring = _FEW_EXPIRING

    @property
    def documents(self) -> int:
        return sum(len(index.records) for index in self._indexes.values())

    def apply(self, tasks: Sequence[Task], limit: int, room: int) -> Deferred[list[Answer]]:
        application = Application(self._indexes.get, self.used, limit, room, self._now(), self._next_versions)
        return succeed([application.answer(task) for task in tasks])

    def holds(self, index: int, keys: Sequence[bytes]) -> bool:
        one = self._indexes.get(index)
        return one is not None and all(map(one.records.__contains__, keys))

    def page(self, index: int, start: int, after: bytes | None, end: int, most: int, most_bytes: int) -> Deferred[Page]:
        one = self._indexes.get(index)
        if one is None:
            return fail(no_such_index(index))
        page: list[bytes] = []
        for key in one.between(start, after, end, self._now()):
            if len(page) >= most or most_bytes <= 0:
                return succeed(Page(page, True))
            page.append(key)
            most_bytes -= len(key)
        return succeed(Page(page, False))

    def set_indexes(self, indexes: Mapping[str, int]) -> Deferred[None]:
        wanted = {DEFAULT_INDEX: b""} | {number: name.encode() for name, number in indexes.items()}
        for number in set(self._indexes) - set(wanted):
            dropped = self._indexes.pop(number)
            dropped.forget()
            self._dropped.append(dropped)
        for number in set(wanted) - set(self._indexes):
            self._indexes[number] = _Index(self, number, wanted[number])
        return succeed(None)

    def sweep(self, most: int) -> Deferred[bool]:
        now = self._now()
        while most > 0 and self._expiring and self._expiring[0][0] <= now:
            expires, number, key = heapq.heappop(self._expiring)
            index = self._indexes.get(number)
            if index is not None and index.expiries.get(key) == expires:
                slot = index.slot_of(key)
                found = index.find(key, slot)
                assert found is not None  # a key with an expiry has a record
                index.delete(key, slot, found)
            most -= 1
        while most > 0 and self._dropped:
            records = self._dropped[-1].records
            if records:
                key, stored = records.popitem()
                self.used -= cost(key, stored) - VERSION.size
                most -= 1
            else:
                self._dropped.pop()
        return succeed(bool(self._dropped) or bool(self._expiring and self._expiring[0][0] <= now))

    def will_expire(self, expires: int, number: int, key: bytes) -> None:
        """Have `sweep` remove a key when its time is over, unless it has another expiry then."""
        heapq.heappush(self._expiring, (expires, number, key))
        if len(self._expiring) > self._most_expiring:
            self._expiring = [
                (expires, number, key) for number, one in self._indexes.items() for key, expires in one.expiries.items()
            ]
            heapq.heapify(self._expiring)
            self._most_expiring = 2 * len(self._expiring) + _FEW_EXPIRING

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        return histogram(self.counts, start, end, bars)

    def snapshot(self) -> Snapshot:
        now = self._now()
        copies = {number: (dict(one.records), dict(one.expiries)) for number, one in self._indexes.items()}
        expired = sum(expires <= now for _, expiries in copies.values() for expires in expiries.values())
        return Snapshot(self.documents - expired, copied_rows(copies, now))

    def remember(self, text: bytes) -> Deferred[None]:
        self._remembered = text
        return succeed(None)

    def recall(self) -> bytes | None:
        return self._remembered

    def close(self) -> Deferred[None]:
        self._indexes = {}
        self._dropped = []
        self._expiring = []
        self.used = 0
        return succeed(None)

    def _now(self) -> int:
        return int(self._seconds() * 1000)

    def _next_versions(self, count: int) -> range:
        self._version += count
        return range(self._version - count + 1, self._version + 1)
