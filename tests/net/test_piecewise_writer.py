"""Large boxes over TLS: in pieces as the transport drains, in order, and closed behind the last one."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IPushProducer, ITransport
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory

from pyshard.net.bounded_box_stream import BoxStream
from pyshard.net.piecewise_writer import PIECE, PiecewiseWriter, writer_for
from pyshard.protocol.boxes import serialize
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory

ENOUGH = 128 * 1024  # bytes with which the transport has enough


class Transport(ProtocolWrapper):
    """A transport as one with TLS is: it takes all that it is given, and tells its producer when it has enough."""

    def __init__(self, wrapped: Protocol | None = None) -> None:
        super().__init__(WrappingFactory(Factory()), wrapped or Protocol())
        self.sent = b""
        self.held = self.most = 0
        self.producer: IPushProducer | None = None
        self.events: list[str] = []
        self.paused = False

    def write(self, data: bytes) -> None:
        assert "lost" not in self.events
        self.sent += data
        self.held += len(data)
        self.most = max(self.most, self.held)
        if self.producer is not None and self.held > ENOUGH and not self.paused:
            self.paused = True
            self.producer.pauseProducing()

    def drain(self) -> int:
        """Have the peer read all that was written; how many bytes that was."""
        drained, self.held = self.held, 0
        if self.paused and self.producer is not None:
            self.paused = False
            self.producer.resumeProducing()
        return drained

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        assert self.producer is None
        assert streaming
        self.producer = producer

    def unregisterProducer(self) -> None:
        self.producer, self.paused = None, False

    def getPeer(self) -> IPv4Address:
        return IPv4Address("TCP", "192.0.2.1", 40001)

    def loseConnection(self) -> None:
        assert self.producer is None  # else it wouldn't close
        self.events.append("lost")

    def abortConnection(self) -> None:
        self.events.append("aborted")

    def pauseProducing(self) -> None:
        self.events.append("stops reading")

    def resumeProducing(self) -> None:
        self.events.append("reads on")


def dialed(transport: Transport) -> BoxStream:
    """A connection of a side that dials."""
    made = BoxStream(Clock())
    made.makeConnection(cast(ITransport, transport))
    return made


def accepted(transport: Transport) -> BoxStream:
    """A daemon's connection."""
    clock = Clock()
    made = ServerConnection(ServerFactory(lambda factory: ServerConnection(factory, clock), clock), clock)
    made.makeConnection(cast(ITransport, transport))
    return made


SIDES = pytest.mark.parametrize("side", [dialed, accepted])
Side = Callable[[Transport], BoxStream]


def boxes() -> list[dict[bytes, bytes]]:
    """A large one between small ones."""
    large = {b"%d" % number: bytes([number]) * 65_535 for number in range(100)}
    return [{b"a": b"first"}, large, {b"a": b"small"}, large, {b"a": b"last"}]


@SIDES
def test_in_pieces_and_in_order(side: Side) -> None:
    """The transport never has more than it wants and a piece; what is written meanwhile comes behind."""
    transport = Transport()
    stream, written = side(transport), b""
    for box in boxes():
        stream._send(box)
        written += serialize(box)
    assert len(transport.sent) <= ENOUGH + PIECE + 100
    while transport.drain():
        pass
    assert transport.sent == written
    assert transport.most <= ENOUGH + PIECE + 100


@SIDES
def test_close(side: Side) -> None:
    """A connection that is closed ends behind the last byte, and what is written after that is dropped."""
    transport = Transport()
    stream, written = side(transport), b"".join(map(serialize, boxes()))
    for box in boxes():
        stream._send(box)
    stream.close()
    stream._send({b"a": b"too late"})
    assert "lost" not in transport.events
    while transport.drain():
        pass
    assert transport.events[-1] == "lost" or transport.events[-2:] == ["lost", "reads on"]
    assert transport.sent == written


@SIDES
def test_abort(side: Side) -> None:
    """One that is aborted sends nothing more, nor keeps anything."""
    transport = Transport()
    stream = side(transport)
    for box in boxes():
        stream._send(box)
    before = transport.sent
    stream.abort()
    while transport.drain():
        pass
    assert transport.sent == before
    assert "aborted" in transport.events
    assert stream._pieces is not None
    assert not stream._pieces.waits


def test_a_daemon_reads_nothing_meanwhile() -> None:
    """It counts as a peer that hasn't read its answers until the last piece is out, and all of the bytes count."""
    transport, held = Transport(), list[int]()
    stream = accepted(transport)

    def note(size: int) -> None:
        held.append(size)

    stream.answer_bytes_held = note  # type: ignore[method-assign]  # to see what is counted
    large = boxes()[1]
    stream._send(large)
    assert transport.events == ["stops reading"]
    assert held == [len(serialize(large))]
    steps = 0
    while transport.drain():
        steps += 1
        assert stream._pieces is not None
        assert stream._unread or not stream._pieces.waits
    assert steps > 20
    assert transport.events == ["stops reading", "reads on"]
    assert held == [len(serialize(large)), 0]


def test_a_side_that_dials_reads_on() -> None:
    """Else both sides might wait for each other."""
    transport = Transport()
    stream = dialed(transport)
    stream._send(boxes()[1])
    while transport.drain():
        assert "stops reading" not in transport.events
    assert transport.producer is None


@pytest.mark.parametrize("side", [dialed, accepted])
def test_the_end_of_a_connection(side: Side) -> None:
    """Nothing is kept of what it had to send."""
    transport = Transport()
    stream = side(transport)
    stream._send(boxes()[1])
    stream.connectionLost()
    assert stream._pieces is None


def test_without_tls() -> None:
    """Plain TCP has no need of it."""
    assert writer_for(Protocol(), False) is None


@given(st.lists(st.one_of(st.integers(1, 4 * PIECE), st.none()), max_size=20), st.booleans())
def test_all_arrives(steps: list[int | None], ends: bool) -> None:
    """In whatever order bytes are written and drained, they arrive as they were written."""
    transport, written, called = Transport(), b"", list[int]()
    writer = PiecewiseWriter(transport, False)
    for number, size in enumerate(steps):
        if size is None:
            transport.drain()
        else:
            writer.write(bytes([number]) * size)
            written += bytes([number]) * size
    if ends and writer.waits:
        writer.end_with(lambda: called.append(len(transport.sent)))
    while transport.drain():
        pass
    assert transport.sent == written
    assert called in ([], [len(written)])
    assert not writer.waits
    assert transport.producer is None
