"""A connection of an event loop, as a Twisted protocol wants one: asyncio's transport in the place of a reactor's.

Rules:

- What is written goes to the system at once; asyncio keeps what the system doesn't take.
- When much of it waits, the producer that is registered pauses.
- The end of a connection is told once, by Twisted's exceptions, for which the rest of the code has words.
- A failure of TLS is told as the exception of the module ssl.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Iterable
from typing import Any, cast

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionAborted, ConnectionDone, ConnectionLost
from twisted.internet.interfaces import (
    IHandshakeListener,
    INegotiated,
    IProtocol,
    IProtocolFactory,
    IPushProducer,
    ITCPTransport,
)
from twisted.python.failure import Failure
from zope.interface import implementer

_FIRST_READ = 16 * 1024  # bytes that are read at a time, at first: there may be thousands of connections
_READ = 128 * 1024  # and at most, after reads that brought as many as they could


@implementer(ITCPTransport)
class StreamTransport:
    """What a Twisted protocol is given as its transport.

    :param transport: asyncio's, which is connected.
    :ivar aborted: whether this side has broken the connection off.
    :ivar lost: whether the connection has ended; then asyncio's transport takes no calls any more.
    """

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._producer: IPushProducer | None = None
        self._full = False  # whether so much waits to be written that the producer is to pause
        self._reading = True
        self.aborted = self.lost = False

    # ------------------------------------------------------------------ writing

    def write(self, data: bytes) -> None:
        """See `ITransport`."""
        if not self._transport.is_closing():
            self._transport.write(data)

    def writeSequence(self, data: Iterable[bytes]) -> None:
        """See `ITransport`."""
        self.write(b"".join(data))

    def registerProducer(self, producer: IPushProducer, streaming: bool) -> None:
        """See `IConsumer`; it must be a push producer."""
        if not streaming:
            raise NotImplementedError("found a pull producer, expected one that is told to pause (streaming)")
        if self._producer is not None:
            raise RuntimeError(f"there is a producer already: {self._producer}")
        if self._transport.is_closing():
            producer.stopProducing()
            return
        self._producer = producer
        if self._full:
            producer.pauseProducing()

    def unregisterProducer(self) -> None:
        """See `IConsumer`."""
        self._producer = None

    def set_full(self, full: bool) -> None:
        """Asyncio has more to write than it likes, or not any more."""
        self._full = full
        if self._producer is None:
            return
        if full:
            self._producer.pauseProducing()
        else:
            self._producer.resumeProducing()

    # ------------------------------------------------------------------ reading

    def pauseProducing(self) -> None:
        """See `IPushProducer`."""
        if self._reading and not self._transport.is_closing():
            self._reading = False
            self._transport.pause_reading()

    def resumeProducing(self) -> None:
        """See `IPushProducer`."""
        if not self._reading and not self._transport.is_closing():
            self._reading = True
            self._transport.resume_reading()

    def stopProducing(self) -> None:
        """See `IProducer`."""
        self.loseConnection()

    # ------------------------------------------------------------------ the end

    def loseConnection(self) -> None:
        """See `ITransport`."""
        self._transport.close()

    def abortConnection(self) -> None:
        """See `ITCPTransport`."""
        if not self.lost:
            self.aborted = True
            self._transport.abort()

    def loseWriteConnection(self) -> None:
        """See `ITCPTransport`."""
        if self._transport.can_write_eof() and not self._transport.is_closing():
            self._transport.write_eof()

    # ------------------------------------------------------------------ the socket

    def getPeer(self) -> IPv4Address | IPv6Address:
        """See `ITransport`."""
        return _address(self._transport.get_extra_info("peername"))

    def getHost(self) -> IPv4Address | IPv6Address:
        """See `ITransport`."""
        return _address(self._transport.get_extra_info("sockname"))

    def getTcpNoDelay(self) -> bool:
        """See `ITCPTransport`."""
        return bool(self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))

    def setTcpNoDelay(self, enabled: bool) -> None:
        """See `ITCPTransport`."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, int(enabled))

    def getTcpKeepAlive(self) -> bool:
        """See `ITCPTransport`."""
        return bool(self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """See `ITCPTransport`."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, int(enabled))

    @property
    def _socket(self) -> socket.socket:
        return cast(socket.socket, self._transport.get_extra_info("socket"))


@implementer(INegotiated)
class TlsStreamTransport(StreamTransport):
    """The transport of a connection with TLS, whose handshake is complete."""

    negotiatedProtocol = None  # noqa: N815  # the interface's

    def getHandle(self) -> object:
        """See `ISystemHandle`: the module ssl's object for the connection."""
        return self._transport.get_extra_info("ssl_object")

    def getPeerCertificate(self) -> bytes | None:
        """See `ISSLTransport`; in DER."""
        secured = cast(ssl.SSLObject, self._transport.get_extra_info("ssl_object"))
        return secured.getpeercert(binary_form=True)


class StreamProtocol(asyncio.BufferedProtocol):
    """What asyncio calls: hands everything on to a Twisted protocol.

    :param factory: makes the protocol when the connection is there.
    :param ended: called with this, once, when the connection is closed or there will be none.
    :ivar protocol: the Twisted protocol; None until the connection is there.
    :ivar transport: what it writes to.
    """

    def __init__(self, factory: IProtocolFactory, ended: Callable[[StreamProtocol], object]) -> None:
        self._factory = factory
        self._ended = ended
        self._buffer = memoryview(bytearray(_FIRST_READ))
        self._over = False
        self.protocol: IProtocol | None = None
        self.transport: StreamTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See `asyncio.BaseProtocol`."""
        stream = cast(asyncio.Transport, transport)
        secured = stream.get_extra_info("ssl_object") is not None
        self.transport = TlsStreamTransport(stream) if secured else StreamTransport(stream)
        protocol = self._factory.buildProtocol(self.transport.getPeer())
        assert protocol is not None, "a factory that refuses the connection that it asked for"
        self.protocol = protocol
        protocol.makeConnection(self.transport)
        if secured and IHandshakeListener.providedBy(protocol):
            protocol.handshakeCompleted()

    def get_buffer(self, sizehint: int) -> memoryview:
        """See `asyncio.BufferedProtocol`."""
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        assert self.protocol is not None
        data = bytes(self._buffer[:nbytes])
        if nbytes == len(self._buffer) < _READ:
            self._buffer = memoryview(bytearray(2 * nbytes))
        self.protocol.dataReceived(data)

    def pause_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        assert self.transport is not None
        self.transport.set_full(True)

    def resume_writing(self) -> None:
        """See `asyncio.BaseProtocol`."""
        assert self.transport is not None
        self.transport.set_full(False)

    def give_up(self) -> None:
        """End the connection, if there is one, when the attempt to make it has failed or was cancelled.

        When an attempt is cancelled just as the connection is made, uvloop doesn't tell that the connection is lost.
        """
        if self.transport is not None:
            self.transport.abortConnection()
        self.connection_lost(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.BaseProtocol`."""
        if self._over:
            return
        self._over = True
        self._ended(self)
        if self.protocol is not None and self.transport is not None:
            self.transport.lost = True
            self.protocol.connectionLost(Failure(_end_of_connection(exc, self.transport.aborted)))


def _end_of_connection(error: Exception | None, aborted: bool) -> Exception:
    """The exception by which Twisted's code knows why a connection has ended.

    :param error: what asyncio gives; None: a side has closed the connection.
    """
    if aborted:
        return ConnectionAborted()
    if error is None:
        return ConnectionDone()
    return error if isinstance(error, ssl.SSLError) else ConnectionLost(str(error))


def _address(name: tuple[Any, ...]) -> IPv4Address | IPv6Address:
    """The name of a socket as Twisted has it."""
    return IPv6Address("TCP", *name) if len(name) == 4 else IPv4Address("TCP", name[0], name[1])
