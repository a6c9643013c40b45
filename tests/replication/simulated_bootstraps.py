"""Bootstraps of a simulation, and the state that they share: swaps of it may be applied late, with nobody told.

A bootstrap may also act on what it heard long ago.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from replication.simulated_clock import SimulatedClock
from replication.simulated_machine import Machine, raised
from replication.simulated_network import SimulatedNetwork
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from pyshard.errors import BadRequest
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_decision import PrimaryAbsence, leads, next_group
from pyshard.replication.wishes import ReplicaReport


class SharedState:
    """The group, as the state store has it.

    :ivar group: it.
    :ivar lost: how many swaps are lost, as a part of all.
    :ivar late: how many come late, as a part of all.
    :ivar pending: how many aren't applied yet.
    :ivar swaps: how many were.
    :ivar on_swap: called with each new group.
    """

    def __init__(self, clock: SimulatedClock, random: Random, group: ReplicaGroup) -> None:
        self._clock = clock
        self._random = random
        self.group = group
        self.lost, self.late = 0.05, 0.2
        self.pending = self.swaps = 0
        self.on_swap: Callable[[ReplicaGroup], object] = _unheard

    def swap(self, seen: ReplicaGroup, wanted: ReplicaGroup) -> None:
        """Swap the group, if it is what was seen; perhaps later, perhaps never."""
        chance = self._random.random()
        if chance < self.lost:
            return
        self.pending += 1
        if chance >= self.lost + self.late:
            self._apply(seen, wanted)
        else:
            self._clock.callLater(self._random.uniform(0.01, 3.0), self._apply, seen, wanted)

    def _apply(self, seen: ReplicaGroup, wanted: ReplicaGroup) -> None:
        self.pending -= 1
        if self.group == seen:
            self.group = wanted
            self.swaps += 1
            self.on_swap(wanted)


class SimulatedBootstrap:
    """One bootstrap.

    :ivar away: whether it is down.
    :ivar dreams: how often it acts late on what it heard, as a part of all.
    :ivar dreaming: whether it is about to.
    :ivar unsettled_at: when a replica wanted something last.
    """

    def __init__(
        self,
        address: str,
        clock: SimulatedClock,
        network: SimulatedNetwork,
        random: Random,
        state: SharedState,
        machines: dict[str, Machine],
    ) -> None:
        self.address = address
        self.life = 0
        self.alive = True
        self._clock = clock
        self._network = network
        self._random = random
        self._state = state
        self._machines = machines
        self.away = False
        self.dreams = 0.0
        self.dreaming = False
        self.unsettled_at = 0.0
        self.stopped = False
        self._absence = PrimaryAbsence()

    def run(self, life: int, work: Callable[[], object]) -> None:
        """See `End`."""
        work()

    async def work(self) -> None:
        """Ask replicas, change the state, and tell it."""
        while not self.stopped:
            await deferLater(self._clock, self._random.uniform(0.05, 0.25))  # type: ignore[arg-type]
            if self.away:
                continue
            seen, began = self._state.group, self._clock.seconds()
            reports: dict[str, ReplicaReport] = {}
            for asked in [self._ask(address, reports) for address in self._machines]:
                await asked
            absent = self._absence.note(seen, leads(seen, reports), began, self._clock.seconds())
            if self.dreams and self._random.random() < self.dreams:
                self.dreaming = True
                await deferLater(self._clock, self._random.uniform(0.1, 4.0))  # type: ignore[arg-type]
            self.dreaming = False
            wanted = _wanted(seen, reports, absent)
            if wanted is not None:
                self._state.swap(seen, wanted)
            for address, report in reports.items():
                if report.ballot < self._state.group.ballot:
                    self._tell(self._machines[address], self._state.group)

    def _ask(self, address: str, reports: dict[str, ReplicaReport]) -> Deferred[None]:
        machine = self._machines[address]

        def told(report: ReplicaReport) -> ReplicaReport:
            if report.wish is not None:
                self.unsettled_at = self._clock.seconds()
            return report

        def asked() -> Deferred[ReplicaReport]:
            return Deferred.fromCoroutine(machine.replica.answer_bootstrap()).addCallback(told)

        def heard(report: ReplicaReport) -> None:
            reports[address] = report

        return self._network.ask(self, machine, asked, 0.3).addCallbacks(heard, _unheard)

    def _tell(self, machine: Machine, group: ReplicaGroup) -> None:
        life = machine.life
        self._network.send(self.address, machine.address, machine.run, life, lambda: machine.replica.take_on(group))


def _unheard(_: object) -> None:
    """Nobody cares."""


def _wanted(seen: ReplicaGroup, reports: dict[str, ReplicaReport], absent: float) -> ReplicaGroup | None:
    for address, report in reports.items():
        group = seen.with_store(address, StoreId(report.identity, report.incarnation), report.durable)
        if group is not seen:
            return group
    try:
        return next_group(seen, reports, absent)
    except BadRequest:
        return None


def run_bootstrap(bootstrap: SimulatedBootstrap, problem: Callable[[str], object]) -> None:
    """Have it work; what nobody expects is a problem."""

    def wrong(failure: Failure) -> None:
        problem(raised(failure))

    Deferred.fromCoroutine(bootstrap.work()).addErrback(wrong)
