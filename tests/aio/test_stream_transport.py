"""A connection of an event loop in the place of a reactor's: bytes, backpressure, and how it ends."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast

import pytest
from aio.loop_cluster import HOST, run, until
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import IPushProducer, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer
from zope.interface.verify import verifyObject

from pyshard.aio.loop_clock import LoopClock
from pyshard.aio.loop_connections import LoopConnections
from pyshard.aio.stream_transport import StreamTransport
from pyshard.aio.verb_futures import future_of

LOOPS = pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
_MUCH = 32 * 1024 * 1024


@implementer(IPushProducer)
class _Noting(Protocol):
    """Notes all that it is told."""

    transport: StreamTransport
    connections: LoopConnections

    def __init__(self) -> None:
        self.received = bytearray()
        self.told: list[str] = []
        self.lost: list[BaseException | None] = []

    def dataReceived(self, data: bytes) -> None:
        self.received += data

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason.value)

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        self.told.append("pause")

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        self.told.append("resume")

    def stopProducing(self) -> None:
        """See `IProducer`."""
        self.told.append("stop")


class _Peer:
    """The other side: asyncio's own streams."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


def _connected(test: Callable[[_Noting, _Peer], Awaitable[None]], loop: str = "asyncio") -> None:
    """Run a test with both sides of a connection."""

    async def main() -> None:
        peer, arrived = _Peer(), asyncio.Event()

        def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            peer.reader, peer.writer = reader, writer
            arrived.set()

        server = await asyncio.start_server(accept, HOST, 0)
        connections = LoopConnections(LoopClock(asyncio.get_running_loop()), None)
        port = server.sockets[0].getsockname()[1]
        endpoint = connections.dial(HOST, port)
        made = await future_of(connections.clock.loop, endpoint.connect(Factory.forProtocol(_Noting)))
        await arrived.wait()
        noting = cast(_Noting, made)
        noting.connections = connections
        await test(noting, peer)
        peer.writer.close()
        noting.transport.abortConnection()
        await connections.closed()
        server.close()
        await server.wait_closed()

    run(main, loop)


@LOOPS
def test_bytes(loop: str) -> None:
    """What is written arrives, both ways and in order."""

    async def test(noting: _Noting, peer: _Peer) -> None:
        noting.transport.write(b"one ")
        noting.transport.writeSequence([b"two ", b"three"])
        assert await peer.reader.readexactly(13) == b"one two three"
        peer.writer.write(b"x" * 1_000_000)
        await until(lambda: len(noting.received) == 1_000_000, "all has arrived")

    _connected(test, loop)


@LOOPS
def test_memory_for_what_is_read(loop: str) -> None:
    """A connection that has read little takes little: 5,000 of them took 640 MB. One that reads much grows."""
    sizes = []

    async def test(noting: _Noting, peer: _Peer) -> None:
        peer.writer.write(b"x" * 1000)
        await until(lambda: len(noting.received) == 1000, "a little has arrived")
        (stream,) = noting.connections._open
        sizes.append(len(stream.get_buffer(0)))
        peer.writer.write(b"x" * _MUCH)
        await until(lambda: len(noting.received) == _MUCH + 1000, "all has arrived")
        sizes.append(len(stream.get_buffer(0)))

    _connected(test, loop)
    assert sizes == [16 * 1024, 128 * 1024]


@LOOPS
def test_a_peer_that_does_not_read(loop: str) -> None:
    """The producer pauses while much waits to be written, and goes on when it has been."""

    async def test(noting: _Noting, peer: _Peer) -> None:
        noting.transport.registerProducer(noting, True)
        noting.transport.write(b"x" * _MUCH)
        assert noting.told == ["pause"]
        await peer.reader.readexactly(_MUCH)
        await until(lambda: noting.told == ["pause", "resume"], "the producer goes on")
        noting.transport.unregisterProducer()
        noting.transport.write(b"x" * _MUCH)
        assert noting.told == ["pause", "resume"]
        noting.transport.registerProducer(noting, True)
        assert noting.told[2:] == ["pause"]
        with pytest.raises(RuntimeError, match="there is a producer already"):
            noting.transport.registerProducer(noting, True)

    _connected(test, loop)


def test_pull_producers() -> None:
    """A producer that waits to be asked is refused."""

    async def test(noting: _Noting, peer: _Peer) -> None:
        with pytest.raises(NotImplementedError, match="pull producer"):
            noting.transport.registerProducer(noting, False)

    _connected(test)


@LOOPS
def test_reading_that_pauses(loop: str) -> None:
    """Nothing is read while this side has paused; twice is once."""

    async def test(noting: _Noting, peer: _Peer) -> None:
        noting.transport.pauseProducing()
        noting.transport.pauseProducing()
        peer.writer.write(b"later")
        await asyncio.sleep(0.05)
        assert noting.received == b""
        noting.transport.resumeProducing()
        noting.transport.resumeProducing()
        await until(lambda: noting.received == b"later", "it is read")

    _connected(test, loop)


