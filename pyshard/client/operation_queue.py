"""The queue in which operations wait for a shard, and the boxes in which they leave.

Rules the queue keeps, from which the client's promises follow:

- operations leave in the order in which they were issued;
- boxes in flight at the same time are concurrent for the shard, so no two of them hold the same key unless both
  only read it; nor does a box change a key after reading it, for the read may have to go out again when the change
  has happened and the answers were lost; hence operations on one key take effect in the order issued (two reads with
  no change between them have none), and one that must go out again (redirected, or a read whose connection broke)
  goes to the front without overtaking or being overtaken;
- single operations are gathered into boxes; a chunk of a bulk verb is a box of its own;
- what waits is bounded (`Overloaded`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import groupby, islice, repeat
from operator import attrgetter
from typing import TypeAlias

from pyshard.client.bulk_part import Chunk
from pyshard.client.operation import NO_OPTIONS, Operation
from pyshard.client.results import outcomes_of
from pyshard.errors import Overloaded
from pyshard.protocol.answers import Answer
from pyshard.protocol.batches import ALWAYS, Has, Increment, Pop, Read, ReadItem, Remove, Run, Touch, Write, changes
from pyshard.settings import settings

#: What waits for a shard.
Entry: TypeAlias = Operation | Chunk

#: What names a key within a shard: its text, and in a named index the index's name with it.
Place: TypeAlias = bytes | tuple[str, bytes]


class Box:
    """What travels together: single operations, or one chunk.

    :param entries: the operations; or the chunk, alone.
    :param sent: when it left, in the clock's seconds.
    :ivar chunk: the chunk, if it is one.
    :ivar operations: the single operations, if it has such.
    :ivar runs: the operations as runs: neighbors of one verb and index together.
    :ivar changed: what it may change.
    """

    __slots__ = ("_read", "changed", "chunk", "entries", "operations", "runs", "sent")

    def __init__(self, entries: Sequence[Entry], sent: float) -> None:
        self.entries = entries
        self.sent = sent
        self.chunk: Chunk | None = None
        self.operations: Sequence[Operation] = ()
        first = entries[0]
        if isinstance(first, Chunk):
            self.chunk, self.runs = first, [first.run]
        else:
            self.operations = entries  # type: ignore[assignment]  # where there is a chunk, it is alone
            self.runs = _runs(self.operations)
        self.changed = _places([run for run in self.runs if changes(run)])
        self._read: set[Place] | None = None

    @property
    def read(self) -> set[Place]:
        """What it only reads; nobody asks as long as nothing is changed."""
        if self._read is None:
            self._read = _places([run for run in self.runs if not changes(run)])
        return self._read

    @property
    def consistent(self) -> bool:
        """Whether it changes nothing that it reads."""
        return not self.changed or self.read.isdisjoint(self.changed)

    def clear_of(self, other: Box) -> bool:
        """Whether both may be in flight at the same time."""
        mine, others = self.changed, other.changed
        return (
            mine.isdisjoint(others)
            and (not mine or mine.isdisjoint(other.read))
            and (not others or others.isdisjoint(self.read))
        )

    def outcomes(self, answers: Sequence[Answer]) -> list[object]:
        """What the caller of each single operation is given, or the error by which it failed."""
        if len(self.runs) == 1:  # as is mostly so
            return _outcomes(self.runs[0], self.operations, answers[0])
        found: list[object] = []
        for run, answer in zip(self.runs, answers, strict=True):
            found += _outcomes(run, self.operations[len(found) : len(found) + len(run.keys)], answer)
        return found


def _outcomes(run: Run, operations: Sequence[Operation], answer: Answer) -> list[object]:
    """What the caller of each of a run's operations is given."""
    slots = [one.slot for one in operations]
    sizes = [one.size for one in operations] if isinstance(run, Write) else ()
    outcomes = outcomes_of(run, slots, sizes, answer.results)
    if answer.errors:
        for position, error in answer.refusals().items():
            outcomes[position] = error
    return outcomes


def _places(runs: Sequence[Run]) -> set[Place]:
    """The keys of runs, each as what names it within a shard."""
    places: set[Place] = set()
    for run in runs:
        places.update(zip(repeat(run.index), run.keys) if run.index else run.keys)
    return places


def _runs(operations: Sequence[Operation]) -> list[Run]:
    if len(operations) == 1:
        return [_run(operations[0].verb, operations[0].index, operations)]
    return [_run(verb, index, list(neighbors)) for (verb, index), neighbors in groupby(operations, _KIND)]


def _run(verb: str, index: str, operations: Sequence[Operation]) -> Run:
    """Operations of one verb on one index as a run."""
    keys = [one.key for one in operations]
    if verb in _READING:
        return _READING[verb](index, keys)
    options = [one.options for one in operations]
    if verb == "write" and options.count(NO_OPTIONS) == len(options):  # as is mostly so
        return Write(index, keys, [one.record for one in operations])
    ttls = [one.ttl for one in options]
    conditions: list[int] | None = [one.condition for one in options]
    if all(condition == ALWAYS for condition in conditions or ()):
        conditions = None
    if verb == "write":
        return Write(index, keys, [one.record for one in operations], conditions, ttls if any(ttls) else None)
    if verb == "touch":
        return Touch(index, keys, ttls)
    if verb == "increment":
        return Increment(index, keys, [one.record for one in operations], [one.initial for one in options])
    return Pop(index, keys, conditions) if verb == "pop" else Remove(index, keys, conditions)


