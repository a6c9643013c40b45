"""An outgoing connection: who gets to use it, and what keeps it from coming up."""

from __future__ import annotations

import pytest
from deferreds import result
from net.reconnecting_dialer.dialed import HELLO, WHERE, Bench
from twisted.internet.defer import Deferred

from pyshard.errors import WrongIdentity
from pyshard.protocol import commands
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings

# -- coming up ------------------------------------------------------------------------------------------------------


def test_connects(bench: Bench) -> None:
    """It dials, hears who answers, has that approved, and gives the connection, which can be used."""
    connection = bench.connect()
    assert bench.greetings == [Greeting(commands.PROTOCOL, "shard", "1d", "c1", "low", 7, True, "c1", "2e")]
    assert bench.dialer.connection is connection
    assert (bench.dials, bench.downs) == ([0.0], [])
    asked = connection.call(commands.Ping, 1)
    bench.network.settle()
    assert result(asked) == {}


def test_nothing_is_dialed_unasked(bench: Bench) -> None:
    """Until somebody wants the connection nothing is dialed."""
    bench.listen()
    bench.network.advance(10)
    assert (bench.dials, bench.dialer.connection) == ([], None)


def test_one_connection(bench: Bench) -> None:
    """However often it is wanted: one attempt at a time, and one connection."""
    bench.listen()
    for _ in range(3):
        bench.dialer.dial()
    bench.network.settle()
    for _ in range(3):
        bench.dialer.dial()
    bench.network.advance(100)
    assert (len(bench.dials), len(bench.ups)) == (1, 1)


def test_approval_that_takes_time(bench: Bench) -> None:
    """Nobody gets the connection before it is approved."""
    approval: Deferred[None] = Deferred()
    bench.approves = lambda: approval
    bench.listen()
    bench.dialer.dial()
    bench.network.advance(4)
    assert (len(bench.greetings), bench.ups, bench.dialer.connection) == (1, [], None)
    approval.callback(None)
    assert bench.ups == [bench.dialer.connection]
    bench.network.advance(100)
    assert (bench.downs, len(bench.dials)) == ([], 1)


# -- failing to come up ---------------------------------------------------------------------------------------------


def test_refused(bench: Bench) -> None:
    """Where nobody listens the attempt fails at once, with the reason, and is made again."""
    bench.dialer.dial()
    assert bench.downs == ["connection refused"]
    bench.network.advance(0.06)
    assert len(bench.dials) == 2
    bench.listen()
    bench.network.advance(1)
    assert len(bench.ups) == 1


def test_not_approved(bench: Bench) -> None:
    """A peer that isn't approved loses the connection; it is dialed again, since another may be there by then."""

    def refuse() -> None:
        raise WrongIdentity("another shard answers here")

    bench.approves = refuse
    bench.listen()
    bench.dialer.dial()
    bench.network.settle()
    assert (bench.downs, bench.ups, bench.dialer.connection) == (["another shard answers here"], [], None)
    assert [daemon.transport for daemon in bench.daemons] == [None]
    bench.approves = lambda: None
    bench.network.advance(0.06)
    assert len(bench.ups) == 1


def test_not_approved_later(bench: Bench) -> None:
    """An approval that fails later refuses as well."""
    approval: Deferred[None] = Deferred()
    bench.approves = lambda: approval
    bench.listen()
    bench.dialer.dial()
    bench.network.settle()
    approval.errback(WrongIdentity("no"))
    bench.network.settle()
    assert (bench.downs, bench.ups) == (["no"], [])
    assert [daemon.transport for daemon in bench.daemons] == [None]


@pytest.mark.parametrize("version", [1, 3])
def test_other_version(bench: Bench, version: int) -> None:
    """A peer with another version of the protocol isn't even looked at."""
    bench.hello = {**HELLO, "protocol": version}
    bench.listen()
    bench.dialer.dial()
    bench.network.settle()
    assert bench.downs == [f"the peer speaks version {version} of the protocol, this side 2"]
    assert (bench.greetings, bench.ups) == ([], [])
    assert [daemon.transport for daemon in bench.daemons] == [None]


def test_no_pyshard_daemon(bench: Bench) -> None:
    """A peer that speaks AMP and knows no Hello is told apart."""
    bench.hello = None
    bench.listen()
    bench.dialer.dial()
    bench.network.settle()
    assert (bench.downs, bench.ups) == (["the peer is no pyshard daemon"], [])


def test_half_a_greeting(bench: Bench) -> None:
    """A greeting that lacks something is a failed attempt like others."""
    bench.hello = Deferred()
    bench.listen()
    bench.dialer.dial()
    bench.network.settle()
    assert bench.daemons[0].transport is not None
    bench.daemons[0].transport.write(b"\0\x07_answer\0\x011\0\x08protocol\0\x011\0\0")
    bench.network.settle()
    assert (len(bench.downs), bench.ups, bench.greetings) == (1, [], [])
    assert bench.daemons[0].transport is None


def test_silent_peer(bench: Bench) -> None:
    """A peer that accepts and says nothing costs one timeout, and its connection is given up."""
    bench.listen()
    bench.network.silence(*WHERE)
    bench.dialer.dial()
    bench.network.advance(settings.TIMEOUT - 0.1)
    assert (bench.downs, len(bench.dials)) == ([], 1)
    bench.network.advance(0.11)
    assert bench.downs == ["no answer to Hello within 5 s"]
    assert bench.daemons[0].transport is None
    bench.network.unsilence(*WHERE)
    bench.network.advance(0.1)
    assert len(bench.ups) == 1


def test_connecting_takes_too_long(bench: Bench) -> None:
    """An attempt that comes to nothing is given up after its timeout, and another one is made."""
    bench.listen()
    bench.endpoint.hangs = True
    bench.dialer.dial()
    bench.network.advance(settings.TIMEOUT - 0.1)
    assert (bench.downs, bench.endpoint.cancelled) == ([], 0)
    bench.endpoint.hangs = False
    bench.network.advance(0.2)
    assert (bench.downs, bench.endpoint.cancelled) == (["no connection and no word of a pyshard daemon within 5 s"], 1)
    assert len(bench.ups) == 1


def test_approval_takes_too_long(bench: Bench) -> None:
    """The timeout is one for connecting, greeting and approval together."""
    bench.approves = Deferred
    bench.listen()
    bench.dialer.dial()
    bench.network.advance(settings.TIMEOUT + 0.01)
    assert bench.downs == ["no connection and no word of a pyshard daemon within 5 s"]
    assert bench.daemons[0].transport is None
    bench.approves = lambda: None
    bench.network.advance(0.1)
    assert len(bench.ups) == 1


def test_lost_during_greeting(bench: Bench) -> None:
    """A connection that breaks before the answer to Hello is a failed attempt."""
    bench.listen()
    bench.network.silence(*WHERE)
    bench.dialer.dial()
    bench.network.settle()
    bench.network.cut(*WHERE)
    bench.network.settle()
    assert (bench.downs, bench.ups) == (
        ["the connection was closed before any answer; perhaps the peer speaks TLS"],
        [],
    )


def test_lost_during_approval(bench: Bench) -> None:
    """A connection that is approved when it has broken already is given to nobody."""
    approval: Deferred[None] = Deferred()
    bench.approves = lambda: approval
    bench.listen()
    bench.dialer.dial()
    bench.network.settle()
    bench.network.cut(*WHERE)
    bench.network.settle()
    approval.callback(None)
    assert (bench.downs, bench.ups, bench.dialer.connection) == (["the connection was lost"], [], None)
    bench.approves = lambda: None
    bench.network.advance(0.1)
    assert len(bench.ups) == 1