@LOOPS
def test_closing(loop: str) -> None:
    """`loseConnection` writes what waits first; what is written afterwards goes nowhere, without a complaint."""

    async def test(noting: _Noting, peer: _Peer) -> None:
        noting.transport.write(b"x" * _MUCH)
        noting.transport.loseConnection()
        for _ in range(10):
            noting.transport.write(b"too late")
        noting.transport.pauseProducing()
        noting.transport.resumeProducing()
        noting.transport.registerProducer(noting, True)
        assert noting.told == ["stop"]
        assert len(await peer.reader.read(-1)) == _MUCH
        await until(lambda: bool(noting.lost), "it is closed")
        assert [type(one) for one in noting.lost] == [ConnectionDone]

    _connected(test, loop)


def _abort(noting: _Noting, _: _Peer) -> None:
    noting.transport.abortConnection()


def _stop(noting: _Noting, _: _Peer) -> None:
    noting.transport.stopProducing()


def _closed_by_peer(_: _Noting, peer: _Peer) -> None:
    peer.writer.close()


def _reset_by_peer(_: _Noting, peer: _Peer) -> None:
    peer.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.writer.transport.abort()


@LOOPS
@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (_abort, ConnectionAborted),
        (_stop, ConnectionDone),
        (_closed_by_peer, ConnectionDone),
        (_reset_by_peer, ConnectionLost),
    ],
)
def test_ends(end: Callable[[_Noting, _Peer], None], expected: type, loop: str) -> None:
    """The protocol is told once, by Twisted's exceptions, and not while it asks for the end."""

    async def test(noting: _Noting, peer: _Peer) -> None:
        end(noting, peer)
        assert noting.lost == []
        await until(lambda: bool(noting.lost), "it is lost")
        await asyncio.sleep(0.01)
        assert [type(one) for one in noting.lost] == [expected]
        noting.transport.abortConnection()
        noting.transport.loseConnection()
        noting.transport.write(b"too late")

    _connected(test, loop)


@LOOPS
def test_the_socket(loop: str) -> None:
    """Options of the socket are set, and addresses are Twisted's."""

    async def test(noting: _Noting, peer: _Peer) -> None:
        transport = noting.transport
        assert verifyObject(ITCPTransport, transport)
        for enabled in (False, True):
            transport.setTcpNoDelay(enabled)
            transport.setTcpKeepAlive(enabled)
            assert (transport.getTcpNoDelay(), transport.getTcpKeepAlive()) == (enabled, enabled)
        assert transport.getPeer() == IPv4Address("TCP", *peer.writer.get_extra_info("sockname"))
        assert transport.getHost() == IPv4Address("TCP", *peer.writer.get_extra_info("peername"))
        transport.loseWriteConnection()
        assert await peer.reader.read(-1) == b""
        peer.writer.write(b"still")
        await until(lambda: noting.received == b"still", "reading goes on")

    _connected(test, loop)


def test_cancelled_when_connected() -> None:
    """A connection that is made just when nobody wants it any more is closed."""

    async def test(noting: _Noting, peer: _Peer) -> None:
        loop = asyncio.get_running_loop()
        connections = LoopConnections(LoopClock(loop), None)

        async def connecting() -> _Noting:
            loop.call_soon(begun.cancel)  # between the end of this and the moment when that is heard of
            return noting

        begun = connections.begin(connecting())
        begun.addErrback(lambda _: None)
        await until(lambda: bool(noting.lost), "it is closed")
        assert [type(one) for one in noting.lost] == [ConnectionAborted]
        await connections.closed()

    _connected(test)


@LOOPS
def test_cancelled_while_connecting(loop: str) -> None:
    """An attempt that is cancelled just as the connection is made leaves none; its protocol is told of the end."""

    async def main() -> None:
        listening = await asyncio.start_server(lambda _, writer: writer.close(), HOST, 0)
        connections = LoopConnections(LoopClock(asyncio.get_running_loop()), None)
        made: list[_Noting] = []

        class _Cancelling(_Noting):
            def connectionMade(self) -> None:
                made.append(self)
                connecting.cancel()

        endpoint = connections.dial(HOST, listening.sockets[0].getsockname()[1])
        connecting = endpoint.connect(Factory.forProtocol(_Cancelling))
        connecting.addErrback(lambda _: None)
        await until(lambda: bool(made), "it is connected")
        await asyncio.wait_for(connections.closed(), 5)
        assert [type(one) for one in made[0].lost] == [ConnectionAborted]
        listening.close()

    run(main, loop)
