"""A store in memory: a dict for each index, and beside it the keys by slot.

Operations touch the dict alone as far as they can. For pages and histograms each index keeps, for every
*bucket* of 8,192 slots, the list of its keys. Removing leaves the key in the list and counts it as dead; a
bucket with more dead entries than live ones is written anew.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred, fail, succeed

from pyshard.batch import HEAD_BYTES, Add, Answer, Has, Pop, Read, Result, Write
from pyshard.cluster import DEFAULT_INDEX
from pyshard.errors import AnswerFull, IndexNotFound, ShardFull
from pyshard.hashing import slot_of
from pyshard.settings import settings
from pyshard.storage.interface import Page, Task

_BUCKET_BITS = 13
_FEW_DEAD = 16


class _Index:
    """One index: its name, its records, its keys by bucket, its bytes."""

    __slots__ = ("buckets", "dead", "name", "records", "used")

    def __init__(self, name: bytes) -> None:
        self.name = name
        self.records: dict[bytes, bytes] = {}
        self.buckets: dict[int, list[bytes]] = {}
        self.dead: dict[int, int] = {}
        self.used = 0

    def put(self, key: bytes, record: bytes, slot: int, change: int) -> None:
        """Store a record that takes `change` bytes more (or less) than before."""
        if key not in self.records:
            self.buckets.setdefault(slot >> _BUCKET_BITS, []).append(key)
        self.records[key] = record
        self.used += change

    def take(self, key: bytes, slot: int) -> bytes | None:
        """Remove a key; the record it had, or None."""
        record = self.records.pop(key, None)
        if record is not None:
            self.used -= len(key) + len(record) + settings.ITEM_OVERHEAD
            bucket = slot >> _BUCKET_BITS
            dead = self.dead[bucket] = self.dead.get(bucket, 0) + 1
            if dead > _FEW_DEAD and dead * 2 > len(self.buckets[bucket]):
                self._sweep(bucket)
        return record

    def _sweep(self, bucket: int) -> None:
        live = self.live(bucket)
        del self.dead[bucket]
        if live:
            self.buckets[bucket] = live
        else:
            del self.buckets[bucket]

    def live(self, bucket: int) -> list[bytes]:
        """The keys of a bucket, each once."""
        records = self.records
        return [key for key in dict.fromkeys(self.buckets.get(bucket, ())) if key in records]

    def count(self, bucket: int) -> int:
        """How many keys of a bucket live."""
        return len(self.buckets[bucket]) - self.dead.get(bucket, 0)


class MemoryStore:
    """`IStore` in this process's memory; see `pyshard.storage.interface` for what each method promises.

    :param identity: hex UUID; a new one for each start, since a restart loses the data.
    """

    ephemeral = True

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._indexes: dict[int, _Index] = {DEFAULT_INDEX: _Index(b"")}
        self._remembered: bytes | None = None

    @property
    def documents(self) -> int:
        return sum(len(index.records) for index in self._indexes.values())

    @property
    def used(self) -> int:
        return sum(index.used for index in self._indexes.values())

    def apply(self, tasks: Sequence[Task], limit: int, room: int) -> Deferred[list[Answer]]:
        application = _Application(self._indexes, self.used, limit, room)
        return succeed([application.answer(task) for task in tasks])

    def page(self, index: int, start: int, after: bytes | None, end: int, most: int, most_bytes: int) -> Deferred[Page]:
        if index not in self._indexes:
            return fail(no_such_index(index))
        one = self._indexes[index]
        page: list[bytes] = []
        for bucket in range(start >> _BUCKET_BITS, ((end - 1) >> _BUCKET_BITS) + 1):
            found = sorted((slot_of(key, one.name), key) for key in one.live(bucket))
            for slot, key in found:
                if slot < start or slot >= end or (after is not None and slot == start and key <= after):
                    continue
                if len(page) >= most or most_bytes <= 0:
                    return succeed(Page(page, True))
                page.append(key)
                most_bytes -= len(key)
        return succeed(Page(page, False))

    def set_indexes(self, indexes: Mapping[str, int]) -> Deferred[None]:
        wanted = {DEFAULT_INDEX: b""} | {number: name.encode() for name, number in indexes.items()}
        self._indexes = {number: self._indexes.get(number) or _Index(name) for number, name in wanted.items()}
        return succeed(None)

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        counts = [0] * bars
        for index in self._indexes.values():
            for bucket in index.buckets:
                middle = (bucket << _BUCKET_BITS) + (1 << (_BUCKET_BITS - 1))
                bar = (middle - start) * bars // (end - start)
                counts[max(0, min(bar, bars - 1))] += index.count(bucket)
        return counts

    def remember(self, text: bytes) -> Deferred[None]:
        self._remembered = text
        return succeed(None)

    def recall(self) -> bytes | None:
        return self._remembered

    def close(self) -> Deferred[None]:
        self._indexes = {}
        return succeed(None)


def no_such_index(index: int) -> IndexNotFound:
    """The error for an id that no index has (any more)."""
    return IndexNotFound(f"the index with id {index} has been dropped")


class _Application:
    """One batch on its way through the store: what it may still take and still answer."""

    def __init__(self, indexes: Mapping[int, _Index], used: int, limit: int, room: int) -> None:
        self.indexes = indexes
        self.free = limit - used
        self.limit = limit
        self.room = room

    def answer(self, task: Task) -> Answer:
        run = task.run
        index = self.indexes.get(task.index)
        if index is None or self.room <= 0:
            error = no_such_index(task.index) if index is None else _ANSWER_FULL
            refused = (error.code, str(error))
            return Answer([None] * len(run.keys), dict.fromkeys(range(len(run.keys)), refused))
        answer = Answer([], {})
        if isinstance(run, Read):
            self._read(answer, index, run.keys)
        elif isinstance(run, Has):
            answer.results = list(map(index.records.__contains__, run.keys))
        elif isinstance(run, Write | Add):
            self._write(answer, index, run.keys, run.records, task.slots, only_new=isinstance(run, Add))
        else:
            self._take(answer, index, run.keys, task.slots, whole=isinstance(run, Pop))
        return answer

    def _read(self, answer: Answer, index: _Index, keys: list[bytes]) -> None:
        found = list(map(index.records.get, keys))
        total = sum(map(len, filter(None, found)))
        answer.results = list(found)
        if total >= self.room:
            for position, record in enumerate(found):
                if self.room <= 0:
                    answer.results[position] = None
                    answer.refuse(position, _ANSWER_FULL)
                else:
                    self.room -= len(record or b"")
        else:
            self.room -= total

    def _write(
        self,
        answer: Answer,
        index: _Index,
        keys: list[bytes],
        records: list[bytes],
        slots: Sequence[int],
        only_new: bool,
    ) -> None:
        known, results = index.records, answer.results
        for position, (key, record, slot) in enumerate(zip(keys, records, slots, strict=True)):
            old = known.get(key)
            if old is None:
                change = len(key) + len(record) + settings.ITEM_OVERHEAD
            elif only_new:
                results.append(False)
                continue
            else:
                change = len(record) - len(old)
            if change > self.free and change > 0:
                results.append(None)
                answer.refuse(position, self._full(change))
                continue
            self.free -= change
            index.put(key, record, slot, change)
            results.append(True)

    def _full(self, change: int) -> ShardFull:
        return ShardFull(
            f"the shard holds {self.limit - self.free:,} of {self.limit:,} bytes and this write needs {change:,} more; "
            "remove documents or raise the shard's size"
        )

    def _take(self, answer: Answer, index: _Index, keys: list[bytes], slots: Sequence[int], whole: bool) -> None:
        results: list[Result] = answer.results
        before = index.used
        for position, (key, slot) in enumerate(zip(keys, slots, strict=True)):
            if self.room <= 0:
                results.append(None)
                answer.refuse(position, _ANSWER_FULL)
                continue
            record = index.take(key, slot)
            if record is not None and not whole:
                record = record[:HEAD_BYTES]
            results.append(record)
            self.room -= len(record or b"")
        self.free += before - index.used


_ANSWER_FULL = AnswerFull("the answer is full and this operation was not applied; ask for it again")
