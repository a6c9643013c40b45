"""Clients of a simulation: they make calls, one after the other, and write down what came of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import inf
from random import Random

from linearizability import UNKNOWN, Operation
from replication.simulated_bootstraps import SharedState
from replication.simulated_clock import SimulatedClock
from replication.simulated_machine import Machine
from replication.simulated_network import SimulatedNetwork
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from pyshard.errors import NotConfigured, PyshardError, Unavailable

KEYS = [b"a", b"b", b"c"]
_VERBS = ["read", "read", "write", "increment", "pop", "write if"]


class History:
    """What all clients have seen.

    :ivar operations: pairs of a key and what was done with it.
    :ivar acknowledged_at: when a change was acknowledged last.
    :ivar on_acknowledged: called when one is.
    :ivar on_passed: called with the number of a group when a change that made it may be acknowledged.
    """

    def __init__(self) -> None:
        self.operations: list[tuple[object, Operation]] = []
        self.values = 0
        self.acknowledged_at = 0.0
        self.on_acknowledged: Callable[[], object] = lambda: None
        self.on_passed: Callable[[int], object] = lambda _: None

    def add(self, key: bytes, operation: Operation) -> None:
        """Note one."""
        self.operations.append((key, operation))
        if operation.result is not UNKNOWN and operation.verb != "read":
            self.acknowledged_at = operation.returned
            self.on_acknowledged()


class SimulatedClient:
    """One client.

    :ivar naps: how often a machine falls asleep in the middle of an answer to it, as a part of all.
    """

    def __init__(
        self,
        name: str,
        clock: SimulatedClock,
        network: SimulatedNetwork,
        random: Random,
        state: SharedState,
        machines: Mapping[str, Machine],
        history: History,
    ) -> None:
        self.name = name
        self._clock = clock
        self._network = network
        self._random = random
        self._state = state
        self._machines = machines
        self._history = history
        self.naps = 0.0
        self.stopped = False

    async def work(self) -> None:
        """Make calls."""
        while not self.stopped:
            await self._pause(self._random.uniform(0.0, 0.1))
            await self.call(self._random.choice(KEYS), self._random.choice(_VERBS))

    async def call(self, key: bytes, verb: str, condition: int | str | None = None) -> object:
        """Make a call, at the primary after the other, and write down what came of it.

        :return: the result; UNKNOWN: nobody knows.
        """
        self._history.values += 1
        value = self._history.values
        if verb == "write if":
            verb, condition = "write", self._random.choice(["absent", "present"])
        if verb == "increment":
            value = self._random.randrange(1, 5)
        called = self._clock.seconds()
        result = await self._result(key, verb, value, condition, called + 3.0)
        if result is not None or verb != "read":
            known = result is not UNKNOWN
            if known or verb != "read":
                returned = self._clock.seconds() if known else inf
                self._history.add(key, Operation(self.name, verb, called, returned, result, value, condition=condition))
        return result

    async def _result(self, key: bytes, verb: str, value: int, condition: object, until: float) -> object:
        address = self._state.group.primary
        if self._random.random() < 0.1:
            address = self._random.choice(list(self._machines))
        while self._clock.seconds() < until:
            try:
                return await self.ask(address, key, verb, value, condition)
            except NotConfigured:
                pass
            except PyshardError:
                if verb != "read":
                    return UNKNOWN
            await self._pause(0.02)
            address = self._state.group.primary
        return UNKNOWN

    def ask(self, address: str, key: bytes, verb: str, value: int, condition: object) -> Deferred[object]:
        """Have it done by one replica.

        :raises NotConfigured: (in the Deferred) it wasn't done.
        :raises PyshardError: (in the Deferred) perhaps it was.
        """
        result: Deferred[object] = Deferred()
        machine = self._machines[address]
        life = machine.life

        def end(outcome: object) -> None:
            if not result.called:
                result.callback(outcome)

        def back(outcome: object) -> None:
            machine.run(life, lambda: self._network.send(address, self.name, end, outcome))

        routed_by = self._state.group.ballot

        def serve() -> None:
            try:
                if machine.replica.leads_since > routed_by:  # late bytes of a connection of before
                    raise NotConfigured("routed by an older map")
                answer = self._served(machine, key, verb, value, condition)
            except PyshardError as error:
                back(Failure(error))
            else:
                answer.addBoth(back)

        def arrive() -> None:
            if machine.alive or life != machine.life:
                machine.run(life, serve)
            else:  # nobody listens
                self._network.send(address, self.name, end, Failure(NotConfigured("refused")))

        self._clock.callLater(self._random.choice([0.5, 1.5]), end, Failure(Unavailable("no answer")))
        self._network.send(self.name, address, arrive, in_order=True)
        return result

    def _served(self, machine: Machine, key: bytes, verb: str, value: int, condition: object) -> Deferred[object]:
        replica, store = machine.replica, machine.store
        gate = replica.gate
        if verb != "read" and not replica.takes_changes:
            raise NotConfigured("no changes")
        outcome, seen, changed, safe = store.execute(lambda values: done(values, key, verb, value, condition))

        def note(_: None) -> None:
            if changed:
                self._history.on_passed(seen)

        def wait(_: None) -> Deferred[None]:
            return self._nap(machine).addCallback(lambda _: gate.passed(seen, changed)).addCallback(note)

        def unknown(failure: Failure) -> Failure:
            return Failure(Unavailable("the disk fails")) if changed else failure

        safe.addErrback(unknown)
        return safe.addCallback(wait).addCallback(lambda _: self._nap(machine)).addCallback(lambda _: outcome)

    def _nap(self, machine: Machine) -> Deferred[None]:
        """Perhaps the machine falls asleep just here."""
        if not self.naps or self._random.random() >= self.naps:
            return succeed(None)
        machine.sleep(self._random.choice([0.1, 1.0, 1.5, 3.0]))
        awake: Deferred[None] = Deferred()
        machine.run(machine.life, lambda: awake.callback(None))
        return awake

    async def _pause(self, seconds: float) -> None:
        await deferLater(self._clock, seconds)  # type: ignore[arg-type]  # it has what is used of a reactor


def number(value: bytes | None) -> int | None:
    """What a key has, as an operation's result."""
    return None if value is None else int(value)


def done(
    values: dict[bytes, bytes], key: bytes, verb: str, value: int, condition: object
) -> tuple[object, dict[bytes, bytes | None]]:
    """What an operation gives, and what becomes of its key."""
    known = number(values.get(key))
    if condition is None:
        met = True
    elif isinstance(condition, int):
        met = known == condition
    else:
        met = (known is None) == (condition == "absent")
    if verb == "read":
        return known, {}
    if verb == "pop":
        return known, ({key: None} if known is not None else {})
    if verb == "increment":
        return (known or 0) + value, {key: b"%d" % ((known or 0) + value)}
    return met, ({key: b"%d" % value} if met else {})
