"""A TCP proxy on one way between two parties, which can be cut for a while, and healed.

While it is cut nobody is told: connections stay open, and what is dialed meanwhile is accepted, since a peer can't know
better for some seconds in a real network either. When it is healed, the bytes that were held arrive late; where bytes
were dropped, the connection is cut off.
"""

from __future__ import annotations

from typing import Any

from functional.cluster import HOST
from ports import free_port
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

HOLD, DROP = "hold", "drop"


class Cable:
    """A proxy before one port.

    :param reactor: the reactor that it runs in.
    :param target: the port behind it.
    :ivar port: where it listens.
    :ivar cut: `HOLD`, `DROP`, or empty: it isn't cut.
    """

    def __init__(self, reactor: Any, target: int) -> None:
        self.reactor = reactor
        self.target = target
        self.port = free_port()
        self.cut = ""
        self.connections: set[_Connection] = set()
        factory = Factory.forProtocol(lambda: _Connection(self).front)
        factory.noisy = False
        self._listener = reactor.listenTCP(self.port, factory, interface=HOST)

    def heal(self) -> None:
        """Have it pass everything on again."""
        self.cut = ""
        for connection in list(self.connections):
            connection.heal()

    def close(self) -> Any:
        """End; a Deferred that fires when it listens no more."""
        for connection in list(self.connections):
            connection.end()
        return self._listener.stopListening()


class _Side(Protocol):
    """One end of a connection."""

    transport: ITCPTransport | None

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection

    def connectionMade(self) -> None:
        if self.transport is not None:
            self.transport.setTcpNoDelay(True)
        self._connection.made(self)

    def dataReceived(self, data: bytes) -> None:
        self._connection.pass_on(self, data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.transport = None
        self._connection.lost()


class _Connection:
    """A connection to the proxy, and the one behind it."""

    def __init__(self, cable: Cable) -> None:
        self._cable = cable
        self.front = _Side(self)
        self._back = _Side(self)
        self._waiting: list[tuple[_Side, bytes]] = []  # held, or come before there is a connection behind
        self._broken = False  # bytes are lost, or one end is

    def made(self, side: _Side) -> None:
        """One end is connected."""
        if side is self.front:
            self._cable.connections.add(self)
            if self._cable.cut:
                self._broken = True
                return
            factory = Factory.forProtocol(lambda: self._back)
            factory.noisy = False
            target = TCP4ClientEndpoint(self._cable.reactor, HOST, self._cable.target)
            target.connect(factory).addErrback(lambda _: self.lost())
        elif not self._cable.cut:
            self._flush()

    def pass_on(self, source: _Side, data: bytes) -> None:
        """Bytes have come from one end."""
        if self._broken or self._cable.cut == DROP:
            self._broken = True
        elif self._cable.cut or self._back.transport is None:
            self._waiting.append((source, data))
        else:
            self._write(source, data)

    def lost(self) -> None:
        """One end is closed; the other one is told when the cable isn't cut."""
        self._broken = True
        if not self._cable.cut:
            self.end()

    def heal(self) -> None:
        """The cable isn't cut any more."""
        if self._broken:
            self.end()
        elif self._back.transport is not None:
            self._flush()

    def end(self) -> None:
        """Cut both ends off."""
        self._cable.connections.discard(self)
        for side in (self.front, self._back):
            if side.transport is not None:
                side.transport.abortConnection()

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        for source, data in waiting:
            self._write(source, data)

    def _write(self, source: _Side, data: bytes) -> None:
        sink = self._back if source is self.front else self.front
        if sink.transport is not None:
            sink.transport.write(data)
