"""A network in memory, for tests that reach the failures of a real one without waiting for them.

Rules:

- protocols are the real ones; transports are those of Twisted's iosim, and time is a Clock;
- nothing waits and nothing is random;
- addresses are (host, port) pairs that exist only here;
- besides carrying bytes the network can refuse, cut, delay, silence, deafen and strand connections.
"""

from __future__ import annotations

from typing import cast

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import (
    IAddress,
    IListeningPort,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.task import Clock
from zope.interface import implementer

from pyshard.testing.memory_connection import HostPort, MemoryConnection, NetworkFaults


class MemoryNetwork:
    """Carries bytes between listeners and clients, when `settle` or `advance` is called.

    :param clock: the time of everything on this network.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.listeners: dict[HostPort, IProtocolFactory] = {}
        self._connections: list[MemoryConnection] = []
        self._ports = 40_000
        self._faults = NetworkFaults(clock)

    def dial(self, host: str, port: int) -> IStreamClientEndpoint:
        """The client endpoint of an address; give it as ``dial`` to `pyshard.connect`."""
        return _ClientEndpoint(self, (host, port))

    def listen(self, host: str, port: int) -> IStreamServerEndpoint:
        """The server endpoint of an address."""
        return _ServerEndpoint(self, (host, port))

    def cut(self, host: str, port: int) -> None:
        """Break every connection to an address; bytes on their way are lost."""
        for connection in self._to(host, port):
            connection.cut()

    def cut_after(self, host: str, port: int, count: int, *, answers: bool = False) -> None:
        """Break a connection to an address right behind the `count`-th byte that arrives from now on.

        :param count: bytes that still arrive, over all connections to the address; at least 1.
        :param answers: count what the listener sends, instead of what is sent to it.
        """
        self._faults.bytes_left[(host, port), answers] = count

    def delay(self, host: str, port: int, seconds: float) -> None:
        """Delay everything that is sent to or by the listener at an address, from now on.

        :param seconds: how long bytes take; 0: no time.
        """
        self._faults.delays[host, port] = seconds

    def silence(self, host: str, port: int) -> None:
        """Hold back everything that the listener at an address sends; what is sent to it still arrives."""
        self._faults.silent.add((host, port))

    def unsilence(self, host: str, port: int) -> None:
        """End what `silence` began; held-back bytes arrive."""
        self._faults.silent.discard((host, port))

    def deafen(self, host: str, port: int) -> None:
        """Hold back everything that is sent to the listener at an address; what it sends still arrives."""
        self._faults.deaf.add((host, port))

    def undeafen(self, host: str, port: int) -> None:
        """End what `deafen` began; held-back bytes arrive."""
        self._faults.deaf.discard((host, port))

    def strand(self, host: str, port: int) -> None:
        """Hold back everything on the existing connections to an address; neither end notices.

        It is like a machine, or a router between, that loses power. New connections work. Bytes sent on the stranded
        ones are held back until `unstrand`.
        """
        for connection in self._to(host, port):
            connection.stranded = True

    def unstrand(self, host: str, port: int) -> None:
        """End what `strand` began; held-back bytes arrive, even if their sender has closed since."""
        for connection in self._to(host, port):
            connection.stranded = False

    def settle(self) -> None:
        """Carry bytes and make the calls that are due, until nothing is left to do; no time passes.

        :raises AssertionError: there is always more to do.
        """
        for _ in range(100_000):
            self.clock.advance(0)
            carried = [connection.carry() for connection in list(self._connections)]
            self._connections = [connection for connection in self._connections if not connection.ended]
            due = any(call.active() and call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls())
            if not any(carried) and not due:
                return
        raise AssertionError("the network never comes to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, from one due call to the next.

        :param seconds: how much.
        """
        end = self.clock.seconds() + seconds
        self.settle()
        while (upcoming := self.next_call()) is not None and upcoming <= end:
            self.clock.advance(max(0.0, upcoming - self.clock.seconds()))
            self.settle()
        self.clock.advance(max(0.0, end - self.clock.seconds()))
        self.settle()

    def next_call(self) -> float | None:
        """When the next delayed call is due; None when there is none."""
        return min((call.getTime() for call in self.clock.getDelayedCalls()), default=None)

    def connect(self, address: HostPort, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect a client to the listener at an address; the client endpoints call this."""
        listener = self.listeners.get(address)
        if listener is None:
            return fail(ConnectionRefusedError(string="Connection refused"))
        self._ports += 1
        here, there = IPv4Address("TCP", "127.0.0.1", self._ports), IPv4Address("TCP", *address)
        server, client = listener.buildProtocol(here), factory.buildProtocol(there)
        if server is None or client is None:
            return fail(ConnectionRefusedError(string="Connection refused"))
        self._connections.append(MemoryConnection(self._faults, address, server, client, here, there))
        return succeed(client)

    def _to(self, host: str, port: int) -> list[MemoryConnection]:
        return [connection for connection in self._connections if connection.address == (host, port)]


@implementer(IStreamClientEndpoint)
class _ClientEndpoint:
    def __init__(self, network: MemoryNetwork, address: HostPort) -> None:
        self._network = network
        self._address = address

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        return self._network.connect(self._address, protocolFactory)


@implementer(IStreamServerEndpoint)
class _ServerEndpoint:
    def __init__(self, network: MemoryNetwork, address: HostPort) -> None:
        self._network = network
        self._address = address

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803  # the interface's
        """See `IStreamServerEndpoint`."""
        self._network.listeners[self._address] = protocolFactory
        return succeed(cast(IListeningPort, _ListeningPort(self._network, self._address)))


class _ListeningPort:
    """The part of a listening port that services use."""

    def __init__(self, network: MemoryNetwork, address: HostPort) -> None:
        self._network = network
        self._address = address

    def getHost(self) -> IAddress:
        """The address."""
        return IPv4Address("TCP", *self._address)

    def stopListening(self) -> None:
        """Refuse new connections; existing ones stay."""
        self._network.listeners.pop(self._address, None)
