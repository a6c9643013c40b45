"""The lines about connections: a few a second however many come, what was left out is told, and errors always stand."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport

from pyshard.metrics.line_pace import BURST, LinePace
from pyshard.security.tokens_and_roles import parse
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.server.paced_log import paced_log
from pyshard.settings import settings


def test_a_few_lines_a_second() -> None:
    """When it was quiet some more may come at once; then so many a second, and the others are counted."""
    pace = LinePace(3)
    assert [pace.admits(100.0) for _ in range(1000)].count(True) == 3 * BURST
    assert pace.left_out == 1000 - 3 * BURST
    admitted = 0
    for number in range(1000):
        if pace.admits(100.0 + number / 100):
            admitted += 1 + bool(pace.left_out)
            pace.left_out = 0
    assert admitted == pytest.approx(10 * 3, abs=2)


def test_after_a_quiet_time() -> None:
    """A quiet hour isn't saved up."""
    pace = LinePace(5)
    for now in (0.0, 3600.0, 7200.0):
        assert [pace.admits(now) for _ in range(1000)].count(True) == 5 * BURST
        pace.left_out = 0


def test_a_clock_that_is_set_back() -> None:
    """Then the lines go on as before."""
    pace = LinePace(5)
    assert [pace.admits(1e6) for _ in range(1000)].count(True) == 5 * BURST
    assert not pace.admits(0.0)
    assert pace.admits(1.0)


def test_what_was_left_out_is_told(log_lines: list[str]) -> None:
    """The next line comes behind one with the number of those that were left out."""
    clock = Clock()
    log = paced_log(clock, 5, "peers")
    for number in range(1000):
        log.info("peer {number}", number=number)
    assert len(log_lines) == 5 * BURST
    clock.advance(1)
    log.info("one more")
    assert log_lines[-2:] == ["warn: 950 lines about peers were left out", "info: one more"]
    log.info("and one")
    assert log_lines[-1] == "info: and one"


def test_errors_always_have_their_line(logged_errors: Callable[[], list[BaseException]]) -> None:
    """What is this daemon's own fault isn't left out."""
    log = paced_log(Clock(), 5, "peers")
    for _ in range(100):
        log.info("peer")
    for number in range(100):
        log.error("error {number}", number=number)
    assert len(logged_errors()) == 100


@pytest.mark.parametrize(("guarded", "lines"), [(False, settings.CONNECTION_LINES), (True, settings.STRANGER_LINES)])
def test_thousands_of_connections(guarded: bool, lines: float, log_lines: list[str]) -> None:
    """Connections that come and go by thousands have few lines; those of strangers fewer than those of all others."""
    clock = Clock()
    tokens = (lambda: parse("admin the-secret-of-an-admin")) if guarded else None
    factory = ServerFactory(lambda made: ServerConnection(made, clock), clock, tokens=tokens)
    for _ in range(5000):
        connection = factory.buildProtocol(None)
        connection.makeConnection(StringTransport())
        connection.dataReceived(b"\0\0")
        connection.connectionLost()
        clock.advance(0.001)
    assert len(log_lines) <= (BURST + 5) * lines + 1
