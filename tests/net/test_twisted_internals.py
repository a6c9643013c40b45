"""Private names of Twisted: each is there, and does what pyshard takes it to do.

A failure here means that Twisted has changed something inside. Look at what uses the name, and mend that.
"""

from __future__ import annotations

import ast
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from twisted.internet.abstract import FileDescriptor
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import ReactorBase
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.pollreactor import PollReactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

import pyshard
from pyshard.net.twisted_internals import (
    NO_TIMEOUT,
    bound_accepts,
    call_around,
    call_soon,
    discard_unwritten,
    goes_by_the_wall_clock,
    poll_lightly,
    send_now,
    set_clock,
    turn_number,
)

#: Names of Twisted's objects that begin with an underscore, and the modules that may use them.
PRIVATE = {
    "_tempDataBuffer": {"net/twisted_internals.py"},
    "_disconnectSelectable": {"net/twisted_internals.py"},
    "_doReadOrWrite": {"net/twisted_internals.py"},
    "_poller": {"net/twisted_internals.py"},
    "_selectables": {"net/twisted_internals.py"},
    "_tempDataLen": {"net/twisted_internals.py"},
}


class Descriptor(FileDescriptor):
    """A descriptor whose system takes so many bytes at a time."""

    def __init__(self, takes: int | Exception) -> None:
        super().__init__(EPollReactor())
        self.takes = takes
        self.sent = b""
        self.connected = 1

    def writeSomeData(self, data: bytes) -> int | Exception:
        if isinstance(self.takes, Exception):
            return self.takes
        self.sent += data[: self.takes]
        return min(self.takes, len(data))

    def startWriting(self) -> None:  # noqa: N802  # Twisted's name
        """Nothing is written before the test does it."""


@pytest.mark.parametrize(("takes", "left"), [(10, b""), (3, b"def"), (0, b"abcdef")])
def test_send_now(takes: int, left: bytes) -> None:
    """What the system takes is sent at once; the rest is given back."""
    descriptor = Descriptor(takes)
    assert send_now(descriptor, b"abcdef") == left
    assert descriptor.sent + left == b"abcdef"


def test_send_now_on_a_lost_connection() -> None:
    """An error of the system leaves everything to the reactor's own attempt."""
    assert send_now(Descriptor(ConnectionDone()), b"abc") == b"abc"


@pytest.mark.parametrize("size", [1000, 10_000_000])
def test_send_now_over_tcp(size: int) -> None:
    """What a connection's socket takes is sent at once, and where it takes no more, the rest is given back."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        connection = Connection(ours, Protocol(), EPollReactor())
        left = send_now(connection, b"x" * size)
        assert (left == b"") is (size == 1000)
        if left:
            assert send_now(connection, left) == left
        ours.close()
        assert len(theirs.recv(size, socket.MSG_WAITALL)) == size - len(left)


def test_send_now_over_a_lost_tcp_connection() -> None:
    """An error of the system leaves everything to the reactor's own attempt."""
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        assert send_now(Connection(ours, Protocol(), EPollReactor()), b"abc") == b"abc"


def test_what_waits_goes_first() -> None:
    """While anything waits in the transport, just written or left over, nothing overtakes it."""
    descriptor = Descriptor(2)
    descriptor.write(b"first")
    assert send_now(descriptor, b"second") == b"second"
    descriptor.doWrite()  # takes two bytes; the rest is left over
    assert descriptor.sent == b"fi"
    assert send_now(descriptor, b"second") == b"second"
    descriptor.takes = 10
    descriptor.doWrite()
    assert send_now(descriptor, b"second") == b""
    assert descriptor.sent == b"firstsecond"


def test_discard_unwritten() -> None:
    """What was written, and what was left over, is forgotten; the transport goes on."""
    descriptor = Descriptor(2)
    descriptor.write(b"gone")
    descriptor.doWrite()
    descriptor.write(b"too")
    discard_unwritten(descriptor)
    descriptor.doWrite()
    assert descriptor.sent == b"go"
    descriptor.write(b"on")
    descriptor.doWrite()
    assert descriptor.sent == b"goon"