_KIND = attrgetter("verb", "index")
_READING: dict[str, type[Read | Has | ReadItem]] = {"read": Read, "has": Has, "item": ReadItem}


class OperationQueue:
    """Operations for one shard: waiting, and in flight.

    :param limit: boxes in flight at the same time.
    :ivar waiting: what waits, in order; only the queue changes it.
    :ivar in_flight: the boxes that are.
    """

    def __init__(self, limit: int = settings.BOXES_IN_FLIGHT) -> None:
        self._limit = limit
        self._count = 0  # operations that wait
        self._weight = 0
        self.waiting: deque[Entry] = deque()
        self.in_flight: list[Box] = []

    def __len__(self) -> int:
        """How many operations wait."""
        return self._count

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self.waiting and not self.in_flight

    def add(self, entry: Entry) -> None:
        """Have an operation, or a chunk of them, wait for its turn.

        :raises Overloaded: too much waits already.
        """
        if self._count >= settings.MAX_WAITING or self._weight >= settings.MAX_WAITING_BYTES:
            raise Overloaded(
                f"{self._count:,} operations with {self._weight:,} bytes wait for this shard already; "
                "wait for answers before you issue more"
            )
        self.waiting.append(entry)
        self._count += entry.count
        self._weight += entry.weight

    def put_back(self, entries: Iterable[Entry]) -> None:
        """Have what was in flight go out again, before all others, in the order given."""
        again = [one for one in entries if not one.done]
        if not again:
            return
        self.waiting.extendleft(reversed(again))
        self._count += sum(one.count for one in again)
        self._weight += sum(one.weight for one in again)

    def next_box(self, now: float) -> Box | None:
        """The next operations to send, now in flight; None when nothing can go now."""
        if not self.waiting or len(self.in_flight) >= self._limit:
            return None
        candidates = self._candidates()
        box = Box(candidates, now)
        if not self._clear(box):
            may_go = self._how_many_may_go(candidates)
            if not may_go:
                return None
            box = Box(candidates[:may_go], now)
        self._leave(box.entries)
        self.in_flight.append(box)
        return box

    def landed(self, box: Box) -> bool:
        """Have a box no longer in flight; whether it was until now."""
        try:
            self.in_flight.remove(box)
        except ValueError:
            return False
        return True

    def take_waiting(self) -> list[Entry]:
        """Everything that waits, in order; the queue forgets it."""
        taken = list(self.waiting)
        self.waiting.clear()
        self._count = self._weight = 0
        return taken

    def expired(self, now: float) -> tuple[list[Entry], list[Entry]]:
        """What is past its deadline: of what waits, which the queue forgets, and of what is in flight."""
        waiting = [one for one in self.waiting if one.expires <= now]
        if waiting:
            self.waiting = deque(one for one in self.waiting if one.expires > now)
            self._count -= sum(one.count for one in waiting)
            self._weight -= sum(one.weight for one in waiting)
        flying = [one for box in self.in_flight for one in box.entries if not one.done and one.expires <= now]
        return waiting, flying

    def next_deadline(self) -> float | None:
        """The earliest deadline of all operations; None when there are none."""
        flying = (one for box in self.in_flight for one in box.entries)
        return min((one.expires for group in (self.waiting, flying) for one in group if not one.done), default=None)

    def _leave(self, entries: Sequence[Entry]) -> None:
        """What is first in the queue doesn't wait any more."""
        if len(entries) == len(self.waiting):
            self.waiting.clear()
            self._count = self._weight = 0
            return
        for entry in entries:
            self.waiting.popleft()
            self._count -= entry.count
            self._weight -= entry.weight

    def _candidates(self) -> list[Entry]:
        """What would go next if no key stood in its way: as many operations as a box takes, or one chunk."""
        first = self.waiting[0]
        if isinstance(first, Chunk) or len(self.waiting) == 1:
            return [first]
        fits = self._count <= settings.BOX_OPERATIONS and self._weight <= settings.BOX_BYTES
        if fits and Chunk not in map(type, self.waiting):
            return list(self.waiting)
        taken: list[Entry] = []
        weight = 0
        for one in islice(self.waiting, settings.BOX_OPERATIONS):
            weight += one.weight
            if isinstance(one, Chunk) or (taken and weight > settings.BOX_BYTES):
                break
            taken.append(one)
        return taken

    def _clear(self, box: Box) -> bool:
        """Whether no key stands in the way of any of a box's operations, as is mostly so."""
        if not self.in_flight and len(box.runs) == 1:
            return True
        return box.consistent and all(map(box.clear_of, self.in_flight))

    def _how_many_may_go(self, candidates: list[Entry]) -> int:
        """How many of the candidates may go, from the first on, until a key stands in the way of one."""
        changed = set().union(*(box.changed for box in self.in_flight))
        touched = changed.union(*(box.read for box in self.in_flight))
        read: set[Place] = set()
        for number, one in enumerate(candidates):
            if isinstance(one, Chunk):
                return 0
            place: Place = (one.index, one.key) if one.index else one.key
            if one.changes:
                if place in touched or place in read:
                    return number
            elif place in changed:
                return number
            else:
                read.add(place)
        return len(candidates)
