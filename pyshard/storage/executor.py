"""One batch on its way through a store: what each verb does, the same for every store.

A store gives a `Table` for each index and gets the answers; how records are found and kept is the table's affair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from pyshard.errors import AnswerFull, IndexNotFound, InvalidDocument, NotANumber, PyshardError, ShardFull
from pyshard.model import documents
from pyshard.protocol.answers import ITEM, VERSION, Answer, Result
from pyshard.protocol.batches import (
    ABSENT,
    ALWAYS,
    HEAD_BYTES,
    Has,
    Increment,
    Pop,
    Read,
    ReadItem,
    Remove,
    Touch,
    Write,
    picker,
)
from pyshard.settings import settings
from pyshard.storage.interface import Task


class Found(NamedTuple):
    """A record as a table has it.

    :param version: rises with every write to the store.
    :param expires: milliseconds since 1970 from which it is not to be seen; 0: never.
    """

    version: int
    expires: int
    record: bytes


class Table(Protocol):
    """One index during one batch. Expired records are found too; who asks must look."""

    def find(self, key: bytes, slot: int) -> Found | None:
        """The record of a key."""
        ...

    def put(self, key: bytes, slot: int, new: Found, old: Found | None) -> None:
        """Keep a record, in place of `old`."""
        ...

    def delete(self, key: bytes, slot: int, old: Found) -> None:
        """Remove a key, which has `old`."""
        ...

    def write(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> int:
        """Keep a record for each key, without expiry, in place of what is there.

        :param keys: each of them once.
        :return: by how many bytes what is used has grown.
        """
        ...

    def has(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        """Whether there is each key and it hasn't expired."""
        ...

    def read(self, keys: Sequence[bytes], slots: Sequence[int], now: int, room: int) -> list[Result]:
        """Version and record (`VERSION`, record) of each key that there is and that hasn't expired.

        :param room: once there are so many bytes, keys may be left out at the end.
        """
        ...


def cost(key: bytes, record: bytes) -> int:
    """Bytes that a document counts for."""
    return len(key) + len(record) + settings.ITEM_OVERHEAD


def no_such_index(index: int) -> IndexNotFound:
    """The error for an id that no index has (any more)."""
    return IndexNotFound(f"the index with id {index} has been dropped")


