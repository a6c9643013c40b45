"""A witness of a simulation: what replicas that don't lead would answer to reads which may be a little old.

Rules:

- it asks each of them again and again, and asks nothing of the network, so a run goes as it goes without it;
- whoever answers shows all that was acknowledged longer ago than the bound;
- what is shown is committed: of one number, all show the group of one ballot.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping
from math import inf

from replication.simulated_clock import SimulatedClock
from replication.simulated_machine import Machine

from pyshard.errors import NotConfigured
from pyshard.protocol.log_positions import ballot_at
from pyshard.replication.group_times import GroupTimes

_EVERY = 0.05  # seconds
_SLACK = 1.02  # clocks of machines may be off by 1 %


class StaleWitness:
    """It.

    :ivar answers: how often a replica would have answered.
    """

    def __init__(self, clock: SimulatedClock, machines: Mapping[str, Machine], times: GroupTimes) -> None:
        self._clock = clock
        self._machines = machines
        self._bound = times.staleness * _SLACK
        self._acknowledged: list[tuple[int, float]] = []  # rising numbers, and when each was acknowledged
        self._ballots: dict[int, int] = {}
        self.answers = 0
        self.stopped = False
        clock.callLater(_EVERY, self._look)

    def acknowledged(self, sequence: int) -> None:
        """A group is acknowledged now."""
        if not self._acknowledged or sequence > self._acknowledged[-1][0]:
            self._acknowledged.append((sequence, self._clock.seconds()))

    def forget(self) -> None:
        """All documents are lost, and numbers begin anew."""
        self._acknowledged.clear()
        self._ballots.clear()

    def _look(self) -> None:
        if not self.stopped:
            self._clock.callLater(_EVERY, self._look)
        for machine in self._machines.values():
            awake = machine.alive and machine.asleep_until <= self._clock.seconds()
            if awake and not machine.replica.leads:
                self._ask(machine)

    def _ask(self, machine: Machine) -> None:
        last = machine.store.applied
        try:
            machine.replica.check_read(last)
        except NotConfigured:
            return
        self.answers += 1
        lacking = bisect_left(self._acknowledged, (last, inf))
        if lacking < len(self._acknowledged):
            sequence, moment = self._acknowledged[lacking]
            age = self._clock.seconds() - moment
            assert age <= self._bound, (
                f"{machine.address} shows {last}, and {sequence} was acknowledged {age:.2f} s ago"
            )
        ballot = ballot_at(machine.store.ballots, last)
        if ballot is not None:
            known = self._ballots.setdefault(last, ballot)
            assert known == ballot, f"{machine.address} shows {last} of ballot {ballot}, another one that of {known}"
