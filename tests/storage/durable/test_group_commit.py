"""Group commit: order, what is committed together, outcomes, closing; with a real thread and a queue for a reactor."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Sequence
from itertools import chain
from typing import Any

import pytest
from storage.durable.writer_bench import Disk, Reactor
from told_sender import ToldSender
from twisted.internet.defer import Deferred

from pyshard.errors import Overloaded
from pyshard.settings import settings
from pyshard.storage.durable.group_commit import Committed, GroupCommit
from pyshard.storage.durable.small_groups import MOST_ALONE
from pyshard.storage.interface import Sender


class Outcome:
    """What may be looked after."""


def test_without_a_thread_each_update_is_committed_alone() -> None:
    """What is submitted is done at once, and its Deferred has fired."""
    disk = Disk()
    writer: GroupCommit[int] = GroupCommit(disk.commit, None)
    results: list[int] = []
    writer.submit(1).addCallback(results.append)
    writer.submit(2).addCallback(results.append)
    assert (results, disk.commits) == ([2, 4], [[1], [2]])


def test_what_waits_is_committed_together_in_order() -> None:
    """Updates that come while the disk is busy are committed together, in the order in which they came."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.unblocked.clear()
    done = [writer.submit(number) for number in range(500)]
    disk.unblocked.set()
    assert [reactor.until(answered) for answered in done] == [number * 2 for number in range(500)]
    assert list(chain.from_iterable(disk.commits)) == list(range(500))
    assert len(disk.commits) <= 3
    reactor.until(writer.close())


def test_what_is_committed_is_handed_out_first() -> None:
    """Where not all that was taken is committed, that part is answered at once, and the rest keeps its place."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(lambda updates: disk.commit(updates[:2]), reactor.call_from_thread)
    disk.unblocked.clear()
    done = [writer.submit(number) for number in range(5)]
    disk.unblocked.set()
    assert [reactor.until(answered) for answered in done] == [0, 2, 4, 6, 8]
    assert list(chain.from_iterable(disk.commits)) == list(range(5))
    reactor.until(writer.close())


@pytest.mark.parametrize("over", [0, 1])
def test_the_thread_waits_for_the_reactor(over: int) -> None:
    """While more than `MAX_GROUP_BYTES` of outcomes are handed out and not taken, nothing more is committed."""
    disk, reactor = Disk(settings.MAX_GROUP_BYTES // 2 + over), Reactor()
    writer: GroupCommit[int] = GroupCommit(lambda updates: disk.commit(updates[:1]), reactor.call_from_thread)
    done = [writer.submit(number) for number in range(20)]
    most = 2 if over else 3  # the last of them crosses the limit
    for taken, answered in enumerate(done):
        expected = min(taken + most, len(done))
        for _ in range(1000):
            time.sleep(0.01)
            if len(disk.commits) >= expected:
                break
        assert len(disk.commits) == expected
        assert reactor.until(answered) == taken * 2
    reactor.until(writer.close())


def test_what_is_answered_is_let_go() -> None:
    """Outcomes that were handed out together aren't kept until the last of them is answered."""
    reactor = Reactor()
    writer: GroupCommit[int] = GroupCommit(
        lambda updates: Committed([Outcome() for _ in updates]), reactor.call_from_thread
    )
    made: list[weakref.ref[Outcome]] = []
    kept: list[int] = []

    def answered(outcome: Outcome) -> None:
        kept.append(sum(one() is not None for one in made))
        made.append(weakref.ref(outcome))

    done = [writer.submit(number).addCallback(answered) for number in range(10)]
    for one in done:
        reactor.until(one)
    assert max(kept) <= 1
    reactor.until(writer.close())


