"""A network in memory: the real protocols, iosim's transports, a Clock. Nothing waits, nothing is random.

Addresses are (host, port) pairs that exist only here. Besides carrying bytes the network can refuse, cut, delay, fall
silent and strand, which is how tests reach the failures that a real one has.
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

from pyshard.testing.memory_links import Address, Faults, Wire


class MemoryNetwork:
    """Carries bytes between listeners and clients when it is told to.

    :param clock: the time that everything on this network goes by.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.listeners: dict[Address, IProtocolFactory] = {}
        self._wires: list[Wire] = []
        self._ports = 40_000
        self._faults = Faults(clock)

    def dial(self, host: str, port: int) -> IStreamClientEndpoint:
        """The client endpoint of an address; give it as ``dial`` to `pyshard.connect`."""
        return _ClientEndpoint(self, (host, port))

    def listen(self, host: str, port: int) -> IStreamServerEndpoint:
        """The server endpoint of an address."""
        return _ServerEndpoint(self, (host, port))

    def cut(self, host: str, port: int) -> None:
        """Break every connection to an address; what was under way is lost."""
        for wire in self._to(host, port):
            wire.cut()

    def cut_after(self, host: str, port: int, count: int, *, answers: bool = False) -> None:
        """Break the connection to an address over which the `count`-th byte from now on arrives, right behind it.

        :param answers: count what the listener sends, and not what is sent to it.
        """
        self._faults.last[(host, port), answers] = count

    def delay(self, host: str, port: int, seconds: float) -> None:
        """From now on whatever is sent to or by the listener at an address takes so long; 0: no time."""
        self._faults.delays[host, port] = seconds

    def silence(self, host: str, port: int) -> None:
        """From now on nothing that the listener at an address sends arrives, while what is sent to it does."""
        self._faults.silent.add((host, port))

    def unsilence(self, host: str, port: int) -> None:
        """End a silence; what was held back arrives."""
        self._faults.silent.discard((host, port))

    def deafen(self, host: str, port: int) -> None:
        """From now on nothing that is sent to the listener at an address arrives, while what it sends does."""
        self._faults.deaf.add((host, port))

    def undeafen(self, host: str, port: int) -> None:
        """End a deafness; what was held back arrives."""
        self._faults.deaf.discard((host, port))

    def strand(self, host: str, port: int) -> None:
        """From now on nothing crosses the connections that there are to an address, and neither end is told.

        So it is when the other machine, or what lies between, is gone without a word. New connections are fine. What is
        sent on the stranded ones stays under way until `unstrand`.
        """
        for wire in self._to(host, port):
            wire.stranded = True

    def unstrand(self, host: str, port: int) -> None:
        """Have arrive what `strand` left under way, even if the end that sent it has closed since."""
        for wire in self._to(host, port):
            wire.stranded = False

    def settle(self) -> None:
        """Carry bytes and make the calls that are due, until nothing moves; no time passes.

        :raises AssertionError: it never ends.
        """
        for _ in range(100_000):
            self.clock.advance(0)
            moved = [wire.move() for wire in list(self._wires)]
            self._wires = [wire for wire in self._wires if not wire.ended]
            due = any(call.active() and call.getTime() <= self.clock.seconds() for call in self.clock.getDelayedCalls())
            if not any(moved) and not due:
                return
        raise AssertionError("the network never comes to rest")

    def advance(self, seconds: float) -> None:
        """Let time pass, from one due call to the next."""
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

    def connect(self, address: Address, factory: IProtocolFactory) -> Deferred[IProtocol]:
        """What the client endpoints do."""
        listener = self.listeners.get(address)
        if listener is None:
            return fail(ConnectionRefusedError(string="Connection refused"))
        self._ports += 1
        here, there = IPv4Address("TCP", "127.0.0.1", self._ports), IPv4Address("TCP", *address)
        server, client = listener.buildProtocol(here), factory.buildProtocol(there)
        if server is None or client is None:
            return fail(ConnectionRefusedError(string="Connection refused"))
        self._wires.append(Wire(self._faults, address, server, client, here, there))
        return succeed(client)

    def _to(self, host: str, port: int) -> list[Wire]:
        return [wire for wire in self._wires if wire.address == (host, port)]


@implementer(IStreamClientEndpoint)
class _ClientEndpoint:
    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        self._network = network
        self._address = address

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        return self._network.connect(self._address, protocolFactory)


@implementer(IStreamServerEndpoint)
class _ServerEndpoint:
    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        self._network = network
        self._address = address

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803  # the interface's
        """See `IStreamServerEndpoint`."""
        self._network.listeners[self._address] = protocolFactory
        return succeed(cast(IListeningPort, _Port(self._network, self._address)))


class _Port:
    """As much of a listening port as services use."""

    def __init__(self, network: MemoryNetwork, address: Address) -> None:
        self._network = network
        self._address = address

    def getHost(self) -> IAddress:
        """The address."""
        return IPv4Address("TCP", *self._address)

    def stopListening(self) -> None:
        """Refuse new connections; those that there are go on."""
        self._network.listeners.pop(self._address, None)
