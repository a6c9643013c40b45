"""Faults of a simulation: processes that are killed, machines that stop, disks, networks and state stores that fail."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

from replication.simulated_bootstraps import SharedState, SimulatedBootstrap
from replication.simulated_clients import SimulatedClient
from replication.simulated_clock import SimulatedClock
from replication.simulated_machine import Machine
from replication.simulated_network import SimulatedNetwork
from twisted.internet.task import deferLater

from pyshard.errors import BadRequest
from pyshard.model.range_moves import StoreId

_KINDS = ["kill", "kill primary", "sleep", "cut", "cut", "isolate", "loss", "away", "power", "switch", "disk", "rates"]


class Faults:
    """Makes trouble, as a seed chooses.

    :param ephemeral: whether stores are in memory.
    :param note: is told what happens.
    :param primary_killed: called when the primary was.
    """

    def __init__(
        self,
        clock: SimulatedClock,
        network: SimulatedNetwork,
        random: Random,
        state: SharedState,
        machines: dict[str, Machine],
        bootstraps: Sequence[SimulatedBootstrap],
        clients: Sequence[SimulatedClient],
        ephemeral: bool,
        note: Callable[[str], object],
        primary_killed: Callable[[], object],
    ) -> None:
        self._clock = clock
        self._network = network
        self._random = random
        self._state = state
        self._machines = machines
        self._bootstraps = bootstraps
        self._clients = clients
        self._ephemeral = ephemeral
        self._note = note
        self._primary_killed = primary_killed

    async def work(self, seconds: float) -> None:
        """Make trouble for a while."""
        end = self._clock.seconds() + seconds
        self._rates()
        while self._clock.seconds() < end:
            await deferLater(self._clock, self._random.uniform(0.05, 1.5))  # type: ignore[arg-type]
            self.one(self._random.choice(_KINDS), self._random.choice(list(self._machines.values())))

    def one(self, kind: str, machine: Machine) -> None:
        """One fault, or the end of one."""
        if kind == "kill primary":
            machine, kind = self._machines[self._state.group.primary], "kill"
        if kind in ("kill", "power"):
            self._kill(kind, machine)
        elif kind == "sleep":
            machine.sleep(self._random.uniform(0.05, 3.0))
            self._note(f"{machine.address} sleeps until {machine.asleep_until:.3f}")
        elif kind == "cut":
            here, there = self._random.sample(self._ends(), 2)
            self._cut([(here, there), (there, here)][: self._random.randrange(1, 3)])
        elif kind == "isolate":
            self._isolate(machine.address)
        elif kind == "loss":
            self._network.loss = self._random.choice([0.0, 0.0, 0.05, 0.3])
        elif kind == "away":
            bootstrap = self._random.choice(self._bootstraps)
            bootstrap.away = not bootstrap.away
            self._note(f"{bootstrap.address} away: {bootstrap.away}")
        elif kind == "switch":
            self._switch(machine)
        elif kind == "disk":
            self._disk(machine)
        elif kind == "rates":
            self._rates()

    def kill(self, machine: Machine, weak: bool = False) -> None:
        """End a process.

        :param weak: and have its machine lose some of what its disk was told.
        """
        primary = machine.address == self._state.group.primary
        if weak:
            machine.lose_power()
        else:
            machine.kill()
        self._note(f"{'power' if weak else 'kill'} {machine.address}")
        if primary:
            self._primary_killed()

    def mend(self) -> None:
        """End all that goes on, but for machines that are to start, or to wake."""
        network = self._network
        network.cut.clear()
        network.loss = network.doubled = network.late = 0.0
        self._state.lost = 0.0
        for bootstrap in self._bootstraps:
            bootstrap.away, bootstrap.dreams = False, 0.0
        for client in self._clients:
            client.naps = 0.0
        for machine in self._machines.values():
            machine.slow = machine.fails_until = machine.breaks_copies = 0.0

    # ------------------------------------------------------------------ each kind

    def _ends(self) -> list[str]:
        return [*self._machines, *(each.address for each in self._bootstraps), "client 1"]

    def _kill(self, kind: str, machine: Machine) -> None:
        if not machine.alive:
            return
        weak = kind == "power" and not self._ephemeral
        # of what loses something one at a time is gone, or all could be lost
        if (self._ephemeral or weak) and not self._may_lose_one():
            return
        self.kill(machine, weak)
        self._clock.callLater(self._random.choice([0.01, 0.3, self._random.uniform(0.0, 4.0)]), machine.start)

    def _cut(self, pairs: list[tuple[str, str]]) -> None:
        self._network.cut |= set(pairs)
        self._note(f"cut {pairs}")
        self._clock.callLater(self._random.uniform(0.1, 4.0), self._network.cut.difference_update, pairs)

    def _isolate(self, address: str) -> None:
        """Cut one off from all others, but perhaps from clients, or from bootstraps."""
        others = [end for end in self._ends() if end != address]
        spared = self._random.choice(["client", "boot", "h", "nobody"])
        others = [end for end in others if not end.startswith(spared)]
        ways = self._random.choice(["to", "from", "both"])
        pairs = [(address, end) for end in others if ways != "from"]
        self._cut(pairs + [(end, address) for end in others if ways != "to"])

    def _switch(self, machine: Machine) -> None:
        if machine.alive and machine.replica.leads:
            target = self._random.choice([None, *sorted(self._state.group.members)])
            try:
                machine.replica.switch(target)
            except BadRequest:
                return
            self._note(f"switch {machine.address} to {target}")

    def _disk(self, machine: Machine) -> None:
        machine.slow = self._random.choice([0.0, 0.0, 0.3, 1.5])
        machine.breaks_copies = self._random.choice([0.0, 0.3])
        if self._random.random() < 0.3:
            machine.fail_disk(self._random.uniform(0.05, 2.0))
            self._note(f"the disk of {machine.address} fails until {machine.fails_until:.3f}")

    def _rates(self) -> None:
        """How often what happens."""
        choice = self._random.choice
        self._network.doubled = choice([0.0, 0.0, 0.1])
        self._network.late = choice([0.0, 0.0, 0.01, 0.05])
        self._state.lost, self._state.late = choice([(0.0, 0.0), (0.05, 0.2), (0.2, 0.4)])
        for bootstrap in self._bootstraps:
            bootstrap.dreams = choice([0.0, 0.0, 0.2])
        for client in self._clients:
            client.naps = choice([0.0, 0.0, 0.02])

    def _may_lose_one(self) -> bool:
        """Whether all members are there with all that they had: else one more could be the last that has it.

        One that stands for the primary's place may have been made the primary already.
        """
        group = self._state.group
        for address in group.members:
            machine, disk = self._machines[address], self._machines[address].disk
            if not machine.alive or not group.holds(address, StoreId(disk.identity, disk.incarnation)):
                return False
            if machine.replica.member_term is not None and machine.replica.member_term.standing:
                return False
        unsettled_at = max(bootstrap.unsettled_at for bootstrap in self._bootstraps)
        settled = self._clock.seconds() - unsettled_at > 1.0 and not self._state.pending
        if any(bootstrap.dreaming for bootstrap in self._bootstraps):
            return False
        return len(group.members) > 1 and settled
