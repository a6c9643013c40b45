"""A whole group of replicas in memory, with bootstraps, clients, network and clocks, under faults that a seed chooses.

The replicas are the real ones (`pyshard.replication.replica`), over a plain store. What is simulated:

- clocks of machines, which run a little faster or slower, and stand at different times;
- machines that stop for a while, processes that are killed, and disks that lose what wasn't synced;
- a network that delays, loses, and is cut, in one direction or in both;
- a state store whose swaps may be applied late, with nobody told.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable
from typing import Any, TypeVar

from linearizability import UNKNOWN, Operation, by_key, check
from replication.model_store import Disk, ModelStore
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from pyshard.errors import BadRequest, NotConfigured, PyshardError, Unavailable
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup, new_group
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.replication.group_decision import next_group
from pyshard.replication.group_times import of_lease
from pyshard.replication.pulls import Pull, Pulled
from pyshard.replication.replica import Replica
from pyshard.replication.wishes import ReplicaReport

_T = TypeVar("_T")

TIMES = of_lease(1.0)
KEYS = [b"a", b"b", b"c"]


class MachineCall:
    """A call that may be cancelled until it comes, which is later than it was due where its machine slept."""

    def __init__(self, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call

    def come(self) -> None:
        """It is due."""
        call, self._call = self._call, None
        if call is not None:
            call()

    def cancel(self) -> None:
        """It never comes."""
        self._call = None

    def active(self) -> bool:
        """Whether it is still to come."""
        return self._call is not None


class MachineClock:
    """A machine's own clock, which a process's calls go by; those of a process that is gone never come."""

    def __init__(self, machine: Machine, life: int) -> None:
        self._machine = machine
        self._life = life

    def seconds(self) -> float:
        """The machine's time."""
        return self._machine.seconds()

    def callLater(self, delay: float, call: Callable[..., Any], *args: Any, **named: Any) -> MachineCall:
        """See `IReactorTime`."""
        made = MachineCall(lambda: call(*args, **named))
        self._machine.world.clock.callLater(
            delay / self._machine.rate, lambda: self._machine.run(self._life, made.come)
        )
        return made

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """See `IReactorTime`."""
        return []


class Machine:
    """One machine, its clock, its disk, and the process that runs on it, if one does."""

    def __init__(self, world: World, address: str, number: int) -> None:
        self.world = world
        self.address = address
        self.rate = 1 + world.random.uniform(-0.009, 0.009)
        self._offset = world.random.uniform(0, 10_000)
        self.life = 0  # rises with each process that ends
        self.alive = False
        self.asleep_until = 0.0
        self.stores = 0
        self.disk = self._new_disk()
        self.store: ModelStore
        self.replica: Replica
        self._synced_at = 0.0
        self._copies: dict[int, tuple[ChangeGroup, list[Change]]] = {}

    def _new_disk(self) -> Disk:
        self.stores += 1
        return Disk(f"store {self.stores} at {self.address}")

    def seconds(self) -> float:
        """Its clock."""
        return self._offset + self.rate * self.world.clock.seconds()

    def run(self, life: int, work: Callable[[], object]) -> None:
        """Do something in a process, unless it has ended; when the machine is awake."""
        if life != self.life or not self.alive:
            return
        if self.asleep_until > self.world.clock.seconds():
            self.world.clock.callLater(self.asleep_until - self.world.clock.seconds(), self.run, life, work)
        else:
            work()

    def start(self) -> None:
        """Start a process."""
        assert not self.alive
        if self.world.ephemeral:
            self.disk = self._new_disk()
        self.alive = True
        clock = MachineClock(self, self.life)
        store = self.store = ModelStore(self.disk, self.world.ephemeral, functools.partial(self._sync, self.life))
        self.replica = Replica(
            self.address,
            store,
            _Source(self, store, clock),
            clock,  # type: ignore[arg-type]  # it has what is used of a reactor
            lambda address: _Far(self, address),
            self.world.random.randbytes,
        )
        self.replica.start()

    def kill(self) -> None:
        """End the process."""
        self.alive = False
        self.life += 1
        self.replica.stop()

    def lose_power(self) -> None:
        """End the process, and lose some of what its disk was told and didn't sync: it is another incarnation then."""
        self.kill()
        lost = self.world.random.randrange(4)
        flushed = self.disk.flushed[0]
        keep = max(flushed, self.disk.base.sequence, self.disk.base.sequence + len(self.disk.log) - lost)
        self.disk.log = [group for group in self.disk.log if group.sequence <= keep]
        self.disk.history = tuple(pair for pair in self.disk.history if pair[1] <= keep)
        self.disk.incarnation += "'"

    def _sync(self, life: int) -> Deferred[None]:
        """Fires when the disk has everything so far; one after the other."""
        world = self.world
        now = world.clock.seconds()
        self._synced_at = max(self._synced_at, now) + world.random.choice([0.0005, 0.001, 0.003, 0.02])
        synced: Deferred[None] = Deferred()
        world.clock.callLater(
            self._synced_at - now, lambda: self.run(life, lambda: None if synced.called else synced.callback(None))
        )
        return synced


