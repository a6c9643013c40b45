"""Who connects again and again, and comes to nothing, is closed at once; nobody else is."""

from __future__ import annotations

import pytest
from deferreds import result
from server.listener_bench import WHERE
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone
from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pyshard.metrics.collector_time import CollectorTime
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol.boxes import serialize
from pyshard.protocol.commands import Authenticate, Ping
from pyshard.security.tokens_and_roles import parse
from pyshard.server import factory
from pyshard.server.connection import ServerConnection
from pyshard.server.connection_attempts import ConnectionAttempts
from pyshard.server.factory import ServerFactory
from pyshard.server.listener import Listener
from pyshard.server.own_time import OwnTime
from pyshard.settings import settings
from pyshard.testing import MemoryNetwork

TOKENS = parse("read the-secret-of-a-reader")
FLOOD, HONEST = "192.0.2.1", "192.0.2.2"
WHO = IPv4Address("TCP", FLOOD, 1)


def made(attempts: ConnectionAttempts, origin: str, now: float, times: int, beside: bool = False) -> int:
    """How many of so many connections are made that come at one moment."""
    count = 0
    for _ in range(times):
        if attempts.admits(origin, now, beside):
            attempts.add(origin, now)
            count += 1
    return count


@pytest.mark.parametrize(("beside", "most"), [(True, 100), (False, 400)])
def test_attempts_are_bounded(beside: bool, most: int) -> None:
    """Of an address that connects a thousand times a second few connections are made, also in the long run."""
    attempts = ConnectionAttempts()
    assert made(attempts, FLOOD, 5.0, 1000, beside) == most
    assert sum(made(attempts, FLOOD, 5.0 + step / 100, 10, beside) for step in range(1, 1001)) == pytest.approx(
        500, abs=1
    )
    assert made(attempts, HONEST, 15.0, 100, True) == 100


def test_attempts_that_succeed() -> None:
    """Those that come to something count no more, so that any number of clients may connect one behind the other."""
    attempts = ConnectionAttempts()
    for _ in range(1000):
        assert made(attempts, HONEST, 5.0, 40, True) == 40
        for _ in range(40):
            attempts.succeeded(HONEST, 5.0)
    assert len(attempts) == 0
    attempts.succeeded(HONEST, 5.0)
    assert made(attempts, HONEST, 5.0, 1000, True) == 100


def test_silent_connections_keep_nobody_out() -> None:
    """Those that stay open without a word are forgotten, so that others of the address may connect."""
    attempts = ConnectionAttempts()
    made(attempts, FLOOD, 5.0, 1000)
    assert not attempts.admits(FLOOD, 5.0, False)
    assert not attempts.admits(FLOOD, 4.0, False)  # the clock was set back
    assert made(attempts, FLOOD, 13.1, 1000) == 400


def test_addresses_are_forgotten() -> None:
    """However many addresses connect, few are known."""
    attempts = ConnectionAttempts()
    for number in range(100_000):
        attempts.add(f"address {number}", number / 1000)
        assert len(attempts) <= 2000


# -- in the factory -------------------------------------------------------------------------------------------------


class Queue:
    """The connections that wait in the system's queue, by their addresses, in front of a daemon's factory."""

    def __init__(self, origins: list[str], seconds: float = 0.0, guarded: bool = True) -> None:
        self.clock = Clock()
        self.factory = ServerFactory(
            lambda made: ServerConnection(made, self.clock), self.clock, tokens=(lambda: TOKENS) if guarded else None
        )
        self.waiting = origins
        self.made: list[str] = []
        self._seconds = seconds

    def accept(self, count: int) -> None:
        """What the port does."""
        for _ in range(min(count, len(self.waiting))):
            origin = self.waiting.pop(0)
            self.clock.advance(self._seconds)
            if self.factory.may_connect(IPv4Address("TCP", origin, 1)):
                self.made.append(origin)

    def turn(self) -> int:
        """Accept in one turn of the reactor.

        :return: how many were accepted.
        """
        before = len(self.waiting)
        self.factory.accept_in_turn(self.accept)
        return before - len(self.waiting)


