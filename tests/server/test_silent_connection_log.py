"""Connections that close without a byte, as health checks do: what the log says of them."""

from __future__ import annotations

import pytest
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pyshard.security.tokens_and_roles import Role, Token, Tokens
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.server.silent_connection_log import QUIET, SilentConnectionLog
from pyshard.settings import settings

TOKENS = Tokens((Token(Role.ADMIN, b"sixteen-characters"),))


def connected(factory: ServerFactory) -> ServerConnection:
    """A new connection."""
    connection = factory.buildProtocol(None)
    assert connection is not None
    connection.makeConnection(StringTransport())
    return connection


def factory_on(clock: Clock, guarded: bool = False) -> ServerFactory:
    """A daemon's factory."""
    return ServerFactory(
        lambda made: ServerConnection(made, clock), clock, tokens=(lambda: TOKENS) if guarded else None
    )


@pytest.mark.parametrize("guarded", [False, True])
@pytest.mark.parametrize("reason", [ConnectionDone(), ConnectionLost()])
def test_health_checks(guarded: bool, reason: Exception, log_lines: list[str]) -> None:
    """A check each second costs a line an hour, with how many there were; none is lost between two lines."""
    clock = Clock()
    factory = factory_on(clock, guarded)
    for _ in range(3 * 3600):
        connected(factory).connectionLost(Failure(reason))
        clock.advance(1)
    assert len(log_lines) == 3
    assert log_lines[1].startswith(
        "info: connections closed without having sent a byte, as health checks do: 3,600 in 60 minutes; the last from "
    )
    assert (
        sum(int(line.rpartition(": ")[2].split()[0].strip(";").replace(",", "")) for line in log_lines)
        + factory.silent.count
        == 3 * 3600
    )
    assert clock.getDelayedCalls() == []


def test_the_first_byte(log_lines: list[str]) -> None:
    """A connection is told as opened when its first byte comes, and then as closed, too."""
    clock = Clock()
    connection = connected(factory_on(clock))
    assert log_lines == []
    connection.dataReceived(b"\0")
    assert [line.rpartition(": ")[2] for line in log_lines] == ["opened"]
    connection.dataReceived(b"\4")
    connection.connectionLost(Failure(ConnectionDone()))
    assert len(log_lines) == 2
    assert "closed after 0 operations" in log_lines[1]


def test_a_stranger_that_says_nothing(log_lines: list[str]) -> None:
    """A connection that this side ends is told: it closed nothing by itself."""
    clock = Clock()
    factory = factory_on(clock, guarded=True)
    connection = connected(factory)
    clock.advance(settings.AUTHENTICATION)
    connection.connectionLost(Failure(ConnectionDone()))
    assert len(log_lines) == 2
    assert "no valid token within" in log_lines[0]
    assert "closed after 0 operations" in log_lines[1]
    assert factory.silent.count == 0


def test_while_a_daemon_drains(log_lines: list[str]) -> None:
    """A connection that ends because the daemon does is told."""
    factory = factory_on(Clock())
    connection = connected(factory)
    factory.draining = True
    connection.connectionLost(Failure(ConnectionDone()))
    assert len(log_lines) == 1
    assert "closed after 0 operations" in log_lines[0]


def test_lines(log_lines: list[str]) -> None:
    """The first one is told at once; those of an hour later together."""
    log = SilentConnectionLog()
    for now in (5.0, 6.0, 5.0 + QUIET - 0.1, 5.0 + QUIET, 6.0 + QUIET):
        log.add(now, "192.0.2.1:1234")
    what = "connections closed without having sent a byte, as health checks do:"
    assert log_lines == [
        f"info: {what} 1; the last from 192.0.2.1:1234",
        f"info: {what} 3 in 60 minutes; the last from 192.0.2.1:1234",
    ]
    assert log.count == 1