class Ready(FileDescriptor):
    """A descriptor that can be read when its pair was written to."""

    def __init__(self, reactor: EPollReactor, then: Callable[[], object]) -> None:
        super().__init__(reactor)
        self.ours, self.theirs = socket.socketpair()
        self.then, self.lost = then, ""
        self.connected = 1
        self.startReading()

    def fileno(self) -> int:
        return self.ours.fileno()

    def doRead(self) -> None:  # Twisted's name
        """Read one byte, then do what was wanted."""
        self.ours.recv(1)
        self.then()

    def connectionLost(self, reason: Failure) -> None:  # Twisted's name
        super().connectionLost(reason)
        self.lost = reason.type.__name__ if reason.type else ""
        self.ours.close()
        self.theirs.close()


def test_poll_lightly(logged_errors: Callable[..., list[BaseException]]) -> None:
    """What is ready is served; what raises is logged and ended; what one before it has ended isn't served."""
    reactor = EPollReactor()
    poll_lightly(reactor)
    served: list[str] = []
    first: Ready = Ready(reactor, lambda: served.append("first"))
    first.theirs.send(b"x")
    reactor.doIteration(1)
    reactor.doIteration(0)
    assert served == ["first"]
    failing = Ready(reactor, lambda: 1 / 0)
    failing.theirs.send(b"x")
    reactor.doIteration(1)
    assert failing.lost == "ZeroDivisionError"
    assert [type(error) for error in logged_errors()] == [ZeroDivisionError]

    def end_the_other(other: list[Ready]) -> None:
        served.append("one of two")
        (both[1] if both[0] is other[0] else both[0]).stopReading()

    both: list[Ready] = []
    for _ in range(2):
        mine: list[Ready] = []
        mine.append(Ready(reactor, partial(end_the_other, mine)))
        both += mine
    for one in both:
        one.theirs.send(b"x")
    reactor.doIteration(1)
    assert served == ["first", "one of two"]
    for one in [first, *both]:
        one.stopReading()
        one.connectionLost(Failure(ConnectionDone()))


def test_poll_lightly_on_other_reactors() -> None:
    """Other reactors stay as they are."""
    reactor = SelectReactor()
    before = reactor.doIteration
    poll_lightly(reactor)
    assert reactor.doIteration == before


REACTORS = pytest.mark.parametrize("kind", [EPollReactor, PollReactor, SelectReactor, AsyncioSelectorReactor])


@REACTORS
def test_set_clock(kind: type[ReactorBase]) -> None:
    """Twisted's reactors go by the wall clock; given another one, their timers and waits go by that."""
    reactor, clock, made = kind(), Clock(), list[object]()
    assert goes_by_the_wall_clock(reactor)
    set_clock(reactor, clock.seconds)
    assert not goes_by_the_wall_clock(reactor)
    call = reactor.callLater(5, made.append, 1)
    assert (call.getTime(), reactor.timeout()) == (5, 5)
    clock.advance(4)
    reactor.runUntilCurrent()
    assert (made, reactor.timeout()) == ([], 1)
    call.reset(3)
    clock.advance(3)
    reactor.runUntilCurrent()
    assert made == [1]


@REACTORS
def test_call_soon(kind: type[ReactorBase]) -> None:
    """Calls come in the next turn, in order, without a wait, though the clock is put back ten years before that."""
    reactor, clock, made = kind(), Clock(), list[object]()
    clock.rightNow = 2e9
    set_clock(reactor, clock.seconds)
    for number in range(5):
        call_soon(reactor, made.append, number)
    clock.rightNow -= 10 * 365 * 86_400
    assert reactor.timeout() == 0
    assert made == []
    reactor.runUntilCurrent()
    assert made == list(range(5))


def test_a_clock_is_no_reactor() -> None:
    """A clock in a reactor's place doesn't go by the wall clock."""
    assert not goes_by_the_wall_clock(Clock())


@pytest.mark.parametrize(("kind", "host"), [(TCP4ClientEndpoint, "127.0.0.1"), (TCP6ClientEndpoint, "::1")])
def test_no_timeout(kind: type[TCP4ClientEndpoint], host: str) -> None:
    """An attempt to connect sets no timer of the reactor's."""
    reactor = EPollReactor()
    failed: list[object] = []
    attempt = kind(reactor, host, 1, NO_TIMEOUT).connect(Factory()).addErrback(failed.append)
    assert [call.getTime() - reactor.seconds() > 1 for call in reactor.getDelayedCalls()].count(True) == 0
    attempt.cancel()
    assert len(failed) == 1