def test_hundreds_of_clients_at_once() -> None:
    """A program that opens as many while nobody else asks has all of them, though the daemon has heard nothing yet."""
    queue = Queue([HONEST] * 400)
    assert [queue.turn() for _ in range(40)] == [settings.ACCEPTED_AT_ONCE] * 40
    assert queue.made == [HONEST] * 400


def test_a_queue_full_of_one_address() -> None:
    """What fills the queue is closed by a hundred in a turn, so that whoever stands behind it is reached soon."""
    queue = Queue([FLOOD] * 400)
    while queue.waiting:
        queue.turn()
    queue.waiting = [*[FLOOD] * 800, HONEST]
    assert [queue.turn() for _ in range(9)] == [100] * 8 + [1]
    assert queue.made == [FLOOD] * 400 + [HONEST]


def test_a_collection_while_connections_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is counted for none of their addresses; what accepting takes itself is."""
    queue, counted = Queue([HONEST], seconds=0.25), list[tuple[str, float]]()
    collector = CollectorTime(queue.clock.seconds, queue.clock.seconds)
    monkeypatch.setattr(factory, "COLLECTOR_TIME", collector)
    monkeypatch.setattr(queue.factory.turns, "own_time", OwnTime(queue.clock.seconds, lambda: 0))
    monkeypatch.setattr(queue.factory.turns, "count", lambda origin, used: counted.append((origin, used)))
    may_connect = queue.factory.may_connect

    def collects(peer: IAddress) -> bool:
        collector.note("start", {"generation": 2})
        queue.clock.advance(8)
        collector.note("stop", {"generation": 2})
        return may_connect(peer)

    monkeypatch.setattr(queue.factory, "may_connect", collects)
    queue.turn()
    assert counted == [(HONEST, 0.25)]


def test_closing_takes_a_bounded_time() -> None:
    """To close connections at once doesn't hold up what else is to be served."""
    queue = Queue([FLOOD] * 700, seconds=0.00002)
    while len(queue.waiting) > 290:
        queue.turn()
    assert (queue.turn(), queue.turn()) == (3 * settings.ACCEPTED_AT_ONCE,) * 2


def test_as_many_as_are_made_are_no_reason_for_more() -> None:
    """Only for those that were closed at once others are accepted in the same turn."""
    queue = Queue([*[FLOOD] * 403, *[HONEST] * 20])
    while queue.waiting[3:4] == [FLOOD]:
        queue.turn()
    assert queue.turn() == settings.ACCEPTED_AT_ONCE + 3
    assert queue.made[400:] == [HONEST] * settings.ACCEPTED_AT_ONCE


@pytest.mark.parametrize("beside", [False, True])
def test_time_is_left_behind_those_that_are_closed(beside: bool) -> None:
    """While others ask, most of the time is left to them behind those of an address that connects again and again."""
    queue = Queue([FLOOD] * 400)
    while queue.waiting:
        assert queue.factory.accept_in_turn(queue.accept) == 0
    for _ in range(2 if beside else 0):
        queue.factory.turns.count(HONEST, 0.001)
        queue.factory.turns.count("192.0.2.3", 0.001)
    queue._seconds, queue.waiting = 0.0001, [FLOOD, FLOOD]
    began = queue.clock.seconds()
    pause = queue.factory.accept_in_turn(queue.accept)
    assert pause == pytest.approx(8 * (queue.clock.seconds() - began) if beside else 0, rel=0.01)
    queue.waiting = [HONEST]
    assert queue.factory.accept_in_turn(queue.accept) == 0


