"""A batch on its way to a shard's store: which of its operations go there, and where their outcomes belong. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from typing import NamedTuple

from pyshard.errors import IndexNotFound, PyshardError
from pyshard.model.key_slots import LazySlots
from pyshard.model.slot_ranges import SlotRanges, holds_all, positions_in
from pyshard.protocol.batch_answers import Answer, Result
from pyshard.protocol.batch_operations import Read, Run, copies, gives, part
from pyshard.settings import settings
from pyshard.shard.assignment import Assignment, not_owned
from pyshard.storage import IStore, Task


class _Refusal(NamedTuple):
    """What doesn't go to the store of a run. It waits as long as the rest of the batch does, so it is small.

    :param operations: how many the run has.
    :param error: code and message for those that don't go there.
    :param positions: those that do, in order.
    """

    operations: int
    error: tuple[str, str]
    positions: Sequence[int]

    def merge(self, applied: Answer | None) -> Answer:
        """The answer to the whole run, given that to the operations that went to the store; None: none went."""
        errors = dict.fromkeys(range(self.operations), self.error)
        results: list[Result] = [None] * self.operations
        if applied is not None:
            for place, position in enumerate(self.positions):
                results[position] = applied.results[place]
                del errors[position]
            errors |= {self.positions[place]: error for place, error in applied.errors.items()}
        return Answer(results, errors)


class BatchPlan:
    """A batch on its way to the store: which operations go there, and where their outcomes belong.

    The operations on slots that the shard serves are the tasks; the others are refused.

    :param served: these slots.
    :ivar tasks: what goes to the store.
    :ivar refuses: whether anything doesn't go there, so that the store's answers aren't those to the batch.
    """

    def __init__(self, assignment: Assignment, store: IStore, runs: Sequence[Run], served: SlotRanges) -> None:
        self.assignment = assignment
        self._owned, whole = served, served is store.ranges.owned
        self.tasks: list[Task] = []
        self.refuses = False
        self._runs: list[_Refusal | None] = []  # for each run; None: all of it goes to the store
        for run in runs:
            slots = LazySlots(run.keys, run.index.encode())
            try:
                number = assignment.state.index_id(run.index)
            except IndexNotFound as error:
                self._refuse(len(run.keys), error, ())
                continue
            if (whole and store.surely_has_all(number, run.keys)) or holds_all(self._owned, slots):
                self.tasks.append(Task(run, number, slots, self._owned))
                self._runs.append(None)
            else:
                self._add_owned(run, number, slots)

    def _add_owned(self, run: Run, number: int, slots: Sequence[int]) -> None:
        positions = array("H", positions_in(slots, self._owned))  # they are below `MAX_BATCH`
        if positions:
            own_slots = [slots[position] for position in positions]
            self.tasks.append(Task(part(run, positions), number, own_slots, self._owned))
        elsewhere = next(place for place, position in enumerate([*positions, -1]) if place != position)
        self._refuse(len(run.keys), not_owned(self.assignment, slots[elsewhere]), positions)

    def _refuse(self, operations: int, error: PyshardError, positions: Sequence[int]) -> None:
        self._runs.append(_Refusal(operations, (error.code, str(error)), positions))
        self.refuses = True

    def merge(self, applied: list[Answer]) -> list[Answer]:
        """The answers to the whole batch, given the store's answers to the tasks."""
        from_store = iter(applied)
        return [
            next(from_store) if planned is None else planned.merge(next(from_store) if planned.positions else None)
            for planned in self._runs
        ]


def have_any_of(assignment: Assignment, runs: Sequence[Run], slots: SlotRanges) -> bool:
    """Whether runs have keys in some slots; those of unknown indexes have none."""
    known = (run for run in runs if not run.index or run.index in assignment.state.indexes)
    return bool(slots) and any(positions_in(LazySlots(run.keys, run.index.encode()), slots) for run in known)


def read_at_hand(assignment: Assignment, store: IStore, run: Read) -> list[Result] | None:
    """The results of a read that needs no look at slots, nor at the disk; see `IStore.read_at_hand`."""
    try:
        number = assignment.state.index_id(run.index)
    except IndexNotFound:
        return None
    return store.read_at_hand(number, run.keys, settings.ANSWER_BYTES)


def bytes_given(assignment: Assignment, store: IStore, runs: Sequence[Run]) -> int:
    """About how many bytes the answers to a batch that changes something will have; see `IStore.will_give`."""
    giving = list(filter(gives, runs))
    return store.will_give(_tasks(assignment, giving)) if giving else 0


def bytes_copied(assignment: Assignment, store: IStore, runs: Sequence[Run]) -> int:
    """About how many bytes of records a batch writes beside what it brings; see `IStore.will_copy`."""
    copying = list(filter(copies, runs))
    return store.will_copy(_tasks(assignment, copying)) if copying else 0


def _tasks(assignment: Assignment, runs: Sequence[Run]) -> list[Task]:
    """The tasks of runs, but for those of unknown indexes."""
    state = assignment.state
    known = [run for run in runs if not run.index or run.index in state.indexes]
    return [Task(run, state.index_id(run.index), LazySlots(run.keys, run.index.encode())) for run in known]
