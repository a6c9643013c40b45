"""An outgoing connection: how it ends, and what is said of it."""

from __future__ import annotations

import pytest
from deferreds import result
from net.reconnecting_dialer.dialed import WHERE, Bench
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import (
    ConnectError,
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    DNSLookupError,
)
from twisted.internet.error import TimeoutError as ConnectTimeoutError
from twisted.python.failure import Failure

from pyshard.errors import BadRequest
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.disconnect_reason import reason_of
from pyshard.protocol import commands
from pyshard.protocol.error_answers import UnknownCommand

# -- ends -----------------------------------------------------------------------------------------------------------


def test_lost(bench: Bench) -> None:
    """A connection that breaks is reported once, its calls fail, and another one is dialed."""
    connection = bench.connect()
    bench.network.silence(*WHERE)
    asked = connection.call(commands.Ping, 1)
    bench.network.settle()
    bench.network.unsilence(*WHERE)
    bench.network.cut(*WHERE)
    bench.network.settle()
    assert (bench.downs, bench.dialer.connection) == (["the connection was closed"], None)
    with pytest.raises(ConnectionDone):
        result(asked)
    bench.network.advance(0.06)
    assert len(bench.ups) == 2
    assert bench.dialer.connection is bench.ups[1]


def test_lost_and_not_wanted(bench: Bench) -> None:
    """A connection that breaks when nobody wants it is not dialed again."""
    bench.connect()
    bench.wanted = False
    bench.network.cut(*WHERE)
    bench.network.advance(10)
    assert (len(bench.downs), len(bench.dials)) == (1, 1)


def test_loss_is_known_before_calls_fail(bench: Bench) -> None:
    """Whoever hears that a call failed because the connection broke doesn't find that connection any more."""
    connection = bench.connect()
    bench.network.silence(*WHERE)
    found: list[DialedConnection | None] = []
    connection.call(commands.Ping, 60).addErrback(lambda _: found.append(bench.dialer.connection))
    bench.network.cut(*WHERE)
    bench.network.settle()
    assert found == [None]


def test_drop(bench: Bench) -> None:
    """Dropping a connection fails its calls, is reported once, and another one is dialed."""
    connection = bench.connect()
    bench.network.silence(*WHERE)
    asked = connection.call(commands.Ping, 60)
    bench.network.settle()
    bench.dialer.drop()
    assert (bench.downs, bench.dialer.connection) == (["the connection was closed"], None)
    bench.network.settle()
    with pytest.raises(ConnectionDone):
        result(asked)
    assert bench.daemons[0].transport is None
    bench.network.unsilence(*WHERE)
    bench.network.advance(0.06)
    assert (len(bench.downs), len(bench.ups)) == (1, 2)


def test_drop_nothing(bench: Bench) -> None:
    """Without a connection there is nothing to drop."""
    bench.dialer.drop()
    assert (bench.downs, bench.dials) == ([], [])


def test_close(bench: Bench) -> None:
    """Closing ends the connection for good, says nothing, and is done when the connection is closed."""
    bench.connect()
    closed = bench.dialer.close()
    assert not closed.called
    bench.network.settle()
    assert result(closed) is None
    assert bench.daemons[0].transport is None
    assert bench.clock.getDelayedCalls() == []
    bench.dialer.dial()
    bench.network.advance(100)
    assert (bench.downs, len(bench.dials), bench.dialer.connection) == ([], 1, None)
    assert bench.clock.getDelayedCalls() == []


def test_close_twice(bench: Bench) -> None:
    """Closing again is done at once."""
    bench.connect()
    bench.dialer.close()
    bench.network.settle()
    assert result(bench.dialer.close()) is None


def test_close_waits_for_a_bounded_time(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that doesn't get rid of its last bytes is ended after a second."""
    connection = bench.connect()
    monkeypatch.setattr(connection, "close", lambda: None)
    closed = bench.dialer.close()
    bench.network.advance(0.9)
    assert not closed.called
    bench.network.advance(0.2)
    assert result(closed) is None
    assert bench.daemons[0].transport is None


def test_close_while_connecting(bench: Bench) -> None:
    """An attempt under way is given up without a word."""
    bench.endpoint.hangs = True
    bench.dialer.dial()
    assert result(bench.dialer.close()) is None
    assert (bench.endpoint.cancelled, bench.downs) == (1, [])
    bench.network.advance(100)
    assert (len(bench.dials), bench.clock.getDelayedCalls()) == (1, [])


@pytest.mark.parametrize("silent", [True, False])
def test_close_while_greeting(bench: Bench, silent: bool) -> None:
    """A connection that isn't approved yet is closed too, whether Hello or the approval takes its time."""
    bench.approves = Deferred
    bench.listen()
    if silent:
        bench.network.silence(*WHERE)
    bench.dialer.dial()
    bench.network.settle()
    closed = bench.dialer.close()
    assert not closed.called
    bench.network.settle()
    assert result(closed) is None
    assert bench.daemons[0].transport is None
    bench.network.advance(100)
    assert (len(bench.dials), bench.downs, bench.ups) == (1, [], [])


def test_close_during_a_pause(bench: Bench) -> None:
    """A pause is ended, and nothing is dialed after it; closing again is no mistake."""
    bench.dialer.dial()
    for _ in range(2):
        assert result(bench.dialer.close()) is None
    assert bench.clock.getDelayedCalls() == []
    assert (len(bench.dials), len(bench.downs)) == (1, 1)


def test_closing_in_answer_to_bad_news(bench: Bench) -> None:
    """Whoever hears of a failure may close at once; nothing is dialed then."""
    closed: list[Deferred[None]] = []
    bench.on_down = lambda: closed.append(bench.dialer.close())
    bench.dialer.dial()
    bench.network.advance(10)
    assert (len(bench.dials), len(closed), bench.clock.getDelayedCalls()) == (1, 1, [])


# -- reasons --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ConnectionRefusedError(string="Connection refused"), "connection refused"),
        (ConnectionRefusedError(), "Connection was refused by other side."),
        (ConnectTimeoutError(), "User timeout caused connection failure."),
        (ConnectError(113, "No route to host"), "no route to host"),
        (
            DNSLookupError("no results for hostname lookup: nowhere"),
            "DNS lookup failed: no results for hostname lookup: nowhere.",
        ),
        (ConnectionDone(), "the connection was closed"),
        (ConnectionLost(), "the connection was closed"),
        (ConnectionAborted(), "the connection was closed"),
        (UnknownCommand('this side has no command "Hello"'), "the peer is no pyshard daemon"),
        (BadRequest("why"), "why"),
        (BadRequest("why\n\x1b[2J"), r"why\n\x1b[2J"),
        (TimeoutError("no answer to Hello within 5 s"), "no answer to Hello within 5 s"),
        (CancelledError(), "CancelledError"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_reasons(error: Exception, reason: str) -> None:
    """Why there is no connection, in a few words."""
    assert reason_of(Failure(error)) == reason
