"""A whole group of replicas in memory, with bootstraps, clients, network and clocks, under faults that a seed chooses.

The replicas are the real ones (`pyshard.replication.replica`), over a plain store. The parts are in the modules beside
this one, which begin with `simulated_`.
"""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import attrs
from linearizability import Operation, by_key, check
from replication.simulated_bootstraps import SharedState, SimulatedBootstrap, run_bootstrap
from replication.simulated_clients import KEYS, History, SimulatedClient, number
from replication.simulated_clock import SimulatedClock
from replication.simulated_faults import Faults
from replication.simulated_machine import Machine, raised
from replication.simulated_network import SimulatedNetwork
from replication.simulated_stale_reads import StaleWitness
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.model.replica_group import MapReplica, ReplicaGroup, new_group
from pyshard.replication.group_times import GroupTimes, of_lease

#: A lease of one second, so that much happens in little time.
TIMES = of_lease(1.0)

#: Seconds within which a group must be whole again when all faults have ended: one that left often rests for a while.
HEALING = 200.0


@attrs.define
class Figures:
    """What a run came to.

    :ivar stale_reads: how often a replica that doesn't lead would have answered a read that may be a little old.
    :ivar failovers: seconds from each kill of the primary to the next change that was acknowledged.
    """

    operations: int = 0
    swaps: int = 0
    stores: int = 0
    stale_reads: int = 0
    failovers: list[float] = attrs.Factory(list)


