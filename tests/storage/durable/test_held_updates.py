"""Large updates that are held, for the sake of what the store has to do for itself."""

from __future__ import annotations

import time
from collections.abc import Sequence

from storage.durable.writer_bench import Disk, Reactor

from pyshard.storage.durable.group_commit import GroupCommit
from pyshard.storage.interface import ITSELF, Sender

LARGE = 1 << 20  # bytes


def test_what_is_small_of_the_store_itself_comes_first() -> None:
    """It waits for what is just being committed, and for none of the others that wait."""
    disk, reactor = Disk(), Reactor()
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread)
    disk.unblocked.clear()
    disk.begun.clear()
    done = [writer.submit(0, LARGE, 1000, Sender("busy", "0"))]
    disk.begun.wait(10)
    done += [writer.submit(number, 100, 1, Sender(str(number), "1")) for number in range(1, 20)]
    done += [writer.submit(number, LARGE, 1, Sender("greedy", str(number))) for number in range(20, 40)]
    done.append(writer.submit(100))
    disk.unblocked.set()
    for each in done:
        reactor.until(each)
    assert disk.commits[0] == [0]
    assert disk.commits[1][0] == 100
    reactor.until(writer.close())


def test_large_updates_are_held() -> None:
    """None of others is begun for so long, nor with others; small ones are, and whatever the store itself has."""
    reactor, disk, now = Reactor(), Disk(), [1.0]
    writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread, steady=lambda: now[0])
    writer.hold_large(0.3)
    held = [writer.submit(number, LARGE, 1000, Sender("greedy", str(number))) for number in range(5)]
    assert reactor.until(writer.submit(10, LARGE, 1000)) == 20
    assert reactor.until(writer.submit(11, 2000, 1, Sender("honest", "1"))) == 22
    now[0] += 0.29
    assert reactor.until(writer.submit(12)) == 24
    time.sleep(0.05)
    assert disk.commits == [[10], [11], [12]]
    now[0] += 0.02
    for number, each in enumerate(held):
        assert reactor.until(each) == 2 * number
    reactor.until(writer.close())


def test_large_updates_that_are_let_go() -> None:
    """They go on as soon as they may, without waiting for the time to be over; and when the store is closed."""
    for closed in (False, True):
        reactor, disk = Reactor(), Disk()
        writer: GroupCommit[int] = GroupCommit(disk.commit, reactor.call_from_thread, steady=lambda: 1.0)
        writer.hold_large(1000)
        held = writer.submit(1, LARGE, 1000, Sender("greedy", "1"))
        time.sleep(0.02)
        assert disk.commits == []
        ended = writer.close() if closed else None
        if not closed:
            writer.hold_large(0)
        assert reactor.until(held) == 2
        reactor.until(ended or writer.close())


def test_the_order_of_the_store_itself() -> None:
    """What it has to do is done in order, whatever is held meanwhile."""
    order: list[int] = []
    reactor, disk = Reactor(), Disk()

    def commit(updates: Sequence[int]) -> object:
        order.extend(updates)
        return disk.commit(updates)

    writer: GroupCommit[int] = GroupCommit(commit, reactor.call_from_thread)  # type: ignore[arg-type]
    disk.unblocked.clear()
    done = [writer.submit(0, LARGE, 1, Sender("busy", "1"))]
    for number in range(1, 30):
        if number == 10:
            writer.hold_large(5)
        done.append(writer.submit(number, LARGE if number % 3 else 0, 1, ITSELF))
    disk.unblocked.set()
    for each in done:
        reactor.until(each)
    assert [number for number in order if number] == list(range(1, 30))
    reactor.until(writer.close())
