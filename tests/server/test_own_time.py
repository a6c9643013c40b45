"""What other processes have the processor for while somebody is served is counted for nobody."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from server.turns_bench import Bench, Connection, busy_bench, wait_of
from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from pyshard.metrics.disk_reads import disk_reads
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.server.own_time import LONG, OwnTime

LOST = 0.1  # seconds for which others have the processor


class Thread:
    """What the system tells of a thread."""

    def __init__(self) -> None:
        self.had = 5.0
        self.reads = 7
        self.own = OwnTime(lambda: self.had, lambda: self.reads)


def test_what_counts() -> None:
    """Of what took long as much as the thread has had of a processor since the look; of all else everything."""
    thread = Thread()
    thread.own.look(100.0)
    thread.had += 0.0003
    assert thread.own.of(0.0015) == 0.0015
    assert thread.own.of(LOST) == pytest.approx(0.0003)
    thread.had += 1.0
    assert thread.own.of(LOST) == LOST
    thread.had -= 2.0  # as after a fork
    assert thread.own.of(LOST) == 0


def test_what_counts_of_a_box() -> None:
    """What the thread has had of a processor since it began; where that wasn't asked, no more than a short time."""
    thread = Thread()
    thread.own.look(100.0)
    thread.had += 0.0001
    assert thread.own.of_box(LONG / 2, 5.0) == LONG / 2
    assert thread.own.of_box(0.001, 5.0) == pytest.approx(0.0001)
    assert thread.own.of_box(0.001, 4.0) == 0.001
    assert thread.own.of_box(0.001, 6.0) == 0
    assert thread.own.of_box(0.001, None) == LONG
    assert thread.own.of_box(LOST, None) == pytest.approx(0.0001)
    thread.reads += 1
    assert thread.own.of_box(0.001, 5.0) == thread.own.of_box(0.001, None) == 0.001


def test_looks() -> None:
    """A look does for a millisecond, since it takes time itself; after the clock was put back, there is a new one."""
    thread = Thread()
    for at, had in ((100.0, 5.0), (100.0009, 5.0009), (100.0011, 5.0011), (99.0, 5.002)):
        thread.had = had
        thread.own.look(at)
        thread.had += 0.01
        assert thread.own.of(LOST) == pytest.approx(0.0109 if at == 100.0009 else 0.01)


def test_time_that_a_disk_took() -> None:
    """All counts if memory had to be read from a disk, since it is who asked for it that others wait for."""
    thread = Thread()
    thread.own.look(100.0)
    thread.reads += 1
    assert thread.own.of(LOST) == LOST
    thread.own.look(101.0)
    assert thread.own.of(LOST) == 0


def test_disk_reads() -> None:
    """The system tells how many there were."""
    assert 0 <= disk_reads() <= disk_reads()


# -- in turns ------------------------------------------------------------------------------------------------------


@pytest.fixture
def bench() -> Bench:
    """Turns in which several addresses ask all the time."""
    return busy_bench()


def lose(bench: Bench, seconds: float) -> None:
    """Have others have the processor."""
    bench.clock.rightNow += seconds
    bench.taken += seconds


def test_no_wait_for_a_lost_processor(bench: Bench) -> None:
    """Whoever was served when others had it waits no longer for the next things; if a disk was read, it does."""
    honest = bench.peer("honest", cost=0.00003)
    for _ in range(300):
        bench.ask(honest)
    for _ in range(20):
        honest.taken = LOST
        bench.ask(honest)
        honest.taken = 0.0
        assert max(wait_of(bench, honest) for _ in range(10)) < 0.005
        assert honest.account == honest.origin
    honest.taken = LOST
    serve_next = honest.serve_next

    def reads() -> bool:
        bench.reads += 1
        return serve_next()

    honest.serve_next = reads  # type: ignore[method-assign]  # for the box of this one
    bench.ask(honest)
    honest.taken = 0.0
    assert wait_of(bench, honest) > 0.02


def test_no_wait_for_milliseconds_that_others_had(bench: Bench) -> None:
    """Whoever loses the processor for a moment now and then is served as soon as before. None of its boxes is long."""
    honest, waits = bench.peer("honest", cost=0.00003), []
    for number in range(1000):
        honest.taken = 0.0015 if number % 10 == 5 else 0.0
        bench.ask(honest)
        honest.taken = 0.0
        waits.append(wait_of(bench, honest))
        assert honest.account == honest.origin
    assert max(waits[300:]) < 0.0005


