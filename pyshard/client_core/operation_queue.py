"""The queue in which operations wait for one shard, and the batches in which they leave.

Rules, from which the client's promises follow:

- Operations leave in the order in which they were issued. Single ones travel together; a bulk operation travels alone.
- Batches that are in flight together are concurrent for the shard. So no two of them have a key in common, unless both
  only read it.
- A batch never reads a key and then changes it. If the read had to be sent again, it would see the change that was
  issued after it.
- Hence operations on one key take effect in the order issued. (Two reads with no change between them have no order.)
- While the first operation waits for a key that is in flight, all behind it wait, too.
- An operation that must go out again goes to the front. It overtakes none on its key, and none overtakes it.
- An operation that nobody wants any more isn't sent, and neither is a bulk read for which there is no room left.
- What waits is bounded (`Overloaded`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import chain, islice, repeat
from operator import attrgetter
from typing import TypeAlias

from pyshard.client_core.bulk_operation import BulkOperation
from pyshard.client_core.operation import Operation
from pyshard.client_core.runs_of_operations import outcomes_of_runs, runs_of
from pyshard.errors import Overloaded
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run, changes
from pyshard.settings import settings

#: How many operations are looked at first. A long queue on one key goes out by few operations at a time, and must not
#: be looked at as a whole for each of them.
_FIRST = 8

_WITHDRAWN = attrgetter("withdrawn")

#: What waits for a shard.
Entry: TypeAlias = Operation | BulkOperation

#: What names a key within a shard: its text, and in a named index the index's name with it.
Place: TypeAlias = bytes | tuple[str, bytes]


class Batch:
    """What travels together: single operations, or one bulk operation.

    :param entries: the operations, or the bulk operation alone.
    :param sent: when it left, in the clock's seconds.
    :ivar bulk_operation: the bulk operation, if it has one.
    :ivar operations: the single operations, if it has such.
    :ivar runs: the operations as runs: neighbors of one verb and index together.
    """

    __slots__ = ("_changed", "_read", "bulk_operation", "entries", "operations", "runs", "sent")

    def __init__(self, entries: Sequence[Entry], sent: float) -> None:
        self.entries = entries
        self.sent = sent
        self.bulk_operation: BulkOperation | None = None
        self.operations: Sequence[Operation] = ()
        first = entries[0]
        if isinstance(first, BulkOperation):
            self.bulk_operation, self.runs = first, [first.run]
        else:
            self.operations = entries  # type: ignore[assignment]  # where there is a bulk operation, it is alone
            self.runs = runs_of(self.operations)
        self._changed: set[Place] | None = None
        self._read: set[Place] | None = None

    @property
    def changed(self) -> set[Place]:
        """What it may change; found out when it matters, which it doesn't while nothing else is in flight."""
        if self._changed is None:
            self._changed = _places([run for run in self.runs if changes(run)])
        return self._changed

    @property
    def read(self) -> set[Place]:
        """What it only reads; found out when it matters, which it doesn't as long as nothing is changed."""
        if self._read is None:
            self._read = _places([run for run in self.runs if not changes(run)])
        return self._read

    @property
    def consistent(self) -> bool:
        """Whether it changes nothing that it reads."""
        return len(self.runs) == 1 or not self.changed or self.read.isdisjoint(self.changed)

    def clear_of(self, other: Batch) -> bool:
        """Whether both may be in flight at the same time."""
        mine, others = self.changed, other.changed
        return (
            mine.isdisjoint(others)
            and (not mine or mine.isdisjoint(other.read))
            and (not others or others.isdisjoint(self.read))
        )

    def outcomes(self, answers: Sequence[Answer]) -> list[object]:
        """What the caller of each single operation is given, or the error by which it failed."""
        return outcomes_of_runs(self.runs, self.operations, answers)


def _places(runs: Sequence[Run]) -> set[Place]:
    """The keys of runs, each as what names it within a shard."""
    places: set[Place] = set()
    for run in runs:
        places.update(zip(repeat(run.index), run.keys) if run.index else run.keys)
    return places


