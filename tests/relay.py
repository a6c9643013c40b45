"""Somebody between a peer and a daemon of a cluster in memory, who changes what the daemon says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from twisted.internet.interfaces import IAddress, IProtocol, IProtocolFactory
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pyshard.protocol.boxes import Box, BoxParser, Limits, serialize
from pyshard.testing import MemoryCluster

#: Gives the bytes that arrive in place of a box of the daemon.
Change = Callable[[Box], bytes]


class _Inside(StringTransport):
    """What the daemon's own protocol writes to."""

    def __init__(self, outside: Relay) -> None:
        super().__init__()
        self._outside = outside

    def write(self, data: bytes) -> None:
        self._outside.answered(data)

    def loseConnection(self) -> None:
        super().loseConnection()
        self._outside.end()

    def abortConnection(self) -> None:
        super().abortConnection()
        self._outside.end()


class Relay(Protocol):
    """One connection: what the peer says reaches the daemon as it is, what the daemon says is changed."""

    def __init__(self, daemon: IProtocol, change: Change, hear: Callable[[bytes], object]) -> None:
        self._daemon = daemon
        self._change = change
        self._hear = hear
        self._parser = BoxParser(Limits())

    def connectionMade(self) -> None:
        self._daemon.makeConnection(_Inside(self))

    def dataReceived(self, data: bytes) -> None:
        self._hear(data)
        self._daemon.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._daemon.connectionLost(reason)

    def answered(self, data: bytes) -> None:
        """Pass on what the daemon said, changed."""
        self._parser.feed(data)
        while (box := self._parser.next_box()) is not None:
            if self.transport is not None and self.connected:
                self.transport.write(self._change(box))

    def end(self) -> None:
        """The daemon has closed the connection."""
        if self.transport is not None:
            self.transport.loseConnection()


@contextmanager
def between(
    cluster: MemoryCluster,
    address: tuple[str, int],
    change: Change = serialize,
    hear: Callable[[bytes], object] = len,
    everybody: bool = True,
) -> Iterator[None]:
    """Stand before the daemon at an address.

    :param hear: is given what peers say.
    :param everybody: whether connections that are there already are cut, to be dialed again.
    """
    listener: IProtocolFactory = cluster.network.listeners[address]

    class Relays(Factory):
        noisy = False

        def buildProtocol(self, addr: IAddress) -> Relay:  # type: ignore[override]  # Twisted's type is private
            daemon = listener.buildProtocol(addr)
            assert daemon is not None
            relays.append(Relay(daemon, change, hear))
            return relays[-1]

    relays: list[Relay] = []
    cluster.network.listeners[address] = Relays()
    if everybody:
        cluster.network.cut(*address)
        cluster.advance(2)
    try:
        yield
    finally:
        cluster.network.listeners[address] = listener
        for relay in relays:
            relay.end()
        cluster.advance(2)