def test_no_wait_for_milliseconds_that_others_had_while_answering(bench: Bench) -> None:
    """Nor does an answer count as a long thing that came late and was given while others had the processor."""
    honest, waits = bench.peer("honest", cost=0.00003), []
    for _ in range(300):
        bench.ask(honest)
        bench.turns.answer(honest, lambda: lose(bench, 0.0015))
        waits.append(wait_of(bench, honest))
    assert max(waits[100:]) < 0.0005


def test_who_had_one_long_box(bench: Bench) -> None:
    """Its next boxes are found to be short, though nobody has looked how much of the processor they take."""
    honest = bench.peer("honest", cost=0.003)
    bench.ask(honest)
    bench.away(0.05)
    bench.ask(honest)
    assert honest.account != honest.origin
    bench.away(1.0)
    honest.cost = 0.00003
    for _ in range(1000):
        bench.ask(honest)
    assert honest.account == honest.origin


@pytest.mark.parametrize("lost", [0.0015, 0.015])
@pytest.mark.parametrize("wrapped", ["reading", "writing"])
def test_no_wait_for_one_lost_while_reading_or_writing(bench: Bench, wrapped: str, lost: float) -> None:
    """Nor does it count for whoever was read from, or written to."""
    honest = bench.peer("honest", cost=0.00003)
    for _ in range(300):
        bench.ask(honest)
    bench.clock.rightNow += 0.01  # somebody was served, since it was looked last
    wrap: Callable[[Connection, Callable[[], object]], Callable[[], object]] = getattr(bench.turns, wrapped)
    wrap(honest, lambda: lose(bench, lost))()  # less than it takes until others count as gone
    assert wait_of(bench, honest) < 0.0005
    assert honest.account == honest.origin


def test_a_lost_processor_in_the_box_that_was_read(bench: Bench) -> None:
    """What was lost in a box isn't counted as time to read it."""
    honest = bench.peer("honest", cost=0.00003)
    for _ in range(300):
        bench.ask(honest)
    honest.taken = LOST
    bench.turns.reading(honest, lambda: honest.arrive(1))()
    honest.taken = 0.0
    assert wait_of(bench, honest) < 0.005


def test_who_asks_alone_and_loses_the_processor() -> None:
    """It is no reason to wait when others come."""
    bench = Bench()
    honest = bench.peer("honest", cost=0.00003)
    for _ in range(300):
        bench.ask(honest)
    honest.taken = LOST
    bench.ask(honest)
    honest.taken = 0.0
    bench.peer("busy", cost=0.00003).arrive(1_000_000)
    assert max(wait_of(bench, honest) for _ in range(10)) < 0.005


class Counted:
    """A daemon's factory, and what is counted for whom."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock, self.had = Clock(), 5.0
        self.factory = ServerFactory(lambda made: ServerConnection(made, self.clock), self.clock)
        self.counted: list[float] = []
        turns = self.factory.turns
        monkeypatch.setattr(turns, "own_time", OwnTime(lambda: self.had, lambda: 0))
        monkeypatch.setattr(turns, "count", lambda _, used: self.counted.append(used))

    def work(self) -> None:
        """Have a processor work for a millisecond, and others have it for longer."""
        self.had += 0.001
        self.clock.rightNow += LOST


def test_a_lost_processor_while_connections_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted for none of their addresses."""
    daemon, peer = Counted(monkeypatch), IPv4Address("TCP", "192.0.2.1", 1)

    def accept(_: int) -> None:
        if daemon.factory.may_connect(peer):
            daemon.work()

    daemon.factory.accept_in_turn(accept)
    assert daemon.counted == [pytest.approx(0.001)]
    connection = daemon.factory.buildProtocol(peer)
    connection.makeConnection(StringTransport())
    monkeypatch.setattr(daemon.factory, "connection_lost", lambda _: daemon.work())
    daemon.clock.advance(1)
    connection.connectionLost()
    assert daemon.counted[1:] == [pytest.approx(0.001)]