def test_what_waits_is_bounded() -> None:
    """Updates of `MAX_COMMIT_BYTES` wait at the most; one more is `Overloaded` at once and never done."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.unblocked.clear()
    most = settings.MAX_COMMIT_BYTES
    fits = [writer.submit(1, most // 2, 0, Sender("a", "1")), writer.submit(2, most // 4, 0, Sender("b", "1"))]
    fits.append(writer.submit(3, most // 4, 0, Sender("c", "1")))
    for weight in (1, most):
        outcome = reactor.until(writer.submit(99, weight, 0, Sender("d", "1")))
        with pytest.raises(Overloaded, match=f"changes of {most:,} bytes wait .* 0 of them from this address"):
            outcome.raiseException()
    fits.append(writer.submit(4))  # what has no weight, such as a shard's configuration, is never refused
    disk.unblocked.set()
    assert [reactor.until(answered) for answered in fits] == [2, 4, 6, 8]
    assert reactor.until(writer.submit(5, most // 2)) == 10
    assert reactor.until(writer.submit(-1, most // 2)).check(ValueError)
    alone = writer.submit(6, most + 1)  # larger than all, but nothing else waits
    assert reactor.until(alone) == 12
    assert 99 not in chain.from_iterable(disk.commits)
    reactor.until(writer.close())


def test_one_address_leaves_room_for_the_others() -> None:
    """However much an address submits, over however many connections, others have as much room as it has taken."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.unblocked.clear()
    eighth = settings.MAX_COMMIT_BYTES // 8
    greedy = [writer.submit(number, eighth, 0, Sender("greedy", str(number))) for number in range(1, 7)]
    refused = [done for done in greedy if done.called]
    assert len(refused) == 2
    others = [writer.submit(number, eighth, 0, Sender(f"address {number}", "1")) for number in (7, 8)]
    assert not any(done.called for done in others)
    disk.unblocked.set()
    assert [reactor.until(done) for done in others] == [14, 16]
    for done in greedy:
        assert isinstance(reactor.until(done), int) != (done in refused)
    again = [writer.submit(number, eighth, 0, Sender("greedy", str(number))) for number in range(1, 4)]
    assert [reactor.until(done) for done in again] == [2, 4, 6]  # what is done takes no room any more
    reactor.until(writer.close())


def test_small_updates_dont_wait_for_the_work_of_large_ones() -> None:
    """A small update of somebody else is committed before the large ones that waited already, in a group of its own."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.unblocked.clear()
    large = [writer.submit(number, 1 << 20, 1000, Sender("greedy", str(number))) for number in range(40)]
    small = [writer.submit(100, 2000, 1, Sender("other", "1")), writer.submit(101, 2000, 1, Sender("greedy", "new"))]
    disk.unblocked.set()
    for done in large + small:
        reactor.until(done)
    at = next(place for place, group in enumerate(disk.commits) if 100 in group)
    assert at <= 1
    assert not set(disk.commits[at]) & set(range(40))
    assert 101 in disk.commits[at]
    assert sorted(chain.from_iterable(disk.commits)) == [*range(40), 100, 101]
    reactor.until(writer.close())


def test_time_that_others_bear_is_not_counted() -> None:
    """What a commit took for all who change something is counted for its sender as far as that one bears it."""
    disk, reactor, now = Disk(), Reactor(), [0.0]

    def commit(updates: Sequence[int]) -> Committed:
        now[0] += 1.0
        return disk.commit(updates)._replace(deferred=0.75)

    writer: GroupCommit[int] = GroupCommit(commit, reactor.call_from_thread, processor=lambda: now[0])
    sender = ToldSender("a", "1")
    reactor.until(writer.submit(1, 100, 1, sender))
    assert sender.counted == [(0.25, 1)]
    reactor.until(writer.close())


def test_time_is_counted_for_senders() -> None:
    """Each sender is told its part of the processor's time of a group, by what its updates weigh."""
    disk, reactor, now = Disk(), Reactor(), [0.0]

    def commit(updates: Sequence[int]) -> Committed:
        now[0] += 1.0
        return disk.commit(updates)

    writer: GroupCommit[int] = GroupCommit(commit, reactor.call_from_thread, processor=lambda: now[0])
    disk.unblocked.clear()
    senders: dict[str, ToldSender] = {}

    def submit(name: str, weight: int) -> Deferred[Any]:
        return writer.submit(1, weight, 1, senders.setdefault(name, ToldSender(name, "1")))

    done = [submit("first", 2000)]
    while not now[0]:
        time.sleep(0.001)
    done += [submit("a", 10_000), submit("b", 60_000), submit("a", 10_000), *[submit("b", 1000) for _ in range(10)]]
    disk.unblocked.set()
    for answered in done:
        reactor.until(answered)
    cost, small = 90_240, 1024  # what updates count at the least
    assert {name: sender.counted for name, sender in senders.items()} == {
        "first": [(1.0, 1.0)],
        "a": [pytest.approx((20_000 / cost, 2.0))],
        "b": [pytest.approx((70_240 / cost, 70_240**2 / (60_000**2 + 10 * small**2)))],
    }
    reactor.until(writer.close())


def test_large_updates_leave_time_to_others() -> None:
    """While others ask, a large update waits, though nothing small waits in the moment. Then it is done as well."""
    reactor, committed, now = Reactor(), list[tuple[int, float]](), [0.0]

    def commit(updates: Sequence[int]) -> Committed:
        committed.extend((update, now[0]) for update in updates)
        now[0] += 0.01
        if 1 in updates:
            writer.ask(Sender("other", "1"))
        return Committed(list(updates))

    writer: GroupCommit[int] = GroupCommit(commit, reactor.call_from_thread, steady=lambda: now[0])
    large = Sender("large", "1")
    done = [writer.submit(number, 1 << 20, 1000, large) for number in (1, 2, 3)]
    reactor.until(done[0])
    time.sleep(0.05)
    assert [update for update, _ in committed] == [1]  # by its clock no time has passed
    now[0] += 0.0021
    assert reactor.until(done[2]) == 3
    assert [update for update, _ in committed] == [1, 2, 3]
    reactor.until(writer.close())


