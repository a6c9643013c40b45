"""Handshakes of TLS with a daemon: how long they may take, and what the log says of those that fail."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import Certificates
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.logger import Logger

from pyshard.security import tls
from pyshard.security.tls.failure_log import QUIET, HandshakeFailureLog
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.settings import settings
from pyshard.testing import MemoryNetwork

WHERE = ("127.0.0.1", 5050)


@pytest.fixture
def network() -> MemoryNetwork:
    """A network, on which nothing listens yet."""
    return MemoryNetwork(Clock())


@pytest.fixture
def factory(network: MemoryNetwork, tmp_path: Path) -> ServerFactory:
    """The factory of a daemon that listens with TLS, and wants no tokens."""
    made = ServerFactory(lambda factory: ServerConnection(factory, network.clock), network.clock)
    certificates = Certificates(tmp_path)
    tls.listening(network.listen(*WHERE), certificates.daemon, False, network.clock).listen(made)
    return made


def dialed(network: MemoryNetwork, data: bytes = b"") -> None:
    """A connection to the daemon, over which the peer sends this and no more."""

    class Peer(Protocol):
        def connectionMade(self) -> None:
            assert self.transport is not None
            self.transport.write(data)

    network.dial(*WHERE).connect(Factory.forProtocol(Peer))
    network.settle()


def test_time_for_a_handshake(network: MemoryNetwork, factory: ServerFactory, log_lines: list[str]) -> None:
    """A peer that doesn't finish the handshake is cut off, and its connection never counts as open."""
    dialed(network)
    network.advance(settings.HANDSHAKE - 0.1)
    assert (len(factory.handshakes), factory.connections) == (1, {})
    network.advance(0.2)
    assert (len(factory.handshakes), factory.connections) == (0, {})
    assert [line for line in log_lines if "connection c1" in line] == [
        "warn: connection c1 from 127.0.0.1:40001: no TLS: the handshake took longer than 10 s"
    ]


def test_health_checks(network: MemoryNetwork, factory: ServerFactory, log_lines: list[str]) -> None:
    """A connection that closes before a byte of a handshake costs no line; one hour later they have one together."""

    class Check(Protocol):
        def connectionMade(self) -> None:
            assert self.transport is not None
            self.transport.loseConnection()

    for _ in range(100):
        network.dial(*WHERE).connect(Factory.forProtocol(Check))
        network.settle()
    assert factory.connections == {}
    assert [line for line in log_lines if "connection" in line] == [
        "info: connections closed without having sent a byte, as health checks do: 1; the last from 127.0.0.1:40001"
    ]
    assert factory.silent.count == 99


def test_plain_boxes(network: MemoryNetwork, factory: ServerFactory, log_lines: list[str]) -> None:
    """A peer that doesn't speak TLS is cut off at once; soon after, further attempts are counted, not logged."""
    for _ in range(3):
        dialed(network, b"\x00\x04_ask\x00\x011\x00\x08_command\x00\x04Ping\x00\x00")
    assert factory.connections == {}
    network.advance(QUIET)
    dialed(network, b"GET / HTTP/1.1\r\n\r\n")
    assert [line.partition("no TLS: ")[2] for line in log_lines if "no TLS: " in line] == [
        'the peer doesn\'t speak TLS; see the documentation, "TLS"',
        'the peer doesn\'t speak TLS; see the documentation, "TLS" (2 times more since it was told last)',
    ]


def test_each_peer_and_reason_is_told(log_lines: list[str]) -> None:
    """Failures of other peers, or for other reasons, are logged at once, and only so many are remembered."""
    failed = HandshakeFailureLog(Logger())
    failed.add(0.0, "c1", "10.0.0.1:1000", "one")
    failed.add(1.0, "c2", "10.0.0.1:1001", "two")
    failed.add(1.0, "c3", "10.0.0.2:1000", "one")
    failed.add(QUIET - 1, "c4", "10.0.0.1:1002", "one")
    assert [line.split()[2] for line in log_lines] == ["c1", "c2", "c3"]
    for number in range(5000):
        failed.add(0.0, "c5", f"peer{number}:1", "three")
    assert len(failed._logged) <= 1000