def test_only_these_modules_use_them() -> None:
    """A private name of Twisted is used where the list says, and nowhere else."""
    package = Path(pyshard.__file__).parent
    used: dict[str, set[str]] = {}
    for path in package.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            name = node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
            if name in PRIVATE:
                used.setdefault(name, set()).add(str(path.relative_to(package)))
    assert used == PRIVATE


@pytest.mark.parametrize("tls", [False, True])
def test_bound_accepts(tls: bool) -> None:
    """In one turn a port accepts so many connections, also when more come again and again; some are closed."""
    made: list[object] = []
    factory = Factory()
    factory.buildProtocol = made.append  # type: ignore[method-assign,assignment]  # which closes each at once
    reactor = EPollReactor()
    around: list[str] = []

    def timed(accept: Callable[[], None]) -> None:
        around.append("begun")
        accept()
        around.append("ended")

    outer = TLSMemoryBIOFactory(CertificateOptions(), False, factory) if tls else factory
    port = reactor.listenTCP(0, outer, backlog=100, interface="127.0.0.1")
    bound_accepts(port, lambda: 3, timed, lambda _: not tls and len(made) < 12)
    peers = [socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(20)]
    for turn in range(1, 6):
        port.doRead()
        assert len(made) == (0 if tls else min(12, 3 * turn))
        assert around == ["begun", "ended"] * turn
    assert peers[14].recv(1) == b""
    with pytest.raises(BlockingIOError):
        peers[15].recv(1, socket.MSG_DONTWAIT)
    for peer in peers:
        peer.close()
    port.stopReading()
    port.socket.close()


def test_other_ports_are_left_alone() -> None:
    """What is no port of TCP isn't touched, such as one in memory."""
    bound_accepts(object(), lambda: 3, lambda accept: accept(), lambda _: True)
    call_around(object(), lambda read: read, lambda write: write)()


@pytest.mark.parametrize("tls", [False, True])
def test_call_around(tls: bool) -> None:
    """Whatever the reactor has a transport read or write can be seen, and left undone; until that is ended."""
    reactor = EPollReactor()
    ready = Ready(reactor, lambda: calls.append("read"))
    transport: object = ready
    if tls:
        transport = ProtocolWrapper(WrappingFactory(Factory()), Protocol())
        transport.makeConnection(ready)
    calls: list[str] = []

    def around(read: Callable[[], object]) -> Callable[[], object]:
        def called() -> object:
            calls.append("around")
            return read() if len(calls) < 3 else None

        return called

    end = call_around(transport, around, around)
    ready.theirs.send(b"xx")
    for _ in range(2):
        reactor.doIteration(1)
    assert calls == ["around", "read", "around"]
    ready.doWrite()
    assert calls[3:] == ["around"]
    end()
    reactor.doIteration(1)
    assert calls[4:] == ["read"]
    end()
    ready.stopReading()
    ready.connectionLost(Failure(ConnectionDone()))


def test_turn_number(poll_in_turns: EPollReactor) -> None:
    """What is called in a turn of the reactor and what is read in it have one number; the next turn has another."""
    turn = turn_number(poll_in_turns)
    assert turn is not None
    numbers: list[int] = []
    ready = Ready(poll_in_turns, lambda: numbers.append(turn()))
    for _ in range(3):
        ready.theirs.send(b"x")
        poll_in_turns.callLater(0, lambda: numbers.append(turn()))
        poll_in_turns.runUntilCurrent()
        poll_in_turns.doIteration(1)
    first = numbers[0]
    assert numbers == [first, first, first + 1, first + 1, first + 2, first + 2]
    assert turn_number(SelectReactor()) is None
    ready.stopReading()
    ready.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def poll_in_turns() -> EPollReactor:
    """A reactor whose turns are counted."""
    reactor = EPollReactor()
    poll_lightly(reactor)
    return reactor