class OperationQueue:
    """Operations for one shard: waiting, and in flight.

    :param limit: batches in flight at the same time.
    :ivar waiting: what waits, in order; only the queue changes it.
    :ivar in_flight: the batches that are.
    """

    def __init__(self, limit: int = settings.BOXES_IN_FLIGHT) -> None:
        self._limit = limit
        self._count = 0  # operations that wait
        self._weight = 0
        self.waiting: deque[Entry] = deque()
        self.in_flight: list[Batch] = []

    def __len__(self) -> int:
        """How many operations wait."""
        return self._count

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is in flight."""
        return not self.waiting and not self.in_flight

    def add(self, entry: Entry) -> None:
        """Have an operation, or a bulk operation, wait for its turn.

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
        """Put what was in flight back to the front, in the order given."""
        again = [entry for entry in entries if not entry.done]
        if not again:
            return
        self.waiting.extendleft(reversed(again))
        self._count += sum(entry.count for entry in again)
        self._weight += sum(entry.weight for entry in again)

    def next_batch(self, now: float) -> Batch | None:
        """The next operations to send, now in flight; None when nothing can go now."""
        if not self.waiting or len(self.in_flight) >= self._limit:
            return None
        candidates = self._wanted_candidates(_FIRST)
        if len(candidates) == _FIRST < len(self.waiting):
            may_go = _FIRST if self._clear(Batch(candidates, now)) else self._how_many_may_go(candidates)
            candidates = candidates[:may_go] if may_go < _FIRST else self._wanted_candidates(settings.BOX_OPERATIONS)
        if not candidates:
            return None
        batch = Batch(candidates, now)
        if not self._clear(batch):
            may_go = self._how_many_may_go(candidates)
            if not may_go:
                return None
            batch = Batch(candidates[:may_go], now)
        self._leave(batch.entries)
        self.in_flight.append(batch)
        return batch

    def finished(self, batch: Batch) -> bool:
        """Remove a batch from those in flight.

        :return: whether it was one of them.
        """
        try:
            self.in_flight.remove(batch)
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
        """What is past its deadline: of those that wait, which the queue forgets, and of those in flight."""
        waiting = [entry for entry in self.waiting if entry.expires <= now]
        if waiting:
            self.waiting = deque(entry for entry in self.waiting if entry.expires > now)
            self._count -= sum(entry.count for entry in waiting)
            self._weight -= sum(entry.weight for entry in waiting)
        in_flight = [
            entry for batch in self.in_flight for entry in batch.entries if not entry.done and entry.expires <= now
        ]
        return waiting, in_flight

    def unanswered(self, now: float) -> bool:
        """Whether a batch has been without an answer for so long that the connection must be dead."""
        return any(batch.sent + settings.DEADLINE <= now for batch in self.in_flight)

    def next_deadline(self, now: float) -> float | None:
        """When to look again: the earliest deadline, or the time from which a batch counts as unanswered.

        :return: in the clock's seconds; None when there is nothing to wait for.
        """
        in_flight = (entry for batch in self.in_flight for entry in batch.entries)
        deadlines = [entry.expires for entry in chain(self.waiting, in_flight) if not entry.done]
        answers_due = [batch.sent + settings.DEADLINE for batch in self.in_flight]
        return min([*deadlines, *(due for due in answers_due if due > now)], default=None)

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

    def _forget_withdrawn(self) -> None:
        """Let nothing wait that nobody wants any more. Who has a bulk read is told so at the end, and may add more."""
        waiting = self.take_waiting()
        wanted = [entry for entry in waiting if not entry.withdrawn]
        self.waiting.extend(wanted)
        self._count = sum(entry.count for entry in wanted)
        self._weight = sum(entry.weight for entry in wanted)
        for entry in waiting:
            if isinstance(entry, BulkOperation) and entry.withdrawn:
                entry.leave_unread()

    def _wanted_candidates(self, most: int) -> list[Entry]:
        """As `_candidates`, with none among them that nobody wants any more."""
        candidates = self._candidates(most)
        if any(map(_WITHDRAWN, candidates)):
            self._forget_withdrawn()
            candidates = self._candidates(most) if len(self.in_flight) < self._limit else []
        return candidates

    def _candidates(self, most: int) -> list[Entry]:
        """What would go next if no key stood in its way: operations that a batch takes, or one bulk operation.

        :param most: how many operations are looked at.
        """
        if not self.waiting:  # nobody wanted any of it
            return []
        first = self.waiting[0]
        if isinstance(first, BulkOperation) or len(self.waiting) == 1:
            return [first]
        fit = self._count <= min(most, settings.BOX_OPERATIONS) and self._weight <= settings.BOX_BYTES
        if fit and BulkOperation not in map(type, self.waiting):  # as is mostly so
            return list(self.waiting)
        taken: list[Entry] = []
        weight = 0
        for entry in islice(self.waiting, min(most, settings.BOX_OPERATIONS)):
            weight += entry.weight
            if isinstance(entry, BulkOperation) or (taken and weight > settings.BOX_BYTES):
                break
            taken.append(entry)
        return taken

    def _clear(self, batch: Batch) -> bool:
        """Whether no key stands in the way of any of a batch's operations, as is mostly so."""
        return batch.consistent and all(map(batch.clear_of, self.in_flight))

    def _how_many_may_go(self, candidates: list[Entry]) -> int:
        """How many of the candidates may go, from the first on, until a key stands in the way of one."""
        changed = set().union(*(batch.changed for batch in self.in_flight))
        touched = changed.union(*(batch.read for batch in self.in_flight))
        read: set[Place] = set()
        for number, entry in enumerate(candidates):
            if isinstance(entry, BulkOperation):
                return 0
            place: Place = (entry.index, entry.key) if entry.index else entry.key
            if entry.changes:
                if place in touched or place in read:
                    return number
            elif place in changed:
                return number
            else:
                read.add(place)
        return len(candidates)
