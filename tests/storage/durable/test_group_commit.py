"""Group commit: order, grouping, outcomes, closing; with a real thread and a queue in the reactor's place."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.errors import Overloaded
from pyshard.settings import settings
from pyshard.storage.durable.group_commit import GROUP, GroupCommit


class Reactor:
    """As much of a reactor as a writer uses: what its thread hands over is called by `turn`."""

    def __init__(self) -> None:
        self._calls: queue.Queue[tuple[Callable[..., Any], tuple[Any, ...]]] = queue.Queue()

    def call_from_thread(self, function: Callable[..., Any], *arguments: Any) -> None:
        """What the writer is given."""
        self._calls.put((function, arguments))

    def until(self, deferred: Deferred[Any]) -> Any:
        """Call what is handed over until a Deferred has fired; its result, a Failure as it is."""
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        while not outcome:
            function, arguments = self._calls.get(timeout=10)
            function(*arguments)
        return outcome[0]


class Disk:
    """Does groups of numbers, when it is let to."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.free = threading.Event()
        self.free.set()

    def commit(self, jobs: Sequence[int]) -> Sequence[object]:
        """Each job's outcome is its double; a negative one fails."""
        self.free.wait(10)
        self.groups.append(list(jobs))
        return [Failure(ValueError(job)) if job < 0 else job * 2 for job in jobs]


def test_without_a_thread_each_job_is_a_group() -> None:
    """What is submitted is done at once, and its Deferred has fired."""
    disk = Disk()
    writer: GroupCommit[int] = GroupCommit(disk.commit, None)
    results: list[int] = []
    writer.submit(1).addCallback(results.append)
    writer.submit(2).addCallback(results.append)
    assert (results, disk.groups) == ([2, 4], [[1], [2]])


def test_what_waits_is_one_group_in_order() -> None:
    """Jobs that come while the disk is busy are committed together, in the order in which they came."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.free.clear()
    done = [writer.submit(number) for number in range(500)]
    disk.free.set()
    assert [reactor.until(one) for one in done] == [number * 2 for number in range(500)]
    assert list(chain.from_iterable(disk.groups)) == list(range(500))
    assert len(disk.groups) <= 3
    reactor.until(writer.close())


def test_what_waits_is_bounded() -> None:
    """Jobs up to `MAX_COMMIT_BYTES` wait; one more is `Overloaded` at once and never done, until others are done."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.free.clear()
    half = settings.MAX_COMMIT_BYTES // 2
    fits = [writer.submit(1, half), writer.submit(2, half - 1), writer.submit(3, 1)]
    for weight in (1, half):
        outcome = reactor.until(writer.submit(99, weight))
        with pytest.raises(Overloaded, match=f"changes of {settings.MAX_COMMIT_BYTES:,} bytes wait"):
            outcome.raiseException()
    fits.append(writer.submit(4))  # what has no weight, such as a shard's configuration, is never refused
    disk.free.set()
    assert [reactor.until(one) for one in fits] == [2, 4, 6, 8]
    assert reactor.until(writer.submit(5, half)) == 10
    assert reactor.until(writer.submit(-1, half)).check(ValueError)
    alone = writer.submit(6, settings.MAX_COMMIT_BYTES + 1)  # larger than all, but nothing else waits
    assert reactor.until(alone) == 12
    assert 99 not in chain.from_iterable(disk.groups)
    reactor.until(writer.close())


def test_a_group_has_an_end() -> None:
    """More jobs than `GROUP` are more groups."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.free.clear()
    done = [writer.submit(number) for number in range(2 * GROUP + 10)]
    disk.free.set()
    assert reactor.until(done[-1]) == 2 * (2 * GROUP + 9)
    assert max(map(len, disk.groups)) == GROUP
    reactor.until(writer.close())


def test_answers_come_in_the_reactors_thread_and_after_the_commit() -> None:
    """No Deferred fires in the writer's thread, nor before its group was committed."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    threads: list[int] = []
    done = writer.submit(1)
    done.addCallback(lambda _: threads.append(threading.get_ident()))
    while not disk.groups:
        pass
    assert threads == []
    reactor.until(done)
    assert threads == [threading.get_ident()]
    reactor.until(writer.close())


def test_one_failure_is_one_jobs_own() -> None:
    """A job that fails fails its own Deferred only."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    good, bad, last = writer.submit(1), writer.submit(-1), writer.submit(3)
    with pytest.raises(ValueError, match="-1"):
        reactor.until(bad).raiseException()
    assert (reactor.until(good), reactor.until(last)) == (2, 6)
    reactor.until(writer.close())


def test_closing_does_what_waits() -> None:
    """Jobs that were submitted before `close` are done before it has closed; the thread ends."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.free.clear()
    done = [writer.submit(number) for number in range(5)]
    closed = writer.close()
    disk.free.set()
    reactor.until(closed)
    assert list(chain.from_iterable(disk.groups)) == list(range(5))
    assert [reactor.until(one) for one in done] == [0, 2, 4, 6, 8]
    assert not [one for one in threading.enumerate() if one.name == "pyshard-writer" and one.is_alive()]


def test_closing_what_never_worked() -> None:
    """A writer without jobs has no thread, and is closed at once."""
    closed = GroupCommit(Disk().commit, Reactor().call_from_thread).close()
    assert closed.called


@pytest.mark.parametrize("threaded", [False, True])
def test_a_commit_that_fails_altogether(threaded: bool) -> None:
    """A commit that raises, though it never should, fails its own jobs, and later ones are done."""

    def commit(jobs: Sequence[int]) -> Sequence[object]:
        return [1 / job for job in jobs]

    reactor = Reactor()
    writer: GroupCommit[int] = GroupCommit(commit, reactor.call_from_thread if threaded else None)
    with pytest.raises(ZeroDivisionError):
        reactor.until(writer.submit(0)).raiseException()
    assert reactor.until(writer.submit(2)) == 0.5
    reactor.until(writer.close())
