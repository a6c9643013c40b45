"""Private names of Twisted: each is there, and does what pyshard takes it to do.

A failure here, or in test_twisted_reads_and_accepts.py, means that Twisted has changed something inside. Look at what
uses the name, and mend that.
"""

from __future__ import annotations

import ast
import socket
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from net.ready_descriptor import Ready
from twisted.internet.abstract import FileDescriptor
from twisted.internet.asyncioreactor import AsyncioSelectorReactor
from twisted.internet.base import BlockingResolver, ReactorBase
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.pollreactor import PollReactor
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.task import Clock
from twisted.internet.tcp import Connection
from twisted.protocols import amp
from twisted.python.failure import Failure

import pyshard
from pyshard.net.twisted_internals import (
    NO_TIMEOUT,
    begin_amp,
    call_soon,
    discard_unwritten,
    goes_by_the_wall_clock,
    poll_lightly,
    resolves_in_its_thread_pool,
    send_both_now,
    send_now,
    set_clock,
)

#: Names of Twisted's objects that begin with an underscore, and the modules that may use them.
PRIVATE = {
    "_ampInitialized": {"net/twisted_internals.py"},
    "_outstandingRequests": {"net/twisted_internals.py"},
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
        connection.connected = 1
        left = send_now(connection, b"x" * size)
        assert (left == b"") is (size == 1000)
        if left:
            assert send_now(connection, left) == left
        ours.close()
        assert len(theirs.recv(size, socket.MSG_WAITALL)) == size - len(left)


@pytest.mark.parametrize(("first", "second"), [(5, 1000), (5, 10_000_000), (10_000_000, 5)])
def test_send_both_now_over_tcp(first: int, second: int) -> None:
    """What a connection's socket takes of both is sent at once, in order, and the rest of each is given back."""
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        connection = Connection(ours, Protocol(), EPollReactor())
        connection.connected = 1
        left = send_both_now(connection, b"1" * first, b"2" * second)
        taken = first - len(left[0]), second - len(left[1])
        assert taken[0] == first or not taken[1]
        assert (left == (b"", b"")) is (sum((first, second)) < 10_000)
        ours.close()
        assert theirs.recv(sum(taken), socket.MSG_WAITALL) == b"1" * taken[0] + b"2" * taken[1]


def test_send_both_now_behind_what_waits() -> None:
    """Nothing overtakes it; nor is anything sent by another transport than that of a socket."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        connection = Connection(ours, Protocol(), EPollReactor())
        connection.connected = 1
        connection.dataBuffer = b"waits"
        assert send_both_now(connection, b"1", b"2") == (b"1", b"2")
    assert send_both_now(Descriptor(10), b"1", b"2") == (b"1", b"2")


def test_send_now_over_a_lost_tcp_connection() -> None:
    """An error of the system leaves everything to the reactor's own attempt."""
    ours, theirs = socket.socketpair()
    theirs.close()
    with ours:
        connection = Connection(ours, Protocol(), EPollReactor())
        connection.connected = 1
        assert send_now(connection, b"abc") == b"abc"
        assert send_both_now(connection, b"abc", b"def") == (b"abc", b"def")


def test_send_now_while_a_tcp_connection_is_lost() -> None:
    """It has no socket any more when its protocol is told of the loss."""
    left: list[bytes] = []

    class Sends(Protocol):
        def connectionLost(self, reason: Failure = connectionDone) -> None:
            left.append(send_now(connection, b"abc"))
            connection.write(b"abc")

    ours, theirs = socket.socketpair()
    with theirs:
        connection = Connection(ours, Sends(), EPollReactor())
        connection.connected = 1
        connection.connectionLost(Failure(ConnectionDone()))
        assert (left, theirs.recv(1)) == ([b"abc"], b"")


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


@pytest.mark.parametrize(("timeout", "waits"), [(0.0003, [0.0003]), (0.0, []), (0.5, []), (-1.0, [])])
def test_short_waits(monkeypatch: pytest.MonkeyPatch, timeout: float, waits: list[float]) -> None:
    """Less than the millisecond that `epoll` knows is waited for as it is, and what is ready then is served."""
    reactor = EPollReactor()
    poll_lightly(reactor)
    served: list[int] = []
    ready: Ready = Ready(reactor, lambda: served.append(1))
    ready.theirs.send(b"x")
    waited: list[float] = []
    monkeypatch.setattr("select.select", lambda *arguments: waited.append(arguments[3]))
    reactor.doIteration(timeout)
    assert (waited, served) == (waits, [1])
    ready.stopReading()
    ready.connectionLost(Failure(ConnectionDone()))


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


@pytest.mark.parametrize("kind", [EPollReactor, PollReactor, SelectReactor, AsyncioSelectorReactor])
def test_twisteds_own_resolver(kind: Callable[[], ReactorBase]) -> None:
    """A reactor asks for names in its thread pool, unless the program has installed another resolver."""
    reactor = kind()
    assert resolves_in_its_thread_pool(reactor.nameResolver)
    reactor.installResolver(BlockingResolver())
    assert not resolves_in_its_thread_pool(reactor.nameResolver)


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


def test_begin_amp() -> None:
    """It leaves out what files are counted by, and nothing else that AMP's constructor does."""
    begun, made = amp.AMP.__new__(amp.AMP), amp.AMP()
    begin_amp(begun)
    files = {"_descriptors", "_getDescriptor", "_sendingDescriptorCounter", "_receivingDescriptorCounter"}
    assert set(vars(begun)) == set(vars(made)) - files
    assert (begun.locator, begun.boxReceiver, begun._outstandingRequests) == (begun, begun, {})
    assert begun._ampInitialized