class _Source:
    """`GroupSource` of a machine."""

    def __init__(self, machine: Machine, store: ModelStore, clock: MachineClock) -> None:
        self._store, self._clock = store, clock

    async def groups(self, follower: str, after: int) -> list[ChangeGroup]:
        """See `GroupSource`."""
        if found := self._store.groups_behind(after):
            return found[:50]
        more = self._store.more()
        self._clock.callLater(TIMES.wait, lambda: None if more.called else more.callback(None))
        await more
        return self._store.groups_behind(after)[:50]


class _Far:
    """`Primary` over the network."""

    def __init__(self, near: Machine, address: str) -> None:
        self._near, self._address = near, address
        self._copy = 0

    def pull(self, question: Pull) -> Deferred[Pulled]:
        """See `Primary`."""
        return self._ask(lambda far: Deferred.fromCoroutine(far.replica.pulled(question)))

    def open_copy(self) -> Deferred[ChangeGroup]:
        """See `Primary`."""

        def opened(far: Machine) -> Deferred[ChangeGroup]:
            store = far.store
            if not far.replica.leads:
                raise NotConfigured("not leading")
            number = self._near.world.random.randrange(10**9)
            head = ChangeGroup(store.committed, _ballot_at(store, store.committed), 0, [])
            rows = [Change(0, 0, key, 0, 0, value) for key, value in _values_at(store).items()]
            far._copies[number] = head, rows
            self._copy = number
            answer: Deferred[ChangeGroup] = Deferred()
            answer.callback(head)
            return answer

        return self._ask(opened)

    def copied_rows(self) -> Deferred[list[Change]]:
        """See `Primary`."""

        def read(far: Machine) -> Deferred[list[Change]]:
            if self._copy not in far._copies:
                raise Unavailable("no such copy")
            rows = far._copies[self._copy][1]
            answer: Deferred[list[Change]] = Deferred()
            answer.callback(rows[:1])
            del rows[:1]
            return answer

        return self._ask(read)

    def _ask(self, work: Callable[[Machine], Deferred[_T]]) -> Deferred[_T]:
        world = self._near.world
        return world.ask(self._near, world.machines[self._address], work)


def _ballot_at(store: ModelStore, sequence: int) -> int:
    for group in store.log:
        if group.sequence == sequence:
            return group.ballot
    return store.base.ballot


def _values_at(store: ModelStore) -> dict[bytes, bytes]:
    """What a store has committed."""
    number, values = store.disk.flushed
    found = dict(values)
    for group in store.log:
        if number < group.sequence <= store.committed:
            for change in group.changes:
                if change.record is None:
                    found.pop(change.key, None)
                else:
                    found[change.key] = change.record
    return found


