"""Where Twisted accepts, reads and writes: pyshard's functions are called there, in turns that are counted."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest
from net.ready_descriptor import Ready
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.selectreactor import SelectReactor
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from pyshard.net.twisted_internals import (
    bound_accepts,
    poll_lightly,
    turn_number,
    unwrap_reads_and_writes,
    wrap_reads_and_writes,
)


@pytest.mark.parametrize("tls", [False, True])
def test_bound_accepts(tls: bool) -> None:
    """In one turn a port accepts so many connections, also when more come again and again; some are closed."""
    made: list[object] = []
    factory = Factory()
    factory.buildProtocol = made.append  # type: ignore[method-assign,assignment]  # which closes each at once
    reactor = EPollReactor()
    around: list[str] = []

    def in_turn(accept: Callable[[int], None]) -> None:
        around.append("begun")
        accept(2)
        accept(1)
        around.append("ended")

    outer = TLSMemoryBIOFactory(CertificateOptions(), False, factory) if tls else factory
    port = reactor.listenTCP(0, outer, backlog=100, interface="127.0.0.1")
    bound_accepts(port, in_turn, lambda _: not tls and len(made) < 12)
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


def test_a_pause_between_accepts() -> None:
    """A port accepts none for as long as it is told; unless it was closed meanwhile, it goes on then."""
    made: list[object] = []
    factory = Factory()
    factory.buildProtocol = made.append  # type: ignore[method-assign,assignment]  # which closes each at once
    reactor, clock = EPollReactor(), Clock()
    vars(reactor)["callLater"] = clock.callLater
    for closed in (False, True):
        port = reactor.listenTCP(0, factory, interface="127.0.0.1")

        def in_turn(accept: Callable[[int], None]) -> float:
            accept(1)
            return 0.5

        bound_accepts(port, in_turn, lambda _: True)
        peers = [socket.create_connection(("127.0.0.1", port.getHost().port)) for _ in range(2)]
        made.clear()
        port.doRead()
        assert (len(made), port in reactor.getReaders()) == (1, False)
        clock.advance(0.4)
        assert port not in reactor.getReaders()
        port.disconnecting = closed
        clock.advance(0.2)
        assert (port in reactor.getReaders()) is not closed
        for peer in peers:
            peer.close()
        port.stopReading()
        port.socket.close()


def test_other_ports_are_left_alone() -> None:
    """What is no port of TCP isn't touched, such as one in memory."""
    bound_accepts(object(), lambda accept: accept(3), lambda _: True)
    wrap_reads_and_writes(object(), lambda read: read, lambda write: write)
    unwrap_reads_and_writes(object())


@pytest.mark.parametrize("tls", [False, True])
def test_wrap_reads_and_writes(tls: bool) -> None:
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

    wrap_reads_and_writes(transport, around, around)
    ready.theirs.send(b"xx")
    for _ in range(2):
        reactor.doIteration(1)
    assert calls == ["around", "read", "around"]
    ready.doWrite()
    assert calls[3:] == ["around"]
    unwrap_reads_and_writes(transport)
    reactor.doIteration(1)
    assert calls[4:] == ["read"]
    unwrap_reads_and_writes(transport)
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
