"""A TCP proxy before a daemon that treats each connection as a bad network would.

What it does to one is chosen when it is opened, from a seed: nothing; delays; a cut behind the n-th byte of one
direction; from that byte on neither direction (half-open) or only one of them works, and nobody is told; or the
client's side is cut while its bytes still arrive at the daemon, a little later (stranded).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from random import Random
from typing import Any

from functional.cluster import HOST
from ports import free_port
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure

KINDS = ["delay", "cut", "half-open", "one-way", "stranded"]

_LATEST = 3000  # the byte behind which something happens, at the latest
_DELAY = 0.1  # seconds
_STRANDED = 2.0  # seconds after which stranded bytes arrive, at the most


class LossyProxy:
    """A proxy before one daemon.

    :param reactor: the reactor that it runs in.
    :param target: the daemon's port.
    :param random: chooses what happens.
    :ivar port: where it listens.
    :ivar kinds: what may happen to connections that are opened from now on.
    :ivar happened: how often something did.
    """

    def __init__(self, reactor: Any, target: int, random: Random) -> None:
        self.reactor = reactor
        self.target = target
        self.random = random
        self.port = free_port()
        self.kinds: Sequence[str] = ()
        self.happened = 0
        self.connections: set[_Connection] = set()
        factory = Factory.forProtocol(lambda: _Connection(self).front)
        factory.noisy = False
        self._listener = reactor.listenTCP(self.port, factory, interface=HOST)

    def mend(self) -> None:
        """End all faults; connections that may have had one are cut."""
        self.kinds = ()
        for connection in list(self.connections):
            connection.end()

    def close(self) -> Any:
        """End; a Deferred that fires when it listens no more."""
        self.mend()
        return self._listener.stopListening()


class _Side(Protocol):
    """One end of a proxied connection."""

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
        self._connection.lost(self)


class _Connection:
    """A client's connection, and the one to the daemon that belongs to it."""

    def __init__(self, proxy: LossyProxy) -> None:
        self._proxy = proxy
        self.front = _Side(self)
        self._back = _Side(self)
        self._early: list[bytes] = []  # what came before there was a connection to the daemon
        random = proxy.random
        self._kind = random.choice(proxy.kinds) if proxy.kinds and random.random() < 0.8 else ""
        self._source = self.front if self._kind == "stranded" or random.random() < 0.5 else self._back
        self._left = random.randrange(1, random.choice([300, _LATEST]))  # bytes until it happens
        self._swallows: set[_Side] = set()  # what these send is lost
        self._held: list[bytes] | None = None
        self._delayed: dict[_Side, deque[bytes]] = {self.front: deque(), self._back: deque()}

    def made(self, side: _Side) -> None:
        """One end is connected."""
        if side is self.front:
            self._proxy.connections.add(self)
            factory = Factory.forProtocol(lambda: self._back)
            factory.noisy = False
            target = TCP4ClientEndpoint(self._proxy.reactor, HOST, self._proxy.target)
            target.connect(factory).addErrback(lambda _: self.end())
        else:
            early, self._early = self._early, []
            for data in early:
                self.pass_on(self.front, data)

    def pass_on(self, source: _Side, data: bytes) -> None:
        """Bytes have come from one end."""
        if source is self.front and self._back.transport is None:
            self._early.append(data)
        elif source in self._swallows:
            return
        elif self._held is not None:
            if source is self.front:  # what the daemon sends is lost
                self._held.append(data)
        elif self._kind == "delay":
            self._delayed[source].append(data)
            self._proxy.reactor.callLater(self._proxy.random.random() * _DELAY, self._write_delayed, source)
        elif self._kind and source is self._source and len(data) >= self._left:
            self._write(source, data[: self._left])
            self._happen(data[self._left :])
        else:
            if source is self._source:
                self._left -= len(data)
            self._write(source, data)

    def lost(self, side: _Side) -> None:
        """One end is closed; the other one isn't told where something has happened."""
        if self._held is None and not self._swallows:
            self.end()

    def end(self) -> None:
        """Cut both ends."""
        for side in (self.front, self._back):
            if side.transport is not None:
                side.transport.abortConnection()
        self._proxy.connections.discard(self)

    def _happen(self, rest: bytes) -> None:
        self._proxy.happened += 1
        if self._kind == "cut":
            self.end()
        elif self._kind == "half-open":
            self._swallows = {self.front, self._back}
        elif self._kind == "one-way":
            self._swallows = {self._source}
        else:
            self._held = [rest]
            reactor = self._proxy.reactor
            # A little later, so that there are more bytes to arrive late than the rest of a box.
            reactor.callLater(0.05, self._leave)
            reactor.callLater(self._proxy.random.random() * _STRANDED, self._release)

    def _leave(self) -> None:
        if self.front.transport is not None:
            self.front.transport.abortConnection()

    def _release(self) -> None:
        for data in self._held or ():
            self._write(self.front, data)
        if self._back.transport is not None:
            self._back.transport.loseConnection()
        self._proxy.connections.discard(self)

    def _write_delayed(self, source: _Side) -> None:
        self._write(source, self._delayed[source].popleft())  # whichever call comes first, the bytes stay in order

    def _write(self, source: _Side, data: bytes) -> None:
        sink = self._back if source is self.front else self.front
        if sink.transport is not None:
            sink.transport.write(data)
