"""A machine of a simulation: its clock, its disk, and the process of a replica that runs on it, if one does."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from random import Random
from typing import TypeVar

from replication.model_store import Disk, ModelStore
from replication.simulated_clock import MachineClock, SimulatedClock
from replication.simulated_network import SimulatedNetwork
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from pyshard.errors import NotConfigured, SnapshotEnded, StorageFailed, Unavailable
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.replication.group_times import GroupTimes
from pyshard.replication.pulls import Pull, Pulled
from pyshard.replication.replica import Replica

_T = TypeVar("_T")


class Machine:
    """One machine.

    :param address: its own, and its replica's.
    :param clock: true time.
    :param network: reaches the others.
    :param random: chooses what happens.
    :param times: the group's.
    :param ephemeral: whether its store is gone with its process.
    :param drift: how far its clock's speed is off at the most.
    :ivar life: rises with each process that ends.
    :ivar alive: whether a process runs.
    :ivar asleep_until: until when it does nothing.
    :ivar slow: seconds that its disk takes longer to sync, at the most.
    :ivar fails_until: until when its disk saves nothing.
    :ivar breaks_copies: how many of its answers to who reads a copy are errors, as a part of all.
    :ivar others: address → machine; all of the group.
    """

    def __init__(
        self,
        address: str,
        clock: SimulatedClock,
        network: SimulatedNetwork,
        random: Random,
        times: GroupTimes,
        ephemeral: bool,
        drift: float = 0.01,
    ) -> None:
        self.address = address
        self.true_clock = clock
        self.network = network
        self.random = random
        self.times = times
        self.rate = 1 + random.choice([-drift, drift, random.uniform(-drift, drift)])
        self.life = 0
        self.alive = False
        self.asleep_until = 0.0
        self.slow = 0.0
        self.fails_until = 0.0
        self.breaks_copies = 0.0
        self.others: dict[str, Machine] = {}
        self.stores = 0
        self.disk = self._new_disk()
        self.store: ModelStore
        self.replica: Replica
        self.copies: dict[int, list[Change]] = {}
        self._ephemeral = ephemeral
        self._offset = random.uniform(0, 10_000)
        self._synced_at = 0.0
        self._waiting: deque[tuple[int, Callable[[], object]]] = deque()  # while it is asleep

    def seconds(self) -> float:
        """Its clock."""
        return self._offset + self.rate * self.true_clock.seconds()

    def run(self, life: int, work: Callable[[], object]) -> None:
        """Do something in a process, unless it has ended; when the machine is awake."""
        if life != self.life or not self.alive:
            return
        if self._waiting or self.asleep_until > self.true_clock.seconds():
            self._waiting.append((life, work))
            if len(self._waiting) == 1:
                self.true_clock.call_at(self.asleep_until, self._wake)
        else:
            work()

    def _wake(self) -> None:
        """Do what came meanwhile, in the order in which it came."""
        while self._waiting and self.asleep_until <= self.true_clock.seconds():
            life, work = self._waiting[0]
            if life == self.life and self.alive:
                work()
            self._waiting.popleft()
        if self._waiting:
            self.true_clock.call_at(self.asleep_until, self._wake)

    def sleep(self, seconds: float) -> None:
        """Do nothing for a while."""
        self.asleep_until = max(self.asleep_until, self.true_clock.seconds() + seconds)

    def start(self) -> None:
        """Start a process."""
        assert not self.alive
        if self._ephemeral:
            self.disk = self._new_disk()
        self.alive = True
        self.copies.clear()
        clock = MachineClock(self, self.life)
        store = self.store = ModelStore(self.disk, self._ephemeral, partial(self._sync, self.life))
        self.replica = Replica(
            self.address,
            store,
            _Source(store, clock, self.times.wait),
            clock,  # type: ignore[arg-type]  # it has what is used of a reactor
            partial(_Far, self),
            self.random.randbytes,
        )
        self.replica.start()

    def kill(self) -> None:
        """End the process."""
        self.alive = False
        self.life += 1
        self.replica.stop()

    def lose_power(self) -> None:
        """End the process, and lose some of what its disk was told: it is another incarnation then."""
        self.kill()
        disk, lost = self.disk, self.random.randrange(4)
        keep = max(disk.flushed[0], disk.base.sequence, disk.base.sequence + len(disk.log) - lost)
        disk.log = [group for group in disk.log if group.sequence <= keep]
        disk.history = tuple(pair for pair in disk.history if pair[1] <= keep)
        disk.incarnation += "'"

    def fail_disk(self, seconds: float) -> None:
        """Have its disk save nothing for a while."""
        self.fails_until = self.true_clock.seconds() + seconds

    def _new_disk(self) -> Disk:
        self.stores += 1
        return Disk(f"store {self.stores} at {self.address}")

    def _sync(self, life: int) -> Deferred[None]:
        """Fires when the disk has everything so far; one after the other."""
        now = self.true_clock.seconds()
        took = self.random.choice([0.0005, 0.001, 0.003, 0.02])
        if self.slow:
            took += self.random.uniform(0, self.slow)
        self._synced_at = max(self._synced_at, now) + took
        synced: Deferred[None] = Deferred()
        self.true_clock.callLater(self._synced_at - now, self.run, life, partial(self._synced, synced))
        return synced

    def _synced(self, synced: Deferred[None]) -> None:
        if synced.called:
            return
        if self.true_clock.seconds() >= self.fails_until:
            synced.callback(None)
            return
        synced.errback(StorageFailed("the disk fails"))
        if self.replica.leads:  # as a shard does
            self.replica.fail("the disk fails")


class _Source:
    """`GroupSource` of a machine."""

    def __init__(self, store: ModelStore, clock: MachineClock, wait: float) -> None:
        self._store, self._clock, self._wait = store, clock, wait

    async def groups(self, follower: str, after: int, log_format: int) -> list[ChangeGroup]:
        """See `GroupSource`."""
        if found := self._store.groups_behind(after):
            return found[:50]
        more = self._store.more()
        self._clock.callLater(self._wait, lambda: None if more.called else more.callback(None))
        await more
        return self._store.groups_behind(after)[:50]


class _Far:
    """`Primary` over the network."""

    def __init__(self, near: Machine, address: str) -> None:
        self._near, self._far = near, near.others[address]
        self._copy = 0

    def pull(self, question: Pull) -> Deferred[Pulled]:
        """See `Primary`."""
        return self._ask(lambda: Deferred.fromCoroutine(self._far.replica.pulled(question)))

    def open_copy(self) -> Deferred[ChangeGroup]:
        """See `Primary`."""
        number = self._near.random.randrange(10**9)

        def opened() -> Deferred[ChangeGroup]:
            if not self._far.replica.leads:
                raise NotConfigured("not leading")
            head, values = self._far.store.snapshot()
            self._far.copies[number] = [Change(0, 0, key, 0, 0, value) for key, value in values.items()]
            self._copy = number
            return succeed(head)

        return self._ask(opened)

    def copied_rows(self) -> Deferred[list[Change]]:
        """See `Primary`."""

        def read() -> Deferred[list[Change]]:
            if self._far.random.random() < self._far.breaks_copies:
                raise self._far.random.choice([SnapshotEnded("too old"), Unavailable("the connection was lost")])
            if self._copy not in self._far.copies:
                raise Unavailable("no such copy")
            rows = self._far.copies[self._copy]
            given = rows[:1]
            del rows[:1]
            return succeed(given)

        return self._ask(read, once=True)

    def _ask(self, work: Callable[[], Deferred[_T]], once: bool = False) -> Deferred[_T]:
        limit = self._near.random.choice([0.3, 1.0])
        if not once:
            return self._near.network.ask(self._near, self._far, work, limit)
        asked: list[Deferred[_T]] = []

        def first() -> Deferred[_T]:
            if asked:  # a connection gives a question once
                return Deferred()
            asked.append(work())
            return asked[0]

        return self._near.network.ask(self._near, self._far, first, limit)


def raised(failure: Failure) -> str:
    """A failure that nobody expects, as text."""
    return str(failure.getTraceback())
