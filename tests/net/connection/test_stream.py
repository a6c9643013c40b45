"""Boxes past a limit, boxes that don't end, and the transport under them."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from net.connection.ends import Answering, Pair, add, box, line
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport

from pyshard.errors import ShardFull
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol.boxes import Limits
from pyshard.settings import settings

# -- limits of a box ------------------------------------------------------------------------------------------------


def test_limits_by_default() -> None:
    """Without limits of its own a connection has those of the settings."""
    assert Limits() == Limits(settings.MAX_BOX_KEYS, settings.MAX_BOX_BYTES, settings.UNFINISHED_BOX)


@pytest.mark.parametrize("spare", [-1, 0, 1])
def test_keys_of_a_box(spare: int, log_lines: list[str]) -> None:
    """A box with as many keys as the limit is answered, one with one more closes the connection."""
    call = box(_ask="1", _command="Add", a=1, b=2, c=3)
    one = line(Limits(keys=5 + spare, size=1_000_000))
    one.protocol.dataReceived(call * 3)
    assert (one.closed(), len(one.answers())) == ((True, 0) if spare < 0 else (False, 3))
    breach = "warn: connection ?: closed, the peer broke the protocol: a box past 4 keys or 1,000,000 bytes"
    assert log_lines == ([breach] if spare < 0 else [])


@pytest.mark.parametrize("spare", [-1, 0, 1])
@pytest.mark.parametrize("call", [add("1", 1, 2), box(_ask="1", _command="Echo", **{"data": 1, "data.0": b"x" * 5000})])
def test_bytes_of_a_box(call: bytes, spare: int, log_lines: list[str]) -> None:
    """A box as long as the limit, with all lengths and its end, is answered, one byte more closes the connection."""
    size = len(call) + spare
    one = line(Limits(size=size))
    one.protocol.dataReceived(call * 3)
    assert (one.closed(), len(one.answers())) == ((True, 0) if spare < 0 else (False, 3))
    breach = f"warn: connection ?: closed, the peer broke the protocol: a box past 320 keys or {size:,} bytes"
    assert log_lines == ([breach] if spare < 0 else [])


def test_nothing_is_kept_of_a_box_past_its_limit() -> None:
    """A box past its limit is cut while it arrives: what the peer sends on is not looked at."""
    one = line(Limits(size=100_000))
    endless = b"\0\x01k\xff\xff" + b"x" * 65_535
    for _ in range(1000):
        one.protocol.dataReceived(endless)
    assert one.closed()
    assert len(one.protocol._unprocessed) < 200_000
    assert one.transport.value() == b""


def test_one_key_again_and_again() -> None:
    """A box that repeats one key is counted by what was sent, not by what is kept of it."""
    one = line(Limits(keys=10))
    one.protocol.dataReceived(b"\0\x01k\0\x01v" * 11)
    assert one.closed()


def test_long_key(log_lines: list[str]) -> None:
    """A key of more than 255 bytes ends the connection, with one line in the log."""
    one = line()
    one.protocol.dataReceived(b"\x01\x00" + b"k" * 256)
    assert one.closed()
    assert log_lines == [
        "warn: connection ?: closed, the peer broke the protocol: a key of 256 bytes; AMP's keys have at most 255"
    ]


def test_nothing_is_done_after_a_breach() -> None:
    """What stands behind a breach, in the same bytes or later ones, is not done."""
    one = line()
    one.protocol.dataReceived(add("1", 1, 2) + b"\xff\xff" + add("2", 1, 2))
    one.protocol.dataReceived(add("3", 1, 2))
    assert [answer[b"_answer"] for answer in one.answers()] == [b"1"]


# -- unfinished boxes -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("begun", [b"\0", b"\0\x04", b"\0\x04_ask", b"\0\x04_ask\0\x011", b"\0\x04_ask\0\x011\0"])
def test_unfinished_box(begun: bytes, log_lines: list[str]) -> None:
    """A box that was begun and doesn't end is cut when its time is over, and not before."""
    one = line(Limits(unfinished=30))
    one.clock.advance(100)  # a silent peer that began nothing may stay
    one.protocol.dataReceived(begun)
    one.clock.advance(29.9)
    assert not one.closed()
    one.clock.advance(0.2)
    assert one.closed()
    assert log_lines == [
        "warn: connection ?: closed, the peer broke the protocol: a box that was not finished within 30 s"
    ]


