"""A shard's behavior without a network: owns ranges, checks epochs, and applies batches to its store.

Rules:

- Until it is configured, or its store remembers that it was, it answers nothing but `stat` (`NotConfigured`).
- An epoch is the number of a state of the cluster, with its map; steps count states within an epoch. The shard keeps
  the newest state that it was given, and its store remembers it over a restart. Which one it refuses, says
  `pyshard.shard.assignment`. Then nothing changes.
- What it is to own no more, it doesn't serve from then on. What comes, it serves once its store owns it.
- It refuses callers that know a newer epoch (`ShardBehind`), since in that epoch its ranges may be different.
- A key outside the ranges that it serves is a redirect (`WrongShard`) for that operation alone. Its store knows the
  ranges, too, and refuses what waited there while they changed.
- A shard may own none: it is configured as any other, and answers.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Sequence
from typing import NamedTuple

import attrs
import msgspec
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import Logger

from pyshard.compiled import IN_USE
from pyshard.errors import (
    BadRequest,
    IndexNotFound,
    NotConfigured,
    PyshardError,
    ShardBehind,
)
from pyshard.message_texts import plain
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, LazySlots, slot_to_hash
from pyshard.model.slot_ranges import SlotRanges, common, holds_all, positions_in, range_with
from pyshard.protocol.batch_answers import Answer, Result
from pyshard.protocol.batch_encoding import check_size
from pyshard.protocol.batch_operations import Read, Run, count_of, gives, part
from pyshard.settings import settings
from pyshard.shard.assignment import Assignment, accept, not_owned, remembered_assignment
from pyshard.storage import ITSELF, IStore, Page, PageBounds, Sender, Task

_log = Logger()

_COUNTED = 500  # records that are counted together before a range is given up


class Shard:
    """One shard's behavior.

    :param store: where its records are; what the store remembers is taken up.
    :param seconds: the clock, in seconds, for the uptime.
    :raises ConfigError: what the store remembers is of another version.
    :ivar pause: waits while others are served, between steps of what takes long.
    :ivar on_assignment: called when there is another assignment, and again when the store goes by it.
    """

    def __init__(self, store: IStore, seconds: Callable[[], float]) -> None:
        self._store = store
        self._seconds = seconds
        self._started = seconds()
        self.operations = 0
        self.assignment: Assignment | None = None
        self._configuring = DeferredLock()
        remembered = store.recall()
        if remembered is not None:
            self.assignment = remembered_assignment(remembered)
        self._taken_on = self.assignment  # what the store goes by, too
        self.pause: Callable[[], Deferred[None]] = lambda: succeed(None)
        self.on_assignment: Callable[[], None] = lambda: None

    @property
    def remembers(self) -> bool:
        """Whether the store goes by the assignment, and has it after a restart."""
        return self.assignment is self._taken_on

    @property
    def store(self) -> IStore:
        """The store it was made with."""
        return self._store

    def configured(self) -> Assignment:
        """The assignment.

        :raises NotConfigured: there is none yet.
        """
        if self.assignment is None:
            raise NotConfigured(
                "this shard is not configured yet; start the bootstrap that has its address in its config file "
                "(twistd pyshard-bootstrap --config etc/shards.json)"
            )
        return self.assignment

    def taken_on(self) -> Assignment:
        """The assignment, if its ranges are those that the store owns.

        :raises NotConfigured: there is none yet.
        :raises ShardBehind: the store owns other ranges for some milliseconds more.
        """
        assignment = self.configured()
        if self._store.ranges.owned != assignment.ranges:
            raise ShardBehind(f"shard {assignment.name!r} is taking on other ranges; ask again soon")
        return assignment

    def configure(self, name: str, state: ClusterState) -> Deferred[None]:
        """Take on an assignment, when those before it have been; see `accept` for what is refused."""
        configured: Deferred[None] = self._configuring.run(lambda: Deferred.fromCoroutine(self._configure(name, state)))
        return configured

    def apply(self, epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        """Apply a batch.

        :param epoch: of the map that the caller routed by.
        :param sender: whose it is.
        :return: a Deferred of one answer for each run.
        :raises NotConfigured, ShardBehind, BadRequest: nothing was applied.
        """
        assignment = self._current(epoch)
        operations = count_of(runs)
        if operations > settings.MAX_BATCH:
            check_size(operations)
        if len(runs) == 1 and isinstance(run := runs[0], Read) and epoch >= assignment.newest_move:
            at_hand = self._at_hand(assignment, run)
            if at_hand is not None:
                self.operations += operations
                return succeed([Answer(at_hand, {})])
        plan = _Plan(assignment, self._store, runs, self._served_to(assignment, epoch))
        self.operations += operations
        applied = self._store.apply(plan.tasks, assignment.own.limit, settings.ANSWER_BYTES, sender)
        return applied.addCallback(plan.merge) if plan.refuses else applied

    def _at_hand(self, assignment: Assignment, run: Read) -> list[Result] | None:
        """The results of a read that needs no look at slots, nor at the disk; see `IStore.read_at_hand`."""
        try:
            number = assignment.state.index_id(run.index)
        except IndexNotFound:
            return None
        return self._store.read_at_hand(number, run.keys, settings.ANSWER_BYTES)

    def will_give(self, runs: Sequence[Run]) -> int:
        """About how many bytes the answers to a batch that changes something will have; see `IStore.will_give`."""
        giving = list(filter(gives, runs))
        if not giving or self.assignment is None:
            return 0
        state = self.assignment.state
        known = [run for run in giving if not run.index or run.index in state.indexes]
        return self._store.will_give(
            [Task(run, state.index_id(run.index), LazySlots(run.keys, run.index.encode())) for run in known]
        )

    def keys(self, epoch: int, index: str, slot: int, after: bytes | None) -> Deferred[Page]:
        """One page of keys of the range that has `slot`; see `pyshard.storage.interface.IStore.page`.

        :return: a Deferred of the page, which says where the next one begins if it has no `more`.
        :raises NotConfigured, ShardBehind, IndexNotFound, BadRequest:
        :raises WrongShard: `slot` isn't in the shard's ranges.
        """
        assignment, (_, end) = self._owning(epoch, slot)
        number = assignment.state.index_id(index)
        self.operations += 1
        bounds = PageBounds(settings.PAGE_KEYS, settings.PAGE_BYTES, settings.PAGE_STEPS)
        page = self._store.page(number, slot, after, end, bounds)
        return page.addCallback(lambda page: page if page.slot is not None else attrs.evolve(page, slot=end))

    def count(self, epoch: int, index: str, slot: int) -> tuple[int, SlotRanges]:
        """How many documents of an index the shard has; see `pyshard.storage.interface.IStore.count`.

        :return: the number, and the ranges that the shard owns, in all of which these lie.
        :raises NotConfigured, ShardBehind, IndexNotFound, BadRequest:
        :raises WrongShard: `slot` isn't in the shard's ranges.
        """
        assignment, _ = self._owning(epoch, slot)
        self.taken_on()
        number = assignment.state.index_id(index)
        self.operations += 1
        return self._store.count(number), assignment.ranges

    def stat(self) -> dict[str, object]:
        """How the shard fares, as docs/protocol.md lists it (without connections and address)."""
        store, assignment = self._store, self.assignment
        found: dict[str, object] = {
            "id": store.identity,
            "incarnation": store.incarnation,
            "documents": store.documents,
            "bytes": store.used,
            "operations": self.operations,
            "uptime": round(self._seconds() - self._started, 3),
            "ephemeral": store.ephemeral,
            "compiled": IN_USE,
        }
        if assignment is not None:
            own = assignment.own
            found |= {
                "name": own.name,
                "ranges": [[slot_to_hash(start), slot_to_hash(end)] for start, end in own.ranges],
                "epoch": assignment.state.epoch,
                "limit": own.limit,
                "histogram": [store.histogram(start, end, settings.HISTOGRAM_BARS) for start, end in own.ranges],
            }
        return found

    async def _configure(self, name: str, state: ClusterState) -> None:
        store = self._store
        assignment = accept(self.assignment, name, state, store.identity, store.documents)
        if assignment != self._taken_on:
            # The text last: a shard that ends in between is told the assignment again, as it doesn't remember it.
            await store.set_indexes(state.indexes, state.next_index)
            if self.assignment is not None:  # what goes isn't served any more; what comes is when the store owns it
                self.assignment = assignment
                self.on_assignment()
            while await store.count_ahead(assignment.ranges, _COUNTED):
                await self.pause()
            await store.own(assignment.ranges)
            await store.remember(msgspec.msgpack.encode((name, cluster_state_json.to_json(state))))
            if self._taken_on is None or self._taken_on.ranges != assignment.ranges:
                _log.info("configured as shard {shard}, epoch {epoch}", shard=plain(name), epoch=state.epoch)
            self.assignment = self._taken_on = assignment
            self.on_assignment()

    def _owning(self, epoch: int, slot: int) -> tuple[Assignment, tuple[int, int]]:
        """The assignment, of a shard that owns a slot, and the range that has it."""
        assignment = self._current(epoch)
        if not 0 <= slot < SLOTS:
            raise BadRequest(f"slot: found {slot}, expected 0 to {SLOTS - 1}")
        owned = range_with(slot, self._served_to(assignment, epoch))
        if owned is None:
            raise not_owned(assignment, slot)
        return assignment, owned

    def _served_to(self, assignment: Assignment, epoch: int) -> SlotRanges:
        """What the shard serves to who routed by an epoch.

        That is what it is to own, as far as its store owns it already, and hasn't sealed it.
        """
        served, by_store = assignment.served_to(epoch), self._store.ranges.served
        return by_store if by_store == served else common(by_store, served)

    def _current(self, epoch: int) -> Assignment:
        assignment = self.assignment or self.configured()
        if epoch > assignment.state.epoch:
            raise ShardBehind(
                f"shard {assignment.name!r} has epoch {assignment.state.epoch} and the caller {epoch}; the bootstrap "
                "will tell the shard soon"
            )
        return assignment


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


class _Plan:
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
