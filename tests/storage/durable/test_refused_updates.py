"""Updates that are never begun: of senders that are gone, and what waits when a daemon's drain is over."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from storage.durable.writer_bench import Disk, Reactor
from told_sender import ToldSender
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.errors import ShuttingDown, Unavailable
from pyshard.storage.durable.group_commit import Committed, GroupCommit
from pyshard.storage.interface import Sender

LARGE = 1 << 20


class Stepwise(Disk):
    """A disk whose commits do only the first of the updates that they are given, and each when a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.steps = threading.Semaphore(0)

    def commit(self, updates: Sequence[int]) -> Committed:
        self.begun.set()
        self.steps.acquire(timeout=10)
        return super().commit(updates[:1])


class Bench:
    """A writer, whose disk is blocked from its first commit on: of the update 0, the store's own."""

    def __init__(self, disk: Disk) -> None:
        self.disk, self.reactor = disk, Reactor()
        self.lost: set[str] = set()
        self.senders: dict[str, Sender] = {}
        self.writer: GroupCommit[int] = GroupCommit(disk.commit, self.reactor.call_from_thread)
        disk.unblocked.clear()
        self.first = self.writer.submit(0)
        disk.begun.wait(10)

    def submit(self, update: int, connection: str = "1", weight: int = LARGE) -> Deferred[Any]:
        """Have a client submit an update."""
        new = ToldSender("address", connection, lambda: connection in self.lost)
        sender = self.senders.setdefault(connection, new)
        return self.writer.submit(update, weight, 1, sender)

    def end(self) -> list[int]:
        """Unblock the disk, and close the writer; what was committed, in order."""
        self.disk.unblocked.set()
        self.reactor.until(self.writer.close())
        return [update for group in self.disk.commits for update in group]


def refused(answered: Deferred[Any], error: type[Exception]) -> bool:
    """Whether an update was refused with an error."""
    outcome: list[object] = []
    answered.addBoth(outcome.append)
    return len(outcome) == 1 and isinstance(outcome[0], Failure) and outcome[0].check(error) is not None


def test_what_waits_can_be_refused() -> None:
    """It is refused while the disk is busy, and never committed; what is being committed is finished."""
    bench = Bench(Disk())
    waiting = [bench.submit(number, str(number % 3), weight) for number, weight in ((1, LARGE), (2, 100), (3, 0))]
    own = bench.writer.submit(4)
    bench.writer.refuse_waiting()
    assert all(refused(each, ShuttingDown) for each in waiting)
    assert refused(bench.submit(5), ShuttingDown)
    assert bench.end() == [0, 4]
    assert bench.reactor.until(bench.first) == 0
    assert bench.reactor.until(own) == 8


def test_what_a_commit_leaves_is_refused() -> None:
    """Updates that are being committed, but of which the commit does only the first, aren't begun any more."""
    disk = Stepwise()
    bench = Bench(disk)
    waiting = [bench.submit(number, weight=100) for number in (1, 2, 3)]
    disk.begun.clear()
    disk.unblocked.set()
    disk.steps.release()
    disk.begun.wait(10)  # all three are with the disk now
    bench.writer.refuse_waiting()
    assert not any(each.called for each in waiting)
    disk.steps.release(10)
    assert bench.reactor.until(waiting[0]) == 2
    assert bench.end() == [0, 1]
    assert all(refused(each, ShuttingDown) for each in waiting[1:])


def test_updates_of_a_sender_that_is_gone() -> None:
    """They are dropped, large and small ones, wherever they stand; those of others keep their places."""
    bench = Bench(Disk())
    waiting = {number: bench.submit(number, str(number % 3), LARGE if number < 5 else 100) for number in range(1, 10)}
    bench.lost.add("1")
    bench.disk.unblocked.set()
    for number, answered in waiting.items():
        if number % 3 != 1:
            assert bench.reactor.until(answered) == 2 * number
    committed = bench.end()
    assert sorted(committed) == [0, 2, 3, 5, 6, 8, 9]
    assert [number for number in committed if number % 3 == 2] == [2, 5, 8]
    assert all(refused(waiting[number], Unavailable) for number in (1, 4, 7))
    assert bench.writer.waiting_bytes == 0


def test_all_senders_are_gone() -> None:
    """Then nothing more is committed, and what was dropped doesn't weigh any more. The writer goes on with others."""
    bench = Bench(Disk())
    waiting = [bench.submit(number) for number in range(1, 100)]
    bench.lost.add("1")
    bench.disk.unblocked.set()
    later = bench.submit(100, "2")
    assert bench.reactor.until(later) == 200
    assert bench.end() == [0, 100]
    assert all(refused(each, Unavailable) for each in waiting)
    assert bench.writer.waiting_bytes == 0