def test_box_that_trickles_in() -> None:
    """Bytes that go on coming don't prolong a box's time."""
    one = line(Limits(unfinished=30))
    for byte in add("1", 1, 2)[:30]:
        assert not one.closed()
        one.protocol.dataReceived(bytes([byte]))
        one.clock.advance(1)
    assert one.closed()


def test_slow_peer_that_finishes() -> None:
    """A peer that finishes each box in time may go on for ever, in whatever pieces its boxes come."""
    call = add("1", 1, 2)
    one = line(Limits(unfinished=30))
    for _ in range(10):
        one.protocol.dataReceived(call[:10])
        one.clock.advance(29)
        one.protocol.dataReceived(call[10:])
        one.clock.advance(1000)
    one.protocol.dataReceived(call[:10])
    for _ in range(10):
        one.clock.advance(29)
        one.protocol.dataReceived(call[10:] + call[:10])
    assert not one.closed()
    assert len(one.answers()) == 20


def test_silence_after_a_box_in_pieces() -> None:
    """A peer whose box came in many pieces and was finished may be silent for ever, and no timer stays."""
    one = line(Limits(unfinished=30))
    for byte in add("1", 1, 2):
        one.protocol.dataReceived(bytes([byte]))
    assert one.clock.getDelayedCalls() == []
    one.clock.advance(1000)
    assert not one.closed()


def test_box_behind_another_has_its_own_time() -> None:
    """A box that began in the bytes that ended another is given its whole time, and not more than twice that."""
    call = add("1", 1, 2)
    one = line(Limits(unfinished=30))
    one.protocol.dataReceived(call[:10])
    one.clock.advance(29)
    one.protocol.dataReceived(call[10:] + call[:10])
    one.clock.advance(29.9)
    assert not one.closed()
    one.clock.advance(30)
    assert one.closed()


def test_no_timer_stays_behind() -> None:
    """A connection that ends takes its timer with it."""
    ends: list[Callable[[Answering], object]] = [
        lambda one: one.connectionLost(Failure(ConnectionDone())),
        lambda one: one.abort(),
        lambda one: one.dataReceived(add("1", 1, 2)[1:]),
        lambda one: one.dataReceived(b"\0"),  # an empty box, which is a breach
    ]
    for end in ends:
        one = line()
        one.protocol.dataReceived(b"\0")
        assert len(one.clock.getDelayedCalls()) == 1
        end(one.protocol)
        assert one.clock.getDelayedCalls() == []


# -- the transport --------------------------------------------------------------------------------------------------


def test_tcp_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small boxes go out at once, and the system looks whether the peer is still there."""
    options: dict[str, bool] = {}
    protocol = BoundedAMP(Clock())
    transport = FakeTransport(protocol, False)
    monkeypatch.setattr(transport, "setTcpNoDelay", lambda on: options.update(delay=not on))
    monkeypatch.setattr(transport, "setTcpKeepAlive", lambda on: options.update(alive=on))
    protocol.makeConnection(transport)
    assert options == {"delay": False, "alive": True}


def test_closing_without_a_connection() -> None:
    """Closing and aborting a connection that is no more, or never was, does nothing."""
    one = line()
    for protocol in (BoundedAMP(Clock()), one.protocol):
        protocol.close()
        protocol.abort()
        if protocol is one.protocol:
            protocol.connectionLost(Failure(ConnectionDone()))
            protocol.close()
            protocol.abort()
            assert protocol.transport is None


def test_unhandled_error_ends_the_connection(pair: Pair, logged_errors: Callable[..., list[BaseException]]) -> None:
    """What goes wrong in AMP's own code ends the connection, and the log says why."""
    pair.asking.unhandledError(Failure(ShardFull("why")))
    pair.flush()
    (error,) = logged_errors()
    assert (type(error), str(error)) == (ShardFull, "why")
    assert pair.asking.transport is None


def test_connections_are_not_logged_by_amp(pair: Pair, log_lines: list[str]) -> None:
    """Opening and closing a connection says nothing by itself."""
    pair.asking.close()
    pair.flush()
    assert pair.answering.transport is None
    assert log_lines == []
