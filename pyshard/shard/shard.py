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
- What comes for slots that are closed for a moment waits (`pyshard.shard.parked_requests`).
- A shard may own none: it is configured as any other, and answers.
- One of several replicas answers while it leads (`pyshard.shard.shard_replica`), when all members have what the answer
  saw. The others take on nothing by themselves: it comes with the primary's log.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

import attrs
import msgspec
from twisted.internet.defer import Deferred, DeferredLock, succeed
from twisted.logger import Logger

from pyshard.compiled import IN_USE
from pyshard.errors import BadRequest, NotConfigured, ShardBehind, WrongIdentity
from pyshard.metrics.batch_counts import BatchCounts
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import StateReader
from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import SlotRanges, common, in_ranges, range_with, without
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_encoding import check_size
from pyshard.protocol.batch_operations import Read, Run, count_of
from pyshard.settings import settings
from pyshard.shard.assignment import Assignment, accept, not_owned
from pyshard.shard.batch_plan import BatchPlan, bytes_copied, bytes_given, have_any_of, read_at_hand
from pyshard.shard.lost_copies import give_up_lost_copies
from pyshard.shard.parked_requests import ParkedRequests
from pyshard.shard.recalled_assignment import recalled_assignment
from pyshard.shard.served_slots import FoundServedSlots, ServedSlots
from pyshard.shard.shard_replica import ShardReplica
from pyshard.shard.store_stat import store_stat
from pyshard.storage import ITSELF, IStore, Page, PageBounds, Sender

_log = Logger()
_T = TypeVar("_T")

_COUNTED = 500  # records that are counted together before a range is given up


