"""What each verb does to the records of a store: the one executor of batches that all stores share.

Rules:

- only the executor decides what verbs and conditions mean, when a store is full, and when a batch's answers are too
  large;
- that a record has expired a `StoreIndex` sees itself in `has` and `read`, and the executor in all others;
- a store gives it a `StoreIndex` for each index, which knows where records are;
- a run, which is one verb for many keys, goes to a `StoreIndex` in one call for all keys if it is `Has`, `Read`, or a
  `Write` without conditions and times to live that surely fits; all others are applied key by key (`_apply_each`);
- both ways give the same (tests/storage/contract/test_columns.py compares them);
- a refused operation changes nothing, and the rest of the batch goes on;
- an operation on a slot that the store doesn't own is refused, whoever has looked at it before;
- a batch has a bounded share of work: bytes of records in its answers, bytes that it copies for touches and increments,
  what it looks at in a store that pays for that (`LookBudget`), and operations that are applied key by key. Past
  it, all that is left of the batch is refused;
- no long record is copied before it is known to be wanted: a condition looks at the version alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pyshard.errors import AnswerFull, IndexNotFound, PyshardError, ShardFull, WrongShard
from pyshard.model.key_slots import slot_to_hash
from pyshard.model.slot_ranges import EVERYTHING, SlotRanges, holds_all, in_ranges, positions_in
from pyshard.protocol.batch_answers import ITEM, VERSION, Answer, Result
from pyshard.protocol.batch_operations import (
    ABSENT,
    ALWAYS,
    HEAD_BYTES,
    KEEP,
    PRESENT,
    Has,
    Increment,
    Pop,
    Read,
    ReadItem,
    Remove,
    Touch,
    Write,
    part,
)
from pyshard.protocol.columns import picker, total_size
from pyshard.settings import settings
from pyshard.storage.int_sum import sum_of, work_of_sum
from pyshard.storage.interface import Task
from pyshard.storage.look_budget import FIRST, LookBudget
from pyshard.storage.read_ahead import read_ahead
from pyshard.storage.store_index import StoredRecord, StoreIndex, cost, growth


def no_such_index(index: int) -> IndexNotFound:
    """The error for an id that no index has, or has any more."""
    return IndexNotFound(f"the index with id {index} has been dropped")


class BatchExecutor:
    """Applies the tasks of one batch, in order.

    :param index_of: gives the index of an id, or None.
    :param used: bytes in use before the batch.
    :param limit: bytes that may be in use.
    :param room: bytes of records that the answers may still have.
    :param now: milliseconds since 1970.
    :param next_versions: gives rising versions for so many writes.
    :param owned: the slots whose keys the store has; operations on others are refused.
    :param looks: what the store may look at; None: to look costs it nothing.
    """

    def __init__(
        self,
        index_of: Callable[[int], StoreIndex | None],
        used: int,
        limit: int,
        room: int,
        now: int,
        next_versions: Callable[[int], range],
        owned: SlotRanges = EVERYTHING,
        looks: LookBudget | None = None,
    ) -> None:
        self._index_of = index_of
        self._owned = owned
        self._free_bytes = limit - used
        self._limit = limit
        self._room = room
        self._work = settings.BATCH_WORK
        self._one_by_one = settings.BATCH_ONE_BY_ONE
        self._now = now
        self._next_versions = next_versions
        self._looks = looks or _FREE

    @property
    def room(self) -> int:
        """Bytes of records that the answers still have room for; below 0 if the last record crossed the limit."""
        return self._room

    def answer(self, task: Task) -> Answer:
        """Apply one task."""
        run, slots, owned = task.run, task.slots, self._owned
        if task.checked is not owned and owned != EVERYTHING and task.checked != owned and not holds_all(owned, slots):
            return self._answer_owned(task)
        index = self._index_of(task.index)
        if index is None or self._has_had_its_share():
            error: PyshardError = no_such_index(task.index) if index is None else _ANSWER_FULL
            return Answer.refusing(len(run.keys), error)
        answer = Answer([], {})
        if isinstance(run, Has):
            answer.results = index.has(run.keys, slots, self._now)
            _refuse_rest(answer, len(run.keys))
        elif isinstance(run, Read):
            answer.results = index.read(run.keys, slots, self._now, self._room)
            self._cut_to_room(answer, len(run.keys))
        elif isinstance(run, Write) and run.conditions is None and run.ttls is None and self._surely_fits(run):
            self._write(answer, index, run, slots)
        else:
            self._apply_each(answer, index, task)
        return answer

    def _write(self, answer: Answer, index: StoreIndex, run: Write, slots: Sequence[int]) -> None:
        """Apply writes to whatever is there, in columns."""
        keys, records = run.keys, run.records
        versions: Sequence[int] = self._next_versions(len(keys))
        if len(set(keys)) < len(keys):  # only the last record of each key stays
            pick = picker(list({key: position for position, key in enumerate(keys)}.values()))
            keys, slots, records, versions = pick(keys), pick(slots), pick(records), pick(versions)
        done = 0
        for some in self._looks.parts(len(keys)):
            if not done and some.stop >= len(keys):
                # All of them: nothing is copied, and no slot is worked out that nobody needs.
                self._free_bytes -= index.write(keys, slots, records, versions)
            else:
                self._free_bytes -= index.write(keys[some], slots[some], records[some], versions[some])
            done = min(some.stop, len(keys))
        if done == len(keys):
            answer.results = [True] * len(run.keys)
            return
        written = set(keys[:done])
        for position, key in enumerate(run.keys):
            answer.results.append(True if key in written else None)
            if key not in written:
                answer.refuse(position, _ANSWER_FULL)

    def _answer_owned(self, task: Task) -> Answer:
        """Apply those operations of a task whose slots the store owns, and refuse the others."""
        slots = task.slots
        positions = positions_in(slots, self._owned)
        elsewhere = next(slot for slot in slots if not in_ranges(slot, self._owned))
        owned = Task(part(task.run, positions), task.index, [slots[at] for at in positions], self._owned)
        applied = self.answer(owned) if positions else Answer([], {})
        error = WrongShard(f"this shard doesn't own {slot_to_hash(elsewhere)} any more; get the newest map")
        return applied.among(len(slots), positions, error)

    def _has_had_its_share(self) -> bool:
        return self._room <= 0 or self._work <= 0 or self._one_by_one <= 0 or self._looks.left <= 0

    def _surely_fits(self, run: Write) -> bool:
        """Whether all records of a run fit under the limit, even if they replace none."""
        most = total_size(run.keys) + total_size(run.records) + len(run.keys) * settings.ITEM_OVERHEAD
        return most <= self._free_bytes

    def _cut_to_room(self, answer: Answer, keys: int) -> None:
        """Keep the records that fit into the answer, and refuse the keys behind them."""
        records = answer.results
        total = total_size(records)  # type: ignore[arg-type]  # `StoreIndex.read` gives no bool
        if total < self._room:
            self._room -= total
            _refuse_rest(answer, keys)
            return
        records += [None] * (keys - len(records))
        for position, record in enumerate(records):
            if self._room <= 0:
                records[position] = None
                answer.refuse(position, _ANSWER_FULL)
            elif isinstance(record, bytes):
                self._room -= len(record)

    def _apply_each(self, answer: Answer, index: StoreIndex, task: Task) -> None:
        """Apply the operations of a task one by one."""
        run, results, now, find = task.run, answer.results, self._now, index.find
        each = 1 + (getattr(run, "ttls", None) is not None) + isinstance(run, Increment)
        for position, (key, slot) in enumerate(zip(run.keys, task.slots, strict=True)):
            if position % FIRST == 0:
                self._looks.look()
            if self._has_had_its_share():
                results.append(None)
                answer.refuse(position, _ANSWER_FULL)  # all the rest, for none may overtake one that is asked for again
                continue
            self._one_by_one -= each
            try:
                old = find(key, slot)
                live = old if old is not None and not 0 < old.expires <= now else None
                result: Result
                if isinstance(run, Write):
                    result = _is_met(run.conditions, position, live)
                    if result:
                        kept = run.ttls is not None and run.ttls[position] == KEEP and live is not None
                        expires = live.expires if live and kept else self._expiry(run.ttls, position)
                        stored = StoredRecord(self._next_versions(1)[0], expires, run.records[position])
                        self._put(index, key, slot, stored, old)
                elif isinstance(run, _REMOVING):
                    result = (
                        self._delete(index, key, slot, live, whole=isinstance(run, Pop))
                        if _is_met(run.conditions, position, live)
                        else None
                    )
                elif isinstance(run, ReadItem):
                    result = None if live is None else self._item(live)  # counts against the room
                elif isinstance(run, Touch):
                    result = live is not None and _is_met(run.conditions, position, live)
                    if live is not None and result:
                        self._work -= len(live.record)
                        read_ahead(live.record)
                        touched = StoredRecord(live.version, self._expiry(run.ttls, position), live.record)
                        self._put(index, key, slot, touched, live)
                else:
                    assert isinstance(run, Increment)
                    amount, initial = run.amounts[position], run.initials[position]
                    found = live.record if live else None
                    self._work -= work_of_sum(initial if found is None else found, amount)
                    result = sum_of(key, found, amount, initial)
                    expires = live.expires if live else self._expiry(run.ttls, position)
                    self._put(index, key, slot, StoredRecord(self._next_versions(1)[0], expires, result), old)
            except PyshardError as error:
                results.append(None)
                answer.refuse(position, error)
            else:
                results.append(result)
                if isinstance(result, bytes):
                    self._room -= len(result)

    def _put(self, index: StoreIndex, key: bytes, slot: int, new: StoredRecord, old: StoredRecord | None) -> None:
        grows = growth(key, new, old)
        if grows > self._free_bytes and grows > 0:
            raise ShardFull(
                f"the shard holds {self._limit - self._free_bytes:,} of {self._limit:,} bytes and this write needs "
                f"{grows:,} more; remove documents or raise the shard's size"
            )
        self._free_bytes -= grows
        index.put(key, slot, new, old, grows)

    def _delete(self, index: StoreIndex, key: bytes, slot: int, live: StoredRecord | None, whole: bool) -> bytes | None:
        """Remove a record.

        :param whole: whether the result is the record with its version, or only the record's head.
        """
        if live is None:
            return None
        size = cost(key, live)
        index.delete(key, slot, live, size)
        self._free_bytes += size
        if not whole:
            return bytes(live.record[:HEAD_BYTES])
        read_ahead(live.record)
        return VERSION.pack(live.version) + live.record

    def _item(self, live: StoredRecord) -> bytes:
        read_ahead(live.record)
        remaining = live.expires - self._now if live.expires else 0
        return ITEM.pack(live.version, live.expires, remaining) + live.record

    def _expiry(self, ttls: Sequence[int] | None, position: int) -> int:
        return self._now + ttls[position] if ttls is not None and ttls[position] > 0 else 0


def _is_met(conditions: Sequence[int] | None, position: int, live: StoredRecord | None) -> bool:
    """Whether the record that is there, or none, meets the condition of an operation."""
    condition = ALWAYS if conditions is None else conditions[position]
    if condition == ALWAYS:
        return True
    if condition == ABSENT:
        return live is None
    return live is not None and condition in (PRESENT, live.version)


def _refuse_rest(answer: Answer, keys: int) -> None:
    """Refuse the keys behind those that the answer has results for."""
    results = answer.results
    if len(results) < keys:
        answer.errors.update(dict.fromkeys(range(len(results), keys), (_ANSWER_FULL.code, str(_ANSWER_FULL))))
        results += [None] * (keys - len(results))


_FREE = LookBudget()  # of which nothing is ever taken
_REMOVING = (Pop, Remove)  # a union would be made anew for each key

#: Never raised: an exception that is raised again keeps the frames of each time, and all that they had.
_ANSWER_FULL = AnswerFull("the answer is full and this operation was not applied; ask for it again")