class Application:
    """Applies the tasks of one batch.

    :param table: gives the table of an index id, or None.
    :param used: bytes in use before it.
    :param limit: bytes that may be in use.
    :param room: bytes of records that the answers may still take.
    :param now: milliseconds since 1970.
    :param next_versions: gives rising versions for so many writes.
    """

    def __init__(
        self,
        table: Callable[[int], Table | None],
        used: int,
        limit: int,
        room: int,
        now: int,
        next_versions: Callable[[int], range],
    ) -> None:
        self._table = table
        self._free = limit - used
        self._limit = limit
        self._room = room
        self._work = settings.BATCH_WORK
        self._now = now
        self._next_versions = next_versions

    def answer(self, task: Task) -> Answer:
        """Apply one task."""
        run, slots = task.run, task.slots
        table = self._table(task.index)
        if table is None or self._room <= 0:
            error: PyshardError = no_such_index(task.index) if table is None else _ANSWER_FULL
            refused = (error.code, str(error))
            return Answer([None] * len(run.keys), dict.fromkeys(range(len(run.keys)), refused))
        answer = Answer([], {})
        if isinstance(run, Has):
            answer.results = table.has(run.keys, slots, self._now)
        elif isinstance(run, Read):
            answer.results = table.read(run.keys, slots, self._now, self._room)
            self._fit(answer, len(run.keys))
        elif isinstance(run, Write) and run.conditions is None and run.ttls is None and self._has_room_for(run):
            keys, records = run.keys, run.records
            versions: Sequence[int] = self._next_versions(len(keys))
            if len(set(keys)) < len(keys):  # of what is written several times only the last is left
                pick = picker(list({key: place for place, key in enumerate(keys)}.values()))
                keys, slots, records, versions = pick(keys), pick(slots), pick(records), pick(versions)
            self._free -= table.write(keys, slots, records, versions)
            answer.results = [True] * len(run.keys)
        else:
            self._each(answer, table, task)
        return answer

    def _has_room_for(self, run: Write) -> bool:
        """Whether no write of a run can go past the limit, whatever it replaces."""
        most = len(b"".join(run.keys)) + sum(map(len, run.records)) + len(run.keys) * settings.ITEM_OVERHEAD
        return most <= self._free

    def _fit(self, answer: Answer, keys: int) -> None:
        """Leave as many of the records in the answer as there is room for; refuse the rest of the keys."""
        records = answer.results
        total = sum(map(len, filter(None, records)))  # type: ignore[arg-type]  # `Table.read` gives no bool
        if len(records) == keys and total < self._room:
            self._room -= total
            return
        records += [None] * (keys - len(records))
        for position, record in enumerate(records):
            if self._room <= 0:
                records[position] = None
                answer.refuse(position, _ANSWER_FULL)
            elif isinstance(record, bytes):
                self._room -= len(record)

    def _each(self, answer: Answer, table: Table, task: Task) -> None:
        """Apply the operations of a task one by one."""
        run, results = task.run, answer.results
        for position, (key, slot) in enumerate(zip(run.keys, task.slots, strict=True)):
            try:
                if self._room <= 0 or self._work <= 0:
                    raise _ANSWER_FULL
                old = table.find(key, slot)
                if old is not None:
                    self._work -= len(old.record)
                live = old if old is not None and not self._over(old) else None
                result: Result
                if isinstance(run, Write):
                    condition = ALWAYS if run.conditions is None else run.conditions[position]
                    ttl = 0 if run.ttls is None else run.ttls[position]
                    result = _met(condition, live)
                    if result:
                        self._put(table, key, slot, run.records[position], self._expiry(ttl), old)
                elif isinstance(run, Pop | Remove):
                    condition = ALWAYS if run.conditions is None else run.conditions[position]
                    result = (
                        self._take(table, key, slot, live, whole=isinstance(run, Pop))
                        if _met(condition, live)
                        else None
                    )
                elif isinstance(run, ReadItem):
                    result = None if live is None else self._item(live)
                elif isinstance(run, Touch):
                    result = live is not None
                    if live is not None:
                        table.put(key, slot, live._replace(expires=self._expiry(run.ttls[position])), live)
                else:
                    assert isinstance(run, Increment)
                    result = _sum(live, run.amounts[position], run.initials[position])
                    self._put(table, key, slot, result, live.expires if live else 0, old)
            except PyshardError as error:
                results.append(None)
                answer.refuse(position, error)
            else:
                results.append(result)
                if isinstance(result, bytes):
                    self._room -= len(result)

    def _put(self, table: Table, key: bytes, slot: int, record: bytes, expires: int, old: Found | None) -> None:
        change = cost(key, record) if old is None else len(record) - len(old.record)
        if change > self._free and change > 0:
            raise ShardFull(
                f"the shard holds {self._limit - self._free:,} of {self._limit:,} bytes and this write needs "
                f"{change:,} more; remove documents or raise the shard's size"
            )
        self._free -= change
        table.put(key, slot, Found(self._next_versions(1)[0], expires, record), old)

    def _take(self, table: Table, key: bytes, slot: int, live: Found | None, whole: bool) -> bytes | None:
        if live is None:
            return None
        table.delete(key, slot, live)
        self._free += cost(key, live.record)
        return VERSION.pack(live.version) + live.record if whole else live.record[:HEAD_BYTES]

    def _item(self, live: Found) -> bytes:
        remaining = live.expires - self._now if live.expires else 0
        return ITEM.pack(live.version, live.expires, remaining) + live.record

    def _over(self, found: Found) -> bool:
        return 0 < found.expires <= self._now

    def _expiry(self, ttl: int) -> int:
        return self._now + ttl if ttl > 0 else 0


def _met(condition: int, live: Found | None) -> bool:
    """Whether a condition holds for the record that there is."""
    if condition == ALWAYS:
        return True
    if condition == ABSENT:
        return live is None
    return live is not None and live.version == condition


def _sum(live: Found | None, amount: bytes, initial: bytes) -> bytes:
    """The record of a counter's next value."""
    values = []
    for record in (live.record if live else initial, amount):
        try:
            values.append(documents.decode_int(record))
        except InvalidDocument as error:
            raise NotANumber(f"what is to be incremented can't be read: {error}") from None
    return documents.encode(sum(values))[0]


_ANSWER_FULL = AnswerFull("the answer is full and this operation was not applied; ask for it again")
