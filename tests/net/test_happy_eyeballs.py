"""Dialing by name: each address a little after the one before it, and no reactor but the one given."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from deferreds import error_in
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionRefusedError, DNSLookupError
from twisted.internet.interfaces import IHostResolution, IProtocol, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer

from pyshard.net.happy_eyeballs import HappyEyeballsEndpoint


@implementer(IHostResolution)
class Resolution:
    """One that can't be cancelled."""

    name = "db.example.com"

    def cancel(self) -> None:
        """Twisted's own can't be, either."""
        raise NotImplementedError


class Resolver:
    """Gives a name's addresses when the test says so."""

    def __init__(self, *addresses: IPv4Address | IPv6Address) -> None:
        self._addresses = addresses
        self.asked: list[tuple[str, int]] = []
        self._receivers: list[IResolutionReceiver] = []

    def resolveHostName(self, receiver: IResolutionReceiver, name: str, port: int, **_: object) -> IHostResolution:
        """See `IHostnameResolver`."""
        self.asked.append((name, port))
        self._receivers.append(receiver)
        receiver.resolutionBegan(Resolution())
        return Resolution()

    def answer(self) -> None:
        """Give them to all that ask."""
        for receiver in self._receivers:
            for address in self._addresses:
                receiver.addressResolved(address)
            receiver.resolutionComplete()


V4, V6, OTHER = (
    IPv4Address("TCP", "10.0.0.1", 80),
    IPv6Address("TCP", "fd00::1", 80),
    IPv4Address("TCP", "10.0.0.2", 80),
)


class Bench:
    """An attempt to connect to a name with some addresses, on a reactor in memory."""

    def __init__(self, *addresses: IPv4Address | IPv6Address, answered: bool = True) -> None:
        self.reactor = MemoryReactorClock()
        self.resolver = Resolver(*addresses)
        self.reactor.nameResolver = self.resolver  # type: ignore[assignment]  # as much of one as is used
        self.outcome: list[Any] = []
        self.connecting: Deferred[IProtocol] = HappyEyeballsEndpoint(
            self.reactor, self.reactor, "db.example.com", 9192, 0.05
        ).connect(Factory.forProtocol(Protocol))
        self.connecting.addBoth(self.outcome.append)
        if answered:
            self.resolver.answer()

    @property
    def tried(self) -> list[tuple[str, int, int | None]]:
        """The addresses that were tried, with port and timeout."""
        return [(host, port, timeout) for host, port, _, timeout, _ in self.reactor.tcpClients]

    def fail(self, number: int, why: Exception) -> None:
        """Have an attempt fail."""
        self.reactor.tcpClients[number][2].clientConnectionFailed(self.reactor.connectors[number], Failure(why))

    def succeed(self, number: int) -> Protocol:
        """Have an attempt succeed; its protocol."""
        protocol = self.reactor.tcpClients[number][2].buildProtocol(V4)
        assert isinstance(protocol, Protocol)
        protocol.makeConnection(StringTransport())
        return protocol

    @property
    def withdrawn(self) -> list[bool]:
        """Whether each attempt was withdrawn."""
        return [connector.stoppedConnecting for connector in self.reactor.connectors]

    @property
    def error(self) -> BaseException:
        """What it failed with."""
        return error_in(self.outcome)


def test_zones_stay() -> None:
    """A link-local address is dialed with its zone, without which it leads nowhere."""
    bench = Bench(IPv6Address("TCP", "fe80::1", 80, 0, 3))
    assert bench.tried == [("fe80::1%3", 9192, None)]


def test_each_address_in_its_turn() -> None:
    """They are tried in the order given, those of IPv4 first, with the port that was given, each after a head start."""
    bench = Bench(V6, V4, OTHER, answered=False)
    assert (bench.resolver.asked, bench.tried) == ([("db.example.com", 9192)], [])
    bench.resolver.answer()
    tried = []
    for seconds in (0, 0.04, 0.02, 0.05, 1):
        bench.reactor.advance(seconds)
        tried.append([host for host, _, _ in bench.tried])
    first, second, third = "10.0.0.1", "10.0.0.2", "fd00::1"
    assert tried == [[first], [first], [first, second], *[[first, second, third]] * 2]
    assert bench.tried[0] == (first, 9192, None)
    assert bench.outcome == []


def test_the_first_connection_wins() -> None:
    """The others are withdrawn, and no further address is tried."""
    bench = Bench(V6, V4, OTHER)
    bench.reactor.advance(0.05)
    protocol = bench.succeed(1)
    assert [one._wrappedProtocol if hasattr(one, "_wrappedProtocol") else one for one in bench.outcome] == [
        getattr(protocol, "_wrappedProtocol", protocol)
    ]
    assert bench.withdrawn == [True, False]
    bench.reactor.advance(10)
    assert len(bench.tried) == 2
    assert bench.reactor.getDelayedCalls() == []


def test_a_failure_makes_room_at_once() -> None:
    """When an address refuses, the next one is tried without waiting; the last one's failure is the answer."""
    bench = Bench(V6, V4)
    bench.fail(0, ConnectionRefusedError(string="first"))
    assert [host for host, _, _ in bench.tried] == ["10.0.0.1", "fd00::1"]
    assert bench.outcome == []
    bench.fail(1, ConnectionRefusedError(string="second"))
    assert isinstance(bench.error, ConnectionRefusedError)
    assert str(bench.error).endswith("second.")
    assert bench.reactor.getDelayedCalls() == []


def test_one_that_is_slow_may_still_win() -> None:
    """An attempt goes on when others have failed."""
    bench = Bench(V6, V4)
    bench.reactor.advance(0.05)
    bench.fail(1, ConnectionRefusedError())
    assert bench.outcome == []
    bench.succeed(0)
    assert not isinstance(bench.outcome[0], Failure)


def test_no_address() -> None:
    """A name without an address is an error that shows it."""
    assert str(Bench().error).endswith("no results for hostname lookup: db.example.com.")
    assert isinstance(Bench().error, DNSLookupError)


@pytest.mark.parametrize("host", ["a..b", "x" * 64, ".a"])
def test_no_name(host: str) -> None:
    """What can't be a name isn't looked up."""
    found: list[Any] = []
    HappyEyeballsEndpoint(MemoryReactorClock(), Clock(), host, 80, 0.05).connect(Factory()).addErrback(found.append)
    assert isinstance(found[0].value, DNSLookupError)
    assert "is no host name" in str(found[0].value)


@pytest.mark.parametrize("answered", [False, True])
def test_cancelling(answered: bool) -> None:
    """It withdraws what is under way; what comes later has no effect."""
    bench = Bench(V6, V4, answered=answered)
    bench.connecting.cancel()
    assert isinstance(bench.error, CancelledError)
    if not answered:
        bench.resolver.answer()
    bench.reactor.advance(10)
    assert bench.withdrawn == [True] * answered
    assert bench.reactor.getDelayedCalls() == []


def test_a_blocking_client_installs_no_reactor() -> None:
    """A program that dials a name by blocking calls can still install the reactor that it wants."""
    program = """
import sys
from pyshard import Pyshard
from pyshard.errors import Unavailable
try:
    Pyshard("localhost:1", deadline=0.5)
except Unavailable:
    pass
assert "twisted.internet.reactor" not in sys.modules
from twisted.internet import asyncioreactor
asyncioreactor.install()
"""
    command = [sys.executable, "-P", "-c", program]  # -P: what is installed, not the checkout
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