class Shard:
    """One shard's behavior.

    :param store: where its records are; what the store remembers is taken up.
    :param seconds: the clock, in seconds, for the uptime.
    :raises ConfigError: what the store remembers is of another version.
    :ivar counts: of batches and pages, as `ShardProtocol` answers them.
    :ivar pause: waits while others are served, between steps of what takes long.
    :ivar parked: where requests wait while their slots are closed; None: they are refused.
    :ivar replica: its part in a group of replicas; None: it can have none.
    :ivar on_assignment: called when there is another assignment, and again when the store goes by it.
    """

    def __init__(self, store: IStore, seconds: Callable[[], float]) -> None:
        self._store = store
        self._seconds = seconds
        self._started = seconds()
        self.operations = 0
        self.counts = BatchCounts()
        self.assignment = recalled_assignment(store)
        self._configuring = DeferredLock()
        self._taken_on = self.assignment  # what the store goes by, too
        self._sealing: SlotRanges = ()  # what the store is about to have sealed
        self._served = FoundServedSlots()
        self.states = StateReader()
        self.parked: ParkedRequests | None = None
        self.replica: ShardReplica | None = None
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
                "(twistd pyshard-bootstrap --config FILE)"
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

    def check_name(self, name: str) -> None:
        """Refuse a question that is for another shard.

        :raises WrongIdentity: this one was given another name.
        """
        if self.assignment is not None and self.assignment.name != name:
            raise WrongIdentity(f"this shard is {self.assignment.name!r}, not {name!r}")

    def configure(self, name: str, state: ClusterState) -> Deferred[None]:
        """Take on an assignment, when those before it have been; see `accept` for what is refused."""
        configured: Deferred[None] = self._configuring.run(lambda: Deferred.fromCoroutine(self._configure(name, state)))
        return configured

    def apply(self, epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        """Apply a batch, now or when its slots aren't closed any more.

        :param epoch: of the map that the caller routed by.
        :param sender: whose it is.
        :return: a Deferred of one answer for each run; see `ParkedRequests.serve`.
        :raises NotConfigured, ShardBehind, BadRequest: nothing was applied.
        """
        replica = self.replica
        if replica is not None and replica.is_one_of_several:
            begin = partial(self._apply_or_wait, epoch, runs, sender)
            return replica.apply(begin, runs, self.will_copy(runs), sender)
        return self._apply_or_wait(epoch, runs, sender)

    def apply_stale(self, epoch: int, runs: Sequence[Run], sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        """As `apply`, of a batch that only reads, and may find what is a little old: any member answers it."""
        if self.replica is None or self.replica.leads:
            return self.apply(epoch, runs, sender)
        return self.replica.answer_stale(lambda: self._apply_or_wait(epoch, runs, sender))

    def gated(self, begin: Callable[[], Deferred[_T]], sender: Sender = ITSELF) -> Deferred[_T]:
        """Do what changes nothing, and have its answer wait until it may be given; see `ShardReplica.answer`."""
        return begin() if self.replica is None else self.replica.answer(begin, False, sender)

    def _apply_or_wait(self, epoch: int, runs: Sequence[Run], sender: Sender) -> Deferred[list[Answer]]:
        """Apply a batch, now or when its slots aren't closed any more."""
        if self.parked is None or self.parked.idle:
            applied = self._apply(epoch, runs, sender, False)
            assert applied is not None
            return applied
        return self.parked.serve(sender, runs, lambda may_wait: self._apply(epoch, runs, sender, may_wait))

    def will_give(self, runs: Sequence[Run]) -> int:
        """About how many bytes the answers to a batch that changes something will have; see `IStore.will_give`."""
        return 0 if self.assignment is None else bytes_given(self.assignment, self._store, runs)

    def will_copy(self, runs: Sequence[Run]) -> int:
        """About how many bytes of records a batch writes beside those that it brings; see `IStore.will_copy`."""
        return 0 if self.assignment is None else bytes_copied(self.assignment, self._store, runs)

    def keys(self, epoch: int, index: str, slot: int, after: bytes | None, sender: Sender = ITSELF) -> Deferred[Page]:
        """One page of keys of the range that has `slot`; see `pyshard.storage.interface.IStore.page`.

        :param sender: who asks.
        :return: a Deferred of the page, which says where the next one begins if it has no `more`; see
            `ParkedRequests.serve`.
        :raises NotConfigured, ShardBehind, IndexNotFound, BadRequest:
        :raises WrongShard: `slot` isn't in the shard's ranges.
        """
        return self._ask(epoch, slot, sender, partial(self._page, index, slot, after), index, after or b"")

    def count(self, epoch: int, index: str, slot: int, sender: Sender = ITSELF) -> Deferred[tuple[int, SlotRanges]]:
        """How many documents of an index the shard has; see `pyshard.storage.interface.IStore.count`.

        :param sender: who asks.
        :return: a Deferred of the number, and of the ranges that the shard owns, in all of which these lie; see
            `ParkedRequests.serve`.
        :raises NotConfigured, ShardBehind, IndexNotFound, BadRequest:
        :raises WrongShard: `slot` isn't in the shard's ranges.
        """
        return self._ask(epoch, slot, sender, lambda assignment, _: succeed(self._count(assignment, index)), index)

    async def seal(self, name: str, ranges: SlotRanges, attempt: int) -> None:
        """Have the store seal ranges for a move; see `IRangedStore.seal`. What comes for them waits from now on."""
        self._sealing = ranges
        self._slots_closed()
        try:
            await self._store.seal(name, ranges, attempt)
        finally:
            self._sealing = ()
            if common(ranges, self._store.ranges.served):  # it couldn't
                self._release()

    async def unseal(self, name: str) -> None:
        """Have the store take a seal back; see `IRangedStore.unseal`. What waits for its slots goes on."""
        await self._store.unseal(name)
        self._release()

    def stat(self) -> dict[str, object]:
        """How the shard fares, as docs/protocol.md lists it (without connections and address)."""
        return {
            **store_stat(self._store, self.assignment),
            "operations": self.operations,
            "parked": 0 if self.parked is None else len(self.parked),
            "uptime": round(self._seconds() - self._started, 3),
            "compiled": IN_USE,
        }

    async def _configure(self, name: str, state: ClusterState) -> None:
        store, replica, own, before = self._store, self.replica, state.map.named(name), self.assignment
        identity, leads = store.identity, replica is None or replica.leads
        goes_on = leads  # with the ranges that it took on itself; else they come with another primary's log
        if replica is not None and own is not None and own.group is not None:
            identity, goes_on = own.identity, leads and before is not None and before.own.address == own.address
        assignment = accept(before, name, state, identity, store.documents if goes_on else 0)
        if replica is not None and assignment.own.group is not None:
            if not leads:  # before it may lead: what has gone meanwhile it mustn't serve for a moment
                self.assignment, self._taken_on = assignment, None
            await replica.take_on(assignment.own.group)
            if not replica.leads:
                self.assignment, self._taken_on = assignment, None
                self.on_assignment()
                return
        if assignment != self._taken_on:
            # The text last: a shard that ends in between is told the assignment again, as it doesn't remember it.
            known = self._taken_on  # what the store has already it needn't be told: behind others' work that takes long
            text = msgspec.msgpack.encode((name, cluster_state_json.to_json(state)))
            has_ranges = known is not None and known.ranges == assignment.ranges == store.ranges.owned
            with_indexes = known is None or known.indexes != assignment.indexes
            if with_indexes:  # nothing lies between both where the ranges stay: writers wait for one sync, not for two
                await store.set_indexes(state.indexes, state.next_index, text if has_ranges else None)
            if self.assignment is not None:  # what goes isn't served any more; what comes is when the store owns it
                served = self.assignment.ranges if known is not None else store.ranges.served
                if without(assignment.ranges, served):  # they are closed until the store owns them
                    self._slots_closed()
                self.assignment = assignment
                self.on_assignment()
                self._release()
            await give_up_lost_copies(store, () if known is not None else assignment.ranges)
            while store.ranges.given_up(assignment.ranges) and await store.count_ahead(assignment.ranges, _COUNTED):
                await self.pause()
            if known is None or store.ranges.owned != assignment.ranges:
                await store.own(assignment.ranges)
            self._release()
            await store.count_ahead(assignment.ranges, _COUNTED)  # nothing any more, whatever was to be given up
            if not (with_indexes and has_ranges):
                await store.remember(text)
            if self._taken_on is None or self._taken_on.ranges != assignment.ranges:
                _log.info("configured as shard {shard}, epoch {epoch}", shard=name, epoch=state.epoch)
            self.assignment = self._taken_on = assignment
            self.on_assignment()

    def _apply(self, epoch: int, runs: Sequence[Run], sender: Sender, may_wait: bool) -> Deferred[list[Answer]] | None:
        """See `apply`; None: it has to wait, as some of its slots are closed."""
        assignment = self._current(epoch)
        operations = count_of(runs)
        if operations > settings.MAX_BATCH:
            check_size(operations)
        if len(runs) == 1 and isinstance(run := runs[0], Read) and self.remembers and epoch >= assignment.newest_move:
            at_hand = read_at_hand(assignment, self._store, run)
            if at_hand is not None:
                self.operations += operations
                return succeed([Answer(at_hand, {})])
        served = self._served_to(assignment, epoch)
        plan = BatchPlan(assignment, self._store, runs, served.ranges)
        if may_wait and plan.refuses and have_any_of(assignment, runs, served.closed):
            return None
        self.operations += operations
        applied = self._store.apply(plan.tasks, assignment.own.limit, settings.ANSWER_BYTES, sender)
        return applied.addCallback(plan.merge) if plan.refuses else applied

    def _ask(
        self, epoch: int, slot: int, sender: Sender, ask: Callable[[Assignment, int], Deferred[_T]], *kept: str | bytes
    ) -> Deferred[_T]:
        """Ask something about the range that has a slot, when that isn't closed.

        :param ask: given the assignment, and the slot behind that range.
        :param kept: what it keeps of the question.
        """

        def begin(may_wait: bool) -> Deferred[_T] | None:
            assignment = self._current(epoch)
            if not 0 <= slot < SLOTS:
                raise BadRequest(f"slot: found {slot}, expected 0 to {SLOTS - 1}")
            served = self._served_to(assignment, epoch)
            owned = range_with(slot, served.ranges)
            if owned is not None:
                return ask(assignment, owned[1])
            if may_wait and in_ranges(slot, served.closed):
                return None
            raise not_owned(assignment, slot)

        def begin_or_wait() -> Deferred[_T]:
            if self.parked is not None:
                return self.parked.serve(sender, (), begin, sum(map(len, kept)))
            begun = begin(False)
            assert begun is not None
            return begun

        return self.gated(begin_or_wait, sender)

    def _page(self, index: str, slot: int, after: bytes | None, assignment: Assignment, end: int) -> Deferred[Page]:
        number = assignment.state.index_id(index)
        self.operations += 1
        bounds = PageBounds(settings.PAGE_KEYS, settings.PAGE_BYTES, settings.PAGE_STEPS)
        page = self._store.page(number, slot, after, end, bounds)
        return page.addCallback(lambda page: page if page.slot is not None else attrs.evolve(page, slot=end))

    def _count(self, assignment: Assignment, index: str) -> tuple[int, SlotRanges]:
        self.taken_on()
        number = assignment.state.index_id(index)
        self.operations += 1
        return self._store.count(number), assignment.ranges

    def _slots_closed(self) -> None:
        if self.parked is not None:
            self.parked.slots_closed()

    def _release(self) -> None:
        if self.parked is not None:
            self.parked.release()

    def _served_to(self, assignment: Assignment, epoch: int) -> ServedSlots:
        return self._served.of(assignment, epoch, self._store.ranges.served, self._sealing)

    def _current(self, epoch: int) -> Assignment:
        assignment = self.assignment or self.configured()
        if epoch > assignment.state.epoch:
            raise ShardBehind(
                f"shard {assignment.name!r} has epoch {assignment.state.epoch} and the caller {epoch}; the bootstrap "
                "will tell the shard soon"
            )
        return assignment