class World:
    """Everything.

    :param seed: chooses all.
    :param ephemeral: whether stores are gone with their processes.
    :param replicas: how many; None: the seed chooses.
    :param least: with fewer members no changes are taken; None: the seed chooses.
    :param times: the group's.
    """

    def __init__(
        self,
        seed: int,
        ephemeral: bool = False,
        replicas: int | None = None,
        least: int | None = None,
        times: GroupTimes = TIMES,
    ) -> None:
        self.random = random = Random(seed)
        self.clock = clock = SimulatedClock()
        count = replicas or random.choice([1, 2, 3, 3, 3, 3])
        self.network = SimulatedNetwork(clock, random)
        addresses = [f"h:{place + 1}" for place in range(count)]
        self.machines = {
            address: Machine(address, clock, self.network, random, times, ephemeral) for address in addresses
        }
        group = new_group(
            [MapReplica("h", place + 1) for place in range(count)],
            least or random.choice([1, max(1, count - 1)]),
            times.lease,
        )
        self.state = SharedState(clock, random, group)
        self.bootstraps = [
            SimulatedBootstrap(f"bootstrap {place}", clock, self.network, random, self.state, self.machines)
            for place in (1, 2)
        ]
        self.history = History()
        self.clients = [
            SimulatedClient(f"client {place}", clock, self.network, random, self.state, self.machines, self.history)
            for place in (1, 2, 3)
        ]
        self.faults = Faults(
            clock,
            self.network,
            random,
            self.state,
            self.machines,
            self.bootstraps,
            self.clients,
            ephemeral,
            self._note,
            self._primary_killed,
        )
        self.figures = Figures()
        self.busy = False  # whether clients make calls
        self.events: list[str] = []
        self._problems: list[str] = []
        self._killed_at: float | None = None
        self.state.on_swap = self._swapped
        self.history.on_acknowledged = self._acknowledged
        self.stale = StaleWitness(clock, self.machines, times)
        self.history.on_passed = self.stale.acknowledged
        for machine in self.machines.values():
            machine.others = self.machines
            machine.start()
        for bootstrap in self.bootstraps:
            run_bootstrap(bootstrap, self._problems.append)

    @property
    def leader(self) -> Machine:
        """The machine of the primary."""
        return self.machines[self.state.group.primary]

    def run(self, seconds: float = 20.0) -> Figures:
        """Run, heal, and check all."""
        self.clock.advance(2.0)
        self.begin_clients()
        Deferred.fromCoroutine(self.faults.work(seconds)).addErrback(self._wrong)
        self.clock.advance(seconds + 1.5)
        return self.end()

    def begin_clients(self) -> None:
        """Have clients make calls."""
        self.busy = True
        for client in self.clients:
            Deferred.fromCoroutine(client.work()).addErrback(self._wrong)

    def settle(self, within: float = HEALING) -> None:
        """Let time pass until the group is whole, and nobody wants anything."""
        end = self.clock.seconds() + within
        while not self._is_whole() and self.clock.seconds() < end:
            self.clock.advance(0.5)
        group = self.state.group
        assert self._is_whole(), self.told(f"the group isn't whole in {within} s: {group}")

    def end(self) -> Figures:
        """End all faults, and check that the group becomes whole, and that what all have seen makes sense."""
        self.faults.mend()
        self.clock.advance(4.5)  # until all machines run and are awake
        self.settle()
        end, before = self.clock.seconds() + HEALING, self.history.acknowledged_at
        while self.history.acknowledged_at == before and self.clock.seconds() < end:
            self.clock.advance(0.1)
        assert self.history.acknowledged_at > before, self.told("no change is acknowledged, though all is well")
        for client in self.clients:
            client.stopped = True
        self.clock.advance(4.0)
        self.busy = False
        self.settle()
        self.check()
        for bootstrap in self.bootstraps:
            bootstrap.stopped = True
        stores = sum(machine.stores for machine in self.machines.values())
        self.figures.operations, self.figures.swaps = len(self.history.operations), self.state.swaps
        self.stale.stopped = True
        self.figures.stores, self.figures.stale_reads = stores, self.stale.answers
        return self.figures

    def check(self) -> None:
        """Compare what replicas have, and look for an order of what clients have seen."""
        assert not self._problems, self._problems[0]
        leader = self.leader
        for machine in self.machines.values():
            assert not machine.replica.failed, self.told(machine.replica.failed)
            assert machine.store.position == leader.store.position, self.told("logs differ at the end")
            values = machine.store.snapshot()[1]
            assert values == leader.store.values, self.told("values differ at the end")
        self.check_history(leader.store.values)

    def check_history(self, values: dict[bytes, bytes]) -> None:
        """Look for an order of what clients have seen, at the end of which is this."""
        found = [(key, Operation("end", "read", 1e9, 1e9 + 1, number(values.get(key)))) for key in KEYS]
        for key, operations in by_key([*self.history.operations, *found]).items():
            try:
                check(operations)
            except AssertionError as error:
                raise AssertionError(self.told(f"{key!r}: {error}")) from None

    def told(self, problem: str) -> str:
        """A problem, and what has happened of late."""
        return "\n".join([problem, *self.events[-45:]])

    # ------------------------------------------------------------------ inside

    def _is_whole(self) -> bool:
        """Whether all are members and know it; and have the same, unless clients go on."""
        group, machines = self.state.group, self.machines.values()
        if group.members != set(self.machines) or not self.leader.replica.leads:
            return False
        if any(machine.replica.group != group for machine in machines):
            return False
        return self.busy or len({(machine.store.position, machine.store.committed) for machine in machines}) == 1

    def _wrong(self, failure: Failure) -> None:
        self._problems.append(raised(failure))

    def _note(self, event: str) -> None:
        self.events.append(f"{self.clock.seconds():.3f} {event}")

    def _swapped(self, group: ReplicaGroup) -> None:
        self._note(f"{group.ballot}: {group.primary} {sorted(group.members)}")

    def _primary_killed(self) -> None:
        if self._killed_at is None:
            self._killed_at = self.clock.seconds()

    def _acknowledged(self) -> None:
        if self._killed_at is not None:
            self.figures.failovers.append(self.clock.seconds() - self._killed_at)
            self._killed_at = None


def median_and_most(seconds: Sequence[float]) -> str:
    """Of some times, as text."""
    ordered = sorted(seconds) or [0.0]
    return f"median {ordered[len(ordered) // 2]:.2f} s, most {ordered[-1]:.2f} s of {len(seconds)}"