def test_how_many_are_committed_together() -> None:
    """More updates than `MOST_ALONE` aren't committed together."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.unblocked.clear()
    done = [writer.submit(number) for number in range(2 * MOST_ALONE + 10)]
    disk.unblocked.set()
    assert reactor.until(done[-1]) == 2 * (2 * MOST_ALONE + 9)
    assert max(map(len, disk.commits)) == MOST_ALONE
    reactor.until(writer.close())


def test_what_is_committed_together_is_bounded() -> None:
    """So many changes, and so many bytes, are committed together; an update that has more is committed alone."""
    most, heavy = settings.MAX_GROUP_CHANGES, settings.MAX_GROUP_BYTES
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.unblocked.clear()
    first = writer.submit(0)
    assert disk.begun.wait(10)
    given = [(1, 0, 0), (2, 1, most), (3, 1, 0), (4, 1, 1), (5, heavy, 1), (6, 2 * heavy, 1), (7, heavy, 1), (8, 0, 0)]
    done = [writer.submit(*one) for one in given]
    disk.unblocked.set()
    reactor.until(done[-1])
    assert disk.commits == [[0], [1, 2, 3], [4], [5], [6], [7, 8]]
    assert reactor.until(first) == 0
    reactor.until(writer.close())


def test_answers_come_in_the_reactors_thread_and_after_the_commit() -> None:
    """No Deferred fires in the writer's thread, nor before the commit."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    threads: list[int] = []
    done = writer.submit(1)
    done.addCallback(lambda _: threads.append(threading.get_ident()))
    while not disk.commits:
        pass
    assert threads == []
    reactor.until(done)
    assert threads == [threading.get_ident()]
    reactor.until(writer.close())


def test_a_failure_is_that_of_one_update() -> None:
    """An update that fails fails its own Deferred only."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    good, bad, last = writer.submit(1), writer.submit(-1), writer.submit(3)
    with pytest.raises(ValueError, match="-1"):
        reactor.until(bad).raiseException()
    assert (reactor.until(good), reactor.until(last)) == (2, 6)
    reactor.until(writer.close())


def test_what_is_counted() -> None:
    """Updates that failed count nowhere, and a commit of none but such is no commit."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    reactor.until(writer.submit(-1))
    assert (writer.commits.updates, sum(writer.commits.seconds.counts)) == (0, 0)
    disk.begun.clear()
    disk.unblocked.clear()
    first = writer.submit(1)
    assert disk.begun.wait(10)
    others = [writer.submit(number) for number in (-2, 3, -4)]
    disk.unblocked.set()
    for answered in (first, *others):
        reactor.until(answered)
    assert (writer.commits.updates, sum(writer.commits.seconds.counts)) == (2, 2)
    reactor.until(writer.close())


def test_closing_does_what_waits() -> None:
    """Updates that were submitted before `close` are done before it has closed; the thread ends."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.unblocked.clear()
    done = [writer.submit(number) for number in range(5)]
    closed = writer.close()
    disk.unblocked.set()
    reactor.until(closed)
    assert list(chain.from_iterable(disk.commits)) == list(range(5))
    assert [reactor.until(answered) for answered in done] == [0, 2, 4, 6, 8]
    for thread in threading.enumerate():
        if thread.name == "pyshard-writer":
            thread.join(10)  # it has closed as the last thing that it does
            assert not thread.is_alive()


def test_closing_what_never_worked() -> None:
    """A writer without updates has no thread, and is closed at once."""
    closed = GroupCommit(Disk().commit, Reactor().call_from_thread).close()
    assert closed.called


@pytest.mark.parametrize("threaded", [False, True])
def test_a_commit_that_fails_altogether(threaded: bool) -> None:
    """A commit that raises, though it never should, fails its own updates, and later ones are done."""

    def commit(updates: Sequence[int]) -> Committed:
        return Committed([1 / update for update in updates])

    reactor = Reactor()
    writer: GroupCommit[int] = GroupCommit(commit, reactor.call_from_thread if threaded else None)
    with pytest.raises(ZeroDivisionError):
        reactor.until(writer.submit(0)).raiseException()
    assert reactor.until(writer.submit(2)) == 0.5
    reactor.until(writer.close())