@pytest.mark.parametrize("beside", [False, True])
def test_time_is_left_behind_those_of_one_that_connects_often(beside: bool) -> None:
    """It may use each of them, too. A hundred at once, and fifty a second, cost it nothing."""
    queue, pauses = Queue([], guarded=False), list[float]()
    for number in range(280):
        if beside:
            queue.factory.turns.count(HONEST, 0.001)
            queue.factory.turns.count("192.0.2.3", 0.001)
        queue.factory._attempts._origins.clear()  # each comes to something
        queue._seconds, queue.waiting = 0.0002, [FLOOD]
        pauses.append(queue.factory.accept_in_turn(queue.accept))
        queue._seconds, queue.waiting = 0.0, [HONEST] if beside and number % 100 == 0 else []
        assert queue.factory.accept_in_turn(queue.accept) == 0
        queue.clock.advance(0.0002)
    assert queue.made.count(FLOOD) == 280
    assert not any(pauses[:99])
    often = [pause for pause in pauses[150:] if pause]
    assert len(often) == 130 if beside else not often
    assert all(pause == pytest.approx(8 * 0.0002, rel=0.01) for pause in often)
    queue.clock.advance(3)
    queue._seconds, queue.waiting = 0.0002, [FLOOD]
    assert queue.factory.accept_in_turn(queue.accept) == 0


@pytest.mark.parametrize("beside", [False, True])
def test_most_of_those_that_are_used_are_closed(beside: bool, log_lines: list[str]) -> None:
    """While others ask, of one address that connects all the time 200 a second are made, and 300 at once."""
    queue = Queue([], guarded=False)
    for _ in range(4000):
        if beside:
            queue.factory.turns.count(HONEST, 0.0001)
            queue.factory.turns.count("192.0.2.3", 0.0001)
        queue.factory._attempts._origins.clear()  # each comes to something
        queue.waiting = [FLOOD]
        queue.turn()
        queue.clock.advance(0.001)
    made = queue.made.count(FLOOD)
    assert 1050 <= made <= 1110 if beside else made == 4000
    assert any("connects again and again while others ask" in line for line in log_lines) is beside


def test_the_line_says_why(log_lines: list[str]) -> None:
    """One line tells that an address is closed at once."""
    queue = Queue([FLOOD] * 500)
    while queue.waiting:
        queue.turn()
    assert log_lines == [
        f"warn: further connections are closed without a word: {FLOOD} connects again and again, and comes to nothing"
    ]


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("asks", [False, True])
def test_what_comes_to_something(guarded: bool, asks: bool) -> None:
    """A connection does that presents a token, or, where there are none, asks anything."""
    network = MemoryNetwork(Clock())
    tokens = (lambda: TOKENS) if guarded else None
    factory = ServerFactory(lambda made: ServerConnection(made, network.clock), network.clock, tokens=tokens)
    Listener(network.clock, network.listen(*WHERE), factory).startService()
    count = 0
    while count < 500 and factory.may_connect(IPv4Address("TCP", WHERE[0], 1)):
        count += 1
        peer = result(network.dial(*WHERE).connect(Factory.forProtocol(lambda: BoundedAMP(network.clock))))
        assert isinstance(peer, BoundedAMP)
        answers = []
        if asks and guarded:
            answers.append(peer.call(Authenticate, 1000, token=b"the-secret-of-a-reader"))
        elif asks or guarded:  # a stranger's question comes to nothing
            answers.append(peer.call(Ping, 1000))
        network.settle()
        assert all(result(answer) is not None for answer in answers)
    assert count == (500 if asks else 400)


@pytest.mark.parametrize("ends", ["unanswered", "unserved", "answered", "answered, in its turn", "aborted here"])
def test_who_does_not_wait_for_answers(ends: str) -> None:
    """A connection comes to nothing, too, whose peer ends it before what it has asked is answered."""
    clock = Clock()
    factory = ServerFactory(lambda made: ServerConnection(made, clock), clock)
    count = 0
    while count < 500 and factory.may_connect(WHO):
        count += 1
        side = factory.buildProtocol(WHO)
        side.makeConnection(StringTransport())
        if ends == "unserved":
            side.wait_for_turn()
        side.dataReceived(serialize({b"_command": b"Ping", b"_ask": b"1"}))
        if ends in ("unanswered", "aborted here"):
            side.answering += 1  # a change that waits for the disk
        elif ends != "answered":
            side.end_unserved()
        side.connectionLost(Failure(ConnectionAborted() if ends in ("aborted here", "unserved") else ConnectionDone()))
    assert count == (400 if ends in ("unanswered", "unserved") else 500)
