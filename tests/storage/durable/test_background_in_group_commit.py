"""Background work beside the updates of others: when it goes, and with whom."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import pairwise

import pytest
from storage.durable.writer_bench import Disk, Reactor

from pyshard.storage.durable.group_commit import Committed, GroupCommit
from pyshard.storage.interface import Sender


def test_background_work_leaves_time_to_others() -> None:
    """While somebody asks, it has a sixth of the time, and each step goes with a small update, before it."""
    reactor, groups, now = Reactor(), list[tuple[list[int], float]](), [1.0]

    def commit(updates: Sequence[int]) -> Committed:
        groups.append((list(updates), now[0]))
        own = 0.01 if -1 in updates else 0.0  # that is background work
        now[0] += own + 0.001
        if len(groups) < 500:
            writer.submit(1, 100, 1, Sender("busy", "1"))
            if -1 in updates:
                writer.submit_background(-1)
        return Committed(list(updates), background=own)

    writer: GroupCommit[int] = GroupCommit(commit, reactor.call_from_thread, steady=lambda: now[0])
    reactor.until(writer.submit_background(-1))  # its commit submits all others, so that no thread is too late
    while len(groups) < 500:
        reactor.turn()
    steps = [at for updates, at in groups[1:500] if -1 in updates]
    assert all(updates == [-1, 1] for updates, _ in groups[1:500] if -1 in updates)
    assert len(steps) > 5
    assert all(0.06 <= later - step <= 0.063 for step, later in pairwise(steps))
    reactor.until(writer.close())


@pytest.mark.parametrize("weight", [None, 0, 1 << 20])
def test_what_background_work_leaves_time_to(weight: int | None) -> None:
    """It leaves time to whoever reads (None), or changes something, small or large."""
    reactor, disk, now = Reactor(), Disk(), [1.0]
    writer: GroupCommit[int] = GroupCommit(
        lambda updates: disk.commit(updates)._replace(background=0.01), reactor.call_from_thread, steady=lambda: now[0]
    )
    reactor.until(writer.submit_background(3))
    if weight is None:
        writer.ask(Sender("other", "1"))
    else:
        reactor.until(writer.submit(1, weight, 1, Sender("other", "1")))
    before = len(disk.commits)
    done = writer.submit_background(2)
    time.sleep(0.1)
    assert len(disk.commits) == before
    now[0] += 0.051
    assert reactor.until(done) == 4
    reactor.until(writer.close())


def test_background_work_that_nobody_goes_with() -> None:
    """Where others only read, it is done alone, 50 ms after its part allows it; and at once where nobody asks."""
    reactor, disk, now = Reactor(), Disk(), [1.0]

    def commit(updates: Sequence[int]) -> Committed:
        now[0] += 0.01
        return disk.commit(updates)._replace(background=0.01)

    writer: GroupCommit[int] = GroupCommit(commit, reactor.call_from_thread, steady=lambda: now[0])
    for number in (1, 2):
        assert reactor.until(writer.submit_background(number)) == 2 * number
    assert now[0] == pytest.approx(1.02)
    writer.ask(Sender("reader", "1"))
    done = writer.submit_background(3)
    for passed, expected in ((0.0, 2), (0.095, 2), (0.105, 3)):
        writer.ask(Sender("reader", "1"))
        now[0] = 1.02 + passed
        time.sleep(0.15)
        assert len(disk.commits) == expected
    assert reactor.until(done) == 6
    reactor.until(writer.close())


def test_background_work_and_large_updates() -> None:
    """A step that is due doesn't have a large update begin before it may, nor does it wait for that one."""
    reactor, groups, now = Reactor(), list[list[int]](), [1.0]

    def commit(updates: Sequence[int]) -> Committed:
        groups.append(list(updates))
        now[0] += 1.0 if 1 in updates else 0.0
        if 1 in updates:
            writer.ask(Sender("other", "1"))
        return Committed(list(updates))

    writer: GroupCommit[int] = GroupCommit(commit, reactor.call_from_thread, steady=lambda: now[0])
    first, second = (writer.submit(number, 1 << 20, 1000, Sender("large", "1")) for number in (1, 2))
    reactor.until(first)
    assert reactor.until(writer.submit_background(-1)) == -1
    assert groups == [[1], [-1]]
    now[0] += 3.1
    reactor.until(second)
    reactor.until(writer.close())


def test_closing_does_background_work() -> None:
    """It is done before the writer has closed, whatever it would have to wait for, and is never refused."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(
        lambda updates: disk.commit(updates)._replace(background=1000.0), reactor.call_from_thread, steady=lambda: 1.0
    )
    reactor.until(writer.submit_background(1))
    reactor.until(writer.submit(2))
    waits = writer.submit_background(3)
    writer.refuse_waiting()
    closed = writer.close()
    assert reactor.until(waits) == 6
    reactor.until(closed)
    assert disk.commits == [[1], [2], [3]]