class World:
    """Everything.

    :param seed: chooses all.
    :param ephemeral: whether stores are gone with their processes.
    :param replicas: how many.
    """

    def __init__(self, seed: int, ephemeral: bool = False, replicas: int = 3) -> None:
        self.random = random.Random(seed)
        self.clock = Clock()
        self.ephemeral = ephemeral
        addresses = [f"h:{number + 1}" for number in range(replicas)]
        self.machines = {address: Machine(self, address, number) for number, address in enumerate(addresses)}
        self.cut: set[tuple[str, str]] = set()
        self.loss = 0.0
        self.state = new_group([MapReplica("h", number + 1) for number in range(replicas)], 1, 1.0)
        self.terms: list[str] = []
        self.history: list[tuple[object, Operation]] = []
        self.away: set[str] = set()  # bootstraps that are down
        self.stopped = False
        self.values = 0
        self.problems: list[str] = []
        self.swaps = 0
        self._late = 0  # swaps that aren't applied yet
        self._unsettled_at = 0.0  # when a replica wanted something last
        for machine in self.machines.values():
            machine.start()

    # ------------------------------------------------------------------ the network

    def ask(self, near: Machine, far: Machine, work: Callable[[Machine], Deferred[_T]]) -> Deferred[_T]:
        """Have a process ask another one."""
        result: Deferred[_T] = Deferred(lambda _: None)
        life, far_life = near.life, far.life
        ended = [False]

        def end(outcome: object) -> None:
            if not ended[0]:
                ended[0] = True
                if not result.called:
                    result.callback(outcome)  # type: ignore[arg-type]  # or a Failure

        self.clock.callLater(
            self.random.choice([0.3, 1.0]), lambda: near.run(life, lambda: end(Failure(Unavailable("no answer"))))
        )

        def back(outcome: object) -> None:
            if self._passes(far.address, near.address):
                self.clock.callLater(self._delay(), lambda: near.run(life, lambda: end(outcome)))

        def arrive() -> None:
            def serve() -> None:
                try:
                    answer = work(far)
                except PyshardError as error:
                    back(Failure(error))
                else:
                    answer.addBoth(back)

            far.run(far_life, serve)

        if self._passes(near.address, far.address):
            self.clock.callLater(self._delay(), arrive)
        return result

    def _passes(self, here: str, there: str) -> bool:
        return (here, there) not in self.cut and self.random.random() >= self.loss

    def _delay(self) -> float:
        return self.random.choice([0.0003, 0.001, 0.003, 0.03])

    # ------------------------------------------------------------------ bootstraps

    async def bootstrap(self, name: str) -> None:
        """Ask replicas, change the state, and tell it."""
        while not self.stopped:
            await deferLater(self.clock, self.random.uniform(0.05, 0.25))
            if name in self.away:
                continue
            seen = self.state
            reports: dict[str, ReplicaReport] = {}
            asked = [self._ask_one(name, address, reports) for address in self.machines]
            for each in asked:
                await each
            wanted: ReplicaGroup | None = seen
            for address, report in reports.items():
                store = StoreId(report.identity, report.incarnation)
                wanted = seen.with_store(address, store, report.durable)
                if wanted is not seen:
                    break
            if wanted is seen:
                try:
                    wanted = next_group(seen, reports)
                except BadRequest:
                    wanted = None
            if wanted is not None:
                self._swap(seen, wanted)
            for address in self.machines:
                if address in reports and reports[address].ballot < self.state.ballot:
                    self._tell(name, address, self.state)

    def _swap(self, seen: ReplicaGroup, wanted: ReplicaGroup) -> None:
        """Swap the state; perhaps later, perhaps never."""

        def swap() -> None:
            self._late -= 1
            if self.state == seen:
                self.state = wanted
                self.swaps += 1
                self.terms.append(
                    f"{self.clock.seconds():.3f} {wanted.ballot}: {wanted.primary} {sorted(wanted.members)}"
                )

        chance = self.random.random()
        if chance >= 0.95:
            return
        self._late += 1
        if chance < 0.8:
            swap()
        else:
            self.clock.callLater(self.random.uniform(0.01, 3.0), swap)

    def _ask_one(self, name: str, address: str, reports: dict[str, ReplicaReport]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        machine = self.machines[address]
        life = machine.life

        def finish() -> None:
            if not done.called:
                done.callback(None)

        def report() -> None:
            reported = machine.replica.report()
            if reported.wish is not None:
                self._unsettled_at = self.clock.seconds()
            if self._passes(address, name):

                def heard() -> None:
                    if not done.called:
                        reports[address] = reported
                        done.callback(None)

                self.clock.callLater(self._delay(), heard)

        self.clock.callLater(0.3, finish)
        if self._passes(name, address):
            self.clock.callLater(self._delay(), lambda: machine.run(life, report))
        return done

    def _tell(self, name: str, address: str, group: ReplicaGroup) -> None:
        machine = self.machines[address]
        life = machine.life
        if self._passes(name, address):
            self.clock.callLater(
                self._delay(), lambda: machine.run(life, lambda: machine.replica.take_on(group).addErrback(self._wrong))
            )

    def _wrong(self, failure: Failure) -> None:
        self.problems.append(failure.getTraceback())

    # ------------------------------------------------------------------ clients

    async def client(self, name: str) -> None:
        """Make calls, one after the other."""
        while not self.stopped:
            await deferLater(self.clock, self.random.uniform(0.0, 0.1))
            key = self.random.choice(KEYS)
            verb = self.random.choice(["read", "read", "write", "increment", "pop", "write if"])
            self.values += 1
            await self._call(name, key, verb, self.values)

    async def _call(self, name: str, key: bytes, verb: str, value: int) -> None:
        condition: int | str | None = None
        if verb == "write if":
            verb, condition = "write", self.random.choice(["absent", "present"])
        if verb == "increment":
            value = self.random.randrange(1, 5)
        called, until = self.clock.seconds(), self.clock.seconds() + 3.0
        address = self.state.primary if self.random.random() < 0.9 else self.random.choice(list(self.machines))
        while self.clock.seconds() < until and not self.stopped:
            try:
                result = await self._at(name, address, key, verb, value, condition)
            except NotConfigured:
                await deferLater(self.clock, 0.02)
                address = self.state.primary
                continue
            except PyshardError:
                if verb == "read":
                    await deferLater(self.clock, 0.02)
                    address = self.state.primary
                    continue
                result = UNKNOWN
            if result is UNKNOWN and verb == "read":
                return
            returned = self.clock.seconds() if result is not UNKNOWN else float("inf")
            one = Operation(name, verb, called, returned, result, value, condition=condition)
            self.history.append((key, one))
            return

    def _at(self, name: str, address: str, key: bytes, verb: str, value: int, condition: object) -> Deferred[object]:
        """Do it at one replica."""
        result: Deferred[object] = Deferred()
        machine = self.machines[address]
        life = machine.life

        def end(outcome: object) -> None:
            if not result.called:
                result.callback(outcome)

        def back(outcome: object) -> None:
            if isinstance(outcome, Failure) and outcome.check(NotConfigured) and begun:
                outcome = Failure(Unavailable("the term ended"))  # a shard hangs up then
            if self._passes(address, name):
                self.clock.callLater(self._delay(), end, outcome)

        begun: list[bool] = []

        def serve() -> None:
            replica, store = machine.replica, machine.store
            changes = verb != "read"
            if changes and not replica.takes_changes:
                return back(Failure(NotConfigured("no changes")))
            try:
                outcome, seen, changed, safe = store.execute(lambda values: _done(values, key, verb, value, condition))
                begun.append(True)
                answered = safe.addCallback(lambda _: replica.passed(seen, changed)).addCallback(lambda _: outcome)
            except PyshardError as error:
                return back(Failure(error))
            answered.addBoth(back)
            return None

        self.clock.callLater(self.random.choice([0.5, 1.5]), end, Failure(Unavailable("no answer")))
        if self._passes(name, address):
            self.clock.callLater(self._delay(), lambda: machine.run(life, serve))
        return result

    # ------------------------------------------------------------------ faults

    async def faults(self, seconds: float) -> None:
        """Make trouble."""
        end = self.clock.seconds() + seconds
        names = [*self.machines, "bootstrap 1", "bootstrap 2"]
        while self.clock.seconds() < end:
            await deferLater(self.clock, self.random.uniform(0.05, 1.5))
            kind = self.random.choice(
                ["kill", "kill primary", "sleep", "cut", "cut", "loss", "away", "power", "switch"]
            )
            machine = self.random.choice(list(self.machines.values()))
            if kind == "kill primary":
                machine, kind = self.machines[self.state.primary], "kill"
            if kind in ("kill", "power") and machine.alive:
                # of stores in memory one at a time is gone, or all would be lost
                if self.ephemeral and not self._may_lose_one():
                    continue
                if kind == "power" and not self.ephemeral:
                    if not self._may_lose_one():
                        continue
                    machine.lose_power()
                else:
                    machine.kill()
                self.terms.append(f"{self.clock.seconds():.3f} {kind} {machine.address}")
                self.clock.callLater(self.random.uniform(0.01, 4.0), machine.start)
            elif kind == "sleep":
                # never shorter than before: what waits for the end of an earlier sleep would be overtaken
                machine.asleep_until = max(machine.asleep_until, self.clock.seconds() + self.random.uniform(0.05, 3.0))
                self.terms.append(
                    f"{self.clock.seconds():.3f} {machine.address} sleeps until {machine.asleep_until:.3f}"
                )
            elif kind == "cut":
                here, there = self.random.sample([*names, "client 1"], 2)
                pairs = [(here, there), (there, here)][: self.random.randrange(1, 3)]
                self.cut |= set(pairs)
                self.terms.append(f"{self.clock.seconds():.3f} cut {pairs}")
                self.clock.callLater(self.random.uniform(0.1, 4.0), self.cut.difference_update, pairs)
            elif kind == "loss":
                self.loss = self.random.choice([0.0, 0.0, 0.05, 0.3])
            elif kind == "away":
                name = self.random.choice(names[-2:])
                self.away ^= {name}
            elif kind == "switch" and machine.alive and machine.replica._primary is not None:
                others = sorted(machine.replica._primary.group.others)
                if others:
                    machine.replica._primary.switch(self.random.choice([None, *others]))

    def _may_lose_one(self) -> bool:
        """Whether all members are there with all that they had: else one more could be the last that has it.

        One that stands for the primary's place may have been made the primary already.
        """
        for address in self.state.members:
            machine, disk = self.machines[address], self.machines[address].disk
            if not machine.alive or not self.state.holds(address, StoreId(disk.identity, disk.incarnation)):
                return False
            if machine.replica._member is not None and machine.replica._member.standing:
                return False
        settled = self.clock.seconds() - self._unsettled_at > 1.0 and not self._late
        return len(self.state.members) > 1 and settled

    # ------------------------------------------------------------------ a run

    def run(self, seconds: float = 20.0) -> str:
        """Run, heal, and check all.

        :return: figures.
        """
        for name in ("bootstrap 1", "bootstrap 2"):
            Deferred.fromCoroutine(self.bootstrap(name)).addErrback(self._wrong)
        self._advance(2.0)
        for name in ("client 1", "client 2", "client 3"):
            Deferred.fromCoroutine(self.client(name)).addErrback(self._wrong)
        Deferred.fromCoroutine(self.faults(seconds)).addErrback(self._wrong)
        self._advance(seconds + 5.0)
        self.cut.clear()
        self.away.clear()
        self.loss = 0.0
        self._advance(15.0)
        self.stopped = True
        self._advance(4.0)
        self._check()
        stores = sum(machine.stores for machine in self.machines.values())
        return f"{len(self.history)} operations, {self.swaps} changes of the group, {stores} stores"

    def _advance(self, seconds: float) -> None:
        """Let time pass, call by call."""
        end = self.clock.seconds() + seconds
        while True:
            calls = self.clock.getDelayedCalls()
            due = min((call.getTime() for call in calls), default=end)
            if due > end:
                break
            self.clock.advance(max(0.0, due - self.clock.seconds()))
        self.clock.advance(end - self.clock.seconds())

    def _check(self) -> None:
        assert not self.problems, self.problems[0]
        group = self.state
        terms = "\n".join(self.terms[-45:])
        assert group.members == set(self.machines), f"not all have joined: {group}\n{terms}"
        leader = self.machines[group.primary]
        assert leader.replica.leads, f"nobody leads {group}\n{terms}"
        for machine in self.machines.values():
            assert not machine.replica.failed, machine.replica.failed
            assert machine.store.position == leader.store.position, f"logs differ at the end\n{terms}"
            assert _values_at(machine.store) == leader.store.values, f"values differ at the end\n{terms}"
        ending = [(key, Operation("end", "read", 1e9, 1e9 + 1, _number(leader.store.values.get(key)))) for key in KEYS]
        for key, operations in by_key([*self.history, *ending]).items():
            try:
                check(operations)
            except AssertionError as error:
                raise AssertionError(f"{key!r}: {error}\n{terms}") from None


def _number(value: bytes | None) -> int | None:
    return None if value is None else int(value)


def _done(
    values: dict[bytes, bytes], key: bytes, verb: str, value: int, condition: object
) -> tuple[object, dict[bytes, bytes | None]]:
    """What an operation gives, and what becomes of its key."""
    known = _number(values.get(key))
    met = condition is None or (known is None) == (condition == "absent")
    if verb == "read":
        return known, {}
    if verb == "pop":
        return known, ({key: None} if known is not None else {})
    if verb == "increment":
        return (known or 0) + value, {key: b"%d" % ((known or 0) + value)}
    return met, ({key: b"%d" % value} if met else {})
