"""The store in memory: one dict of records for each index, gone with the process.

Rules, beside those of every store (`pyshard.storage.interface`):

- every Deferred has fired when it is returned;
- versions begin with the time in microseconds, so that they rise over a restart as well;
- a snapshot copies references to keys, records and expiries when it is taken, by three calls in C (some 80 ms for a
  million), and lets go of keys and records as they are read.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from sys import getsizeof

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.protocol.batch_answers import VERSION, Answer
from pyshard.protocol.pages import Row
from pyshard.settings import settings
from pyshard.storage.batch_executor import BatchExecutor, no_such_index
from pyshard.storage.interface import ITSELF, Page, PageBounds, Sender, Task
from pyshard.storage.memory.index_records import EXPIRY_BYTES, KEPT_BYTES, MemoryIndex
from pyshard.storage.page_walk import page_of
from pyshard.storage.slot_histogram import histogram, new_bucket_counts
from pyshard.storage.snapshot import Snapshot

_REFERENCE = 8  # bytes that a snapshot has for a key or a record


class MemoryStore:
    """`IStore` in this process's memory; see `pyshard.storage.interface` for what each method promises.

    :param identity: hex UUID; a new one for each start, since a restart loses the data.
    :param seconds: the time since 1970, for versions and expiry.
    :param grown: called when there are many more lists of keys than before, which will stay. A daemon spares them to
        the garbage collector (`pyshard.storage.memory.slot_index`).
    """

    ephemeral = True

    def __init__(self, identity: str, seconds: Callable[[], float], grown: Callable[[], object] = lambda: None) -> None:
        self.identity = identity
        self.grown = grown
        self._seconds = seconds
        self._version = int(seconds() * 1_000_000)
        self._indexes = {DEFAULT_INDEX: MemoryIndex(self, b"", self._now())}
        self._dropped: list[MemoryIndex] = []
        self._remembered: bytes | None = None
        self.used = 0
        self.discarded = 0
        self.discarded_keys = 0
        self.bucket_counts: array[int] = new_bucket_counts()

    @property
    def documents(self) -> int:
        return sum(len(index.records) for index in self._indexes.values())

    def count(self, index: int) -> int:
        if index not in self._indexes:
            raise no_such_index(index)
        return len(self._indexes[index].records)

    def apply(self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        now = int(self._seconds() * 1000)
        executor = BatchExecutor(self._indexes.get, self.used, limit, room, now, self._next_versions)
        return succeed(list(map(executor.answer, tasks)))

    def will_give(self, tasks: Sequence[Task]) -> int:
        return 0  # `apply` gives everything at once

    def surely_has_all(self, index: int, keys: Sequence[bytes]) -> bool:
        memory_index = self._indexes.get(index)
        return memory_index is not None and all(map(memory_index.records.__contains__, keys))

    def page(self, index: int, start: int, after: bytes | None, end: int, bounds: PageBounds) -> Deferred[Page]:
        memory_index = self._indexes.get(index)
        if memory_index is None:
            return fail(no_such_index(index))
        return succeed(page_of(memory_index.walk(start, after, end, self._now()), bounds))

    def set_indexes(self, indexes: Mapping[str, int]) -> Deferred[None]:
        wanted = {DEFAULT_INDEX: b""} | {number: name.encode() for name, number in indexes.items()}
        for number in set(self._indexes) - set(wanted):
            dropped = self._indexes.pop(number)
            dropped.leave_counts()
            self._dropped.append(dropped)
        for number in set(wanted) - set(self._indexes):
            self._indexes[number] = MemoryIndex(self, wanted[number], self._now())
        return succeed(None)

    def sweep(self, most: int) -> Deferred[bool]:
        now = self._now()
        for index in self._indexes.values():
            most -= index.sweep(now, most)
        while most > 0 and self._dropped:
            if self._dropped[-1].forget_one():
                most -= 1
            else:
                self._dropped.pop()
        return succeed(bool(self._dropped) or any(index.may_be_swept(now) for index in self._indexes.values()))

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        return histogram(self.bucket_counts, start, end, bars)

    def snapshot(self) -> Snapshot:
        now = self._now()
        copies = {number: _Copy.of(index) for number, index in self._indexes.items()}
        expired = (0 < expires <= now for copy in copies.values() for expires in copy.expiries.values())
        total, discarded, discarded_keys = max(1, self.documents), self.discarded, self.discarded_keys
        expiring = sum(len(index.expiries) for index in self._indexes.values())
        everything = self.used - total * (settings.ITEM_OVERHEAD - KEPT_BYTES)
        everything -= expiring * (settings.EXPIRY_OVERHEAD - EXPIRY_BYTES)

        def pinned() -> int:
            left = sum(len(copy.keys) for copy in copies.values())
            references = sum(len(copy.keys) + len(copy.values) for copy in copies.values())
            tables = sum(getsizeof(copy.expiries) for copy in copies.values())
            kept = min(self.discarded - discarded, everything) + self.discarded_keys - discarded_keys
            return references * _REFERENCE + tables + min(kept, everything + total * KEPT_BYTES) * left // total

        return Snapshot(self.documents, expired, _live_rows(copies, now), pinned=pinned)

    def remember(self, text: bytes) -> Deferred[None]:
        self._remembered = text
        return succeed(None)

    def recall(self) -> bytes | None:
        return self._remembered

    def close(self) -> Deferred[None]:
        self._indexes = {}
        self._dropped = []
        self.used = 0
        return succeed(None)

    def _now(self) -> int:
        return int(self._seconds() * 1000)

    def _next_versions(self, count: int) -> range:
        self._version += count
        return range(self._version - count + 1, self._version + 1)


@attrs.frozen
class _Copy:
    """What an index had at one moment: keys, and beside them their values; and expiries.

    :param values: see `MemoryIndex.records`.
    :param expiries: see there, too.
    """

    keys: list[bytes]
    values: list[bytes]
    expiries: dict[bytes, int]

    @classmethod
    def of(cls, index: MemoryIndex) -> _Copy:
        """What an index has."""
        return cls(list(index.records), list(index.records.values()), index.expiries.copy())


def _live_rows(copies: Mapping[int, _Copy], now: int) -> Iterator[Row | None]:
    """The rows of a snapshot, each of which the copies forget; None for a record that had expired.

    :param copies: by the ids of the indexes.
    :param now: milliseconds since 1970.
    """
    for index, copy in copies.items():
        while copy.keys:
            key, value = copy.keys.pop(), copy.values.pop()
            expires = copy.expiries.get(key, 0)
            yield None if 0 < expires <= now else Row(index, key, expires, value[VERSION.size :])
