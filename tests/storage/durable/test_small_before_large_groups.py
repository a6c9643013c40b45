"""Small updates while large ones wait for their time: they are committed meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from storage.durable.writer_bench import Reactor
from twisted.internet.defer import Deferred

from pyshard.settings import settings
from pyshard.storage.durable.fair_update_queue import SMALL
from pyshard.storage.durable.group_commit import Committed, GroupCommit
from pyshard.storage.interface import Sender

TICK = 2e-6  # seconds from one look at the clock to the next, so that threads that are late don't matter
OTHER = Sender("other", "1")


class SlowDisk:
    """A writer to a disk that takes some seconds for each group, by a clock that goes on with each look.

    :ivar on: what is called when an update is committed, in the writer's thread.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds, self._now = seconds, 100.0
        self.reactor = Reactor()
        self.groups: list[list[int]] = []
        self.on: dict[int, Callable[[], object]] = {}
        self.writer: GroupCommit[int] = GroupCommit(self._commit, self.reactor.call_from_thread, steady=self._look)

    def _look(self) -> float:
        self._now += TICK
        return self._now

    def _commit(self, updates: Sequence[int]) -> Committed:
        self._now += self._seconds
        self.groups.append(list(updates))
        for update in updates:
            self.on.pop(update, lambda: None)()
        return Committed(list(updates))

    def large(self, number: int, cost: int = settings.MAX_GROUP_BYTES - 1) -> Deferred[Any]:
        """Have a large update committed, of a sender of its own."""
        return self.writer.submit(number, cost, 1000, Sender(f"large {number}", "1"))


def test_a_small_one_behind_a_large_one_that_waits() -> None:
    """A large update that leaves time to others doesn't hold up a small one that comes behind it."""
    disk, small = SlowDisk(2.0), list[Deferred[Any]]()
    disk.on[1] = lambda: small.append(disk.writer.submit(100, 2000, 1, OTHER))
    disk.writer.hold_large(1)  # until both wait
    large = [disk.large(number) for number in (1, 2)]
    disk.writer.hold_large(0)
    disk.reactor.until(large[0])
    assert disk.reactor.until(small[0]) == 100
    assert disk.reactor.until(large[1]) == 2
    assert disk.groups == [[1], [100], [2]]
    disk.reactor.until(disk.writer.close())


def test_who_asks_again_on_a_slow_disk() -> None:
    """A client that asks when it is answered has some groups for each large one, however long a sync takes."""
    disk = SlowDisk(2.0)

    def ask() -> None:
        if not large[-1].called:
            disk.writer.submit(100, 2000, 1, OTHER).addCallback(lambda _: ask())

    disk.on[0] = ask
    disk.writer.hold_large(1)  # until all wait
    large = [disk.large(number) for number in range(5)]
    disk.writer.hold_large(0)
    disk.reactor.until(large[-1])
    small_between = [list[int]()]
    for group in disk.groups:
        small_between.append([]) if group[0] < 100 else small_between[-1].append(len(group))
    assert all(len(small) >= 2 for small in small_between[1:-1])
    disk.reactor.until(disk.writer.close())


def test_who_was_answered_with_a_large_one() -> None:
    """A small update that was committed together with a large one is waited for as well."""
    disk = SlowDisk(2.0)
    further: list[Deferred[Any]] = []

    def submit() -> None:
        disk.writer.submit(100, SMALL, 1, OTHER)
        further.append(disk.large(1, SMALL + 1))
        disk.writer.submit(101, SMALL, 1, OTHER).addCallback(lambda _: disk.writer.submit(102, 1, 1, OTHER))

    disk.on[0] = submit
    disk.on[1] = lambda: further.append(disk.large(2))
    disk.reactor.until(disk.writer.submit(0, 1, 1, Sender("first", "1")))
    disk.reactor.until(further[0])
    disk.reactor.until(further[1])
    assert disk.groups == [[0], [100], [1, 101], [102], [2]]
    disk.reactor.until(disk.writer.close())
