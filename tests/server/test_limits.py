"""Connections to a daemon past a limit, and those that fall silent: what the peer sees, and what all others do."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.protocols import amp

from pyshard.errors import NotAuthenticated, TooManyConnections
from pyshard.net.command_connection import BoundedAMP, Responder
from pyshard.protocol import commands
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.commands import Authenticate, GetMap, Ping
from pyshard.security.tokens_and_roles import parse
from pyshard.server.connection import ServerConnection
from pyshard.server.connection_admission import ConnectionLimits
from pyshard.server.factory import ServerFactory
from pyshard.server.listener import Listener
from pyshard.settings import settings
from pyshard.testing import MemoryNetwork

WHERE = ("127.0.0.1", 5050)
LIMITS = ConnectionLimits(total=3, address=100, strangers=2, refused=2)
TOKENS = parse("admin the-secret-of-an-admin\nread the-secret-of-a-reader")


class Later(Command):
    """Is answered when the test says so."""

    commandName = b"Later"


class Daemon(ServerConnection):
    """A daemon's side of a connection."""

    def __init__(self, factory: ServerFactory, clock: Clock) -> None:
        super().__init__(factory, clock)
        self.waiting: list[Deferred[Any]] = []

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [*super().responders(), (GetMap, lambda _: {"state": b"a map"}), (Later, cls.later)]

    def later(self) -> Deferred[Any]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


class Peer(BoundedAMP):
    """The other side; a stock AMP peer if it answers nothing."""

    stock = False
    pings = 0

    @classmethod
    def responders(cls) -> Iterable[tuple[type[Command], Responder]]:
        return [] if cls.stock else [(Ping, cls.ping)]

    def ping(self) -> object:
        self.pings += 1
        return {}


class StockPeer(Peer):
    """One that doesn't know `Ping`."""

    stock = True


class Bench:
    """A listener on a network in memory, and peers of it."""

    def __init__(self, limits: ConnectionLimits = LIMITS, guarded: bool = False) -> None:
        self.clock = Clock()
        self.clock.rightNow = 1_000_000.0
        self.network = MemoryNetwork(self.clock)
        self.factory = ServerFactory(
            lambda made: Daemon(made, self.clock),
            self.clock,
            tokens=(lambda: TOKENS) if guarded else None,
            connections=limits,
        )
        self.listener = Listener(self.clock, self.network.listen(*WHERE), self.factory)
        self.listener.startService()

    def connect(self, kind: type[Peer] = Peer) -> Peer:
        """A new peer, connected."""
        dialed = self.network.dial(*WHERE).connect(Factory.forProtocol(lambda: kind(self.clock)))
        self.network.settle()
        peer = outcome(dialed)
        assert isinstance(peer, Peer), peer
        return peer

    def ask(self, peer: BoundedAMP, command: type[Command], **arguments: object) -> Any:
        """What a peer's question comes to, or its error."""
        asked = peer.call(command, 1000, **arguments)
        self.network.settle()
        return outcome(asked)

    def authenticate(self, peer: BoundedAMP, who: str = "a-reader") -> Any:
        """What comes of presenting a token."""
        return self.ask(peer, Authenticate, token=f"the-secret-of-{who}".encode())

    def settle(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.network.advance(seconds)


def outcome(deferred: Deferred[Any]) -> Any:
    """What a Deferred has come to, or the error that it failed with; None: nothing yet."""
    found: list[Any] = []
    deferred.addCallbacks(found.append, lambda failure: found.append(failure.value))
    return found[0] if found else None


# -- too many ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", [GetMap, Ping, Later])
def test_too_many(command: type[Command], log_lines: list[str]) -> None:
    """Who comes past the limit is told so, whatever he asks, and closed soon; those that serve go on."""
    bench = Bench()
    peers = [bench.connect() for _ in range(3)]
    more = bench.connect()
    errors = [bench.ask(more, command) for _ in range(2)]
    for error in errors:
        assert type(error) is TooManyConnections
        assert str(error).startswith("this daemon has 3 connections already, as many as it may; ")
    assert len(bench.factory.connections) == 3
    assert log_lines[-1] == f"info: connection c4 from 127.0.0.1:40004: refused: {errors[0]}"
    bench.settle(settings.REFUSED + 0.1)
    assert (more.transport, bench.factory.refused) == (None, set())
    assert [bench.ask(peer, GetMap) for peer in peers] == [{"state": b"a map"}] * 3


def test_room_again() -> None:
    """When one has gone another one may come."""
    bench = Bench()
    first, _, _ = [bench.connect() for _ in range(3)]
    first.close()
    bench.settle()
    assert bench.ask(bench.connect(), GetMap) == {"state": b"a map"}
    assert type(bench.ask(bench.connect(), GetMap)) is TooManyConnections


def test_from_one_address() -> None:
    """The same for the connections from one address."""
    bench = Bench(ConnectionLimits(total=100, address=2, strangers=2, refused=2))
    answers = [bench.ask(bench.connect(), GetMap) for _ in range(3)]
    assert [type(one) for one in answers] == [dict, dict, TooManyConnections]
    assert "2 connections from 127.0.0.1 already" in str(answers[2])


def test_who_is_refused_has_a_strangers_limits() -> None:
    """He can't make the daemon take up more than a stranger can."""
    bench = Bench()
    peers = [bench.connect() for _ in range(4)]
    for peer in peers:
        peer.callRemote(Ping).addErrback(lambda _: None)
        assert peer.transport is not None
        peer.transport.write(amp.AmpBox(_command=b"Ping", _ask=b"x", more=b"x" * 2000).serialize()[:-1])
    bench.settle()
    assert [peer.transport is None for peer in peers] == [False, False, False, True]


def test_refused_ones_are_bounded(log_lines: list[str]) -> None:
    """Past a number of peers that are told, the next ones are closed at once; with one line in the log for all."""
    bench = Bench()
    for _ in range(5):
        bench.connect()
    before = len(log_lines)
    for _ in range(10):
        assert bench.connect().transport is None
    assert len(log_lines) == before + 1
    assert "further connections are closed without a word: this daemon has 3 connections already" in log_lines[-1]
    assert len(bench.factory.connections) == 3
    bench.settle(settings.REFUSED + 0.1)
    assert type(bench.ask(bench.connect(), GetMap)) is TooManyConnections


def test_stop_ends_the_refused_too() -> None:
    """A daemon that stops doesn't leave them behind."""
    bench = Bench()
    peers = [bench.connect() for _ in range(5)]
    stopping = bench.listener.stopService()
    bench.settle(0.1)
    assert stopping.called
    assert [peer.transport for peer in peers] == [None] * 5
    assert bench.clock.getDelayedCalls() == []


# -- where there are tokens -------------------------------------------------------------------------------------------


def test_strangers_take_nobodys_place() -> None:
    """While strangers fill all of their places, those that serve go on, and who comes is told."""
    bench = Bench(guarded=True)
    reader = bench.connect()
    assert bench.authenticate(reader) == {"role": "read"}
    for _ in range(2):
        assert type(bench.ask(bench.connect(), GetMap)) is NotAuthenticated
    error = bench.authenticate(bench.connect())
    assert type(error) is TooManyConnections
    assert str(error).startswith("2 peers are about to present their tokens already")
    assert bench.ask(reader, GetMap) == {"state": b"a map"}


def test_idle_strangers_give_way(log_lines: list[str]) -> None:
    """Strangers that do nothing can't keep out whoever has a token: after a second the oldest gives way."""
    bench = Bench(guarded=True)
    idle = [bench.connect() for _ in range(2)]
    bench.settle(1.1)
    for _ in range(3):
        assert bench.authenticate(bench.connect()) == {"role": "read"}
    assert [peer.transport is None for peer in idle] == [True, False]
    assert "info: connection c1 from 127.0.0.1:40001: gives way to another one, it has presented no token" in log_lines


def test_too_many_with_tokens() -> None:
    """A daemon that is full refuses a client's token with the same error, and still takes an admin's."""
    bench = Bench(guarded=True)
    for _ in range(3):
        assert bench.authenticate(bench.connect()) == {"role": "read"}
    more = bench.connect()
    for _ in range(2):
        assert type(bench.authenticate(more)) is TooManyConnections
    assert type(bench.ask(more, GetMap)) is TooManyConnections
    assert bench.authenticate(bench.connect(), "an-admin") == {"role": "admin"}
    bench.settle(settings.REFUSED + 0.1)
    assert more.transport is None
    assert (len(bench.factory.connections), bench.factory.admission.strangers) == (4, {})


# -- silence ----------------------------------------------------------------------------------------------------------

#: Seconds by which a silent peer has been found out.
NOTICED = settings.IDLE + 2 * settings.IDLE_LOOK


@pytest.mark.parametrize("kind", [Peer, StockPeer])
def test_idle_peers_stay(kind: type[Peer]) -> None:
    """A peer that says nothing for hours is asked now and then, and keeps its connection, if it knows `Ping` or not."""
    bench = Bench()
    peer = bench.connect(kind)
    bench.settle(3600 * 6)
    assert bench.ask(peer, GetMap) == {"state": b"a map"}
    if kind is Peer:
        assert 30 <= peer.pings <= 36


def test_peers_that_are_gone(log_lines: list[str]) -> None:
    """A connection that ended without a word is cut off, and makes room; not before it was silent for long."""
    bench = Bench()
    bench.connect()
    bench.network.strand(*WHERE)
    peer = bench.connect()
    bench.settle(settings.IDLE)
    assert len(bench.factory.connections) == 2
    bench.settle(NOTICED - settings.IDLE)
    assert len(bench.factory.connections) == 1
    assert log_lines[-2] == (
        "info: connection c1 from 127.0.0.1:40001: cut off, nothing was heard for 600 s, nor an answer to Ping"
    )
    assert bench.ask(peer, GetMap) == {"state": b"a map"}


def test_a_peer_that_reads_no_answers() -> None:
    """Who has read nothing of what was sent to it for as long is cut off as well."""
    bench = Bench()
    bench.connect()
    (connection,) = bench.factory.connections
    connection.pauseProducing()  # as the transport does
    bench.settle(settings.IDLE - 1)
    assert len(bench.factory.connections) == 1
    bench.settle(settings.IDLE_LOOK + 1)
    assert bench.factory.connections == {}


def test_a_peer_that_reads_slowly() -> None:
    """Who reads on now and then isn't."""
    bench = Bench()
    bench.connect()
    (connection,) = bench.factory.connections
    for _ in range(10):
        connection.pauseProducing()
        bench.settle(settings.IDLE / 2)
        connection.resumeProducing()
    assert len(bench.factory.connections) == 1


def test_a_peer_that_waits_for_its_answers() -> None:
    """Where it is the daemon that takes its time, and reads nothing on, nobody is cut off."""
    bench = Bench()
    peer = bench.connect()
    asked = [peer.call(Later, 100_000) for _ in range(settings.BOXES_UNDER_WAY + 1)]
    bench.settle()
    bench.network.silence(*WHERE)  # so that no `Ping` comes to be answered, as the answer wouldn't be read
    bench.settle(NOTICED * 3)
    bench.network.unsilence(*WHERE)
    (connection,) = bench.factory.connections
    assert isinstance(connection, Daemon)
    while connection.waiting:
        connection.waiting.pop().callback({})
        bench.settle()
    assert [outcome(one) for one in asked] == [{}] * len(asked)


def test_a_daemon_that_was_stopped() -> None:
    """Whatever time has passed for a daemon meanwhile: who answers stays."""
    bench = Bench()
    peers = [bench.connect() for _ in range(3)]
    bench.clock.rightNow += 86_400
    bench.settle(NOTICED * 2)
    assert [bench.ask(peer, GetMap) for peer in peers] == [{"state": b"a map"}] * 3


def test_no_look_after_the_stop() -> None:
    """A listener that has stopped looks at nothing any more."""
    bench = Bench()
    bench.listener.stopService()
    bench.settle(1)
    assert bench.clock.getDelayedCalls() == []
    bench.listener.startService()
    assert len(bench.clock.getDelayedCalls()) == 1


def test_calls_under_way_when_cut_off() -> None:
    """What the daemon itself had asked fails with the connection, and nobody is told twice."""
    bench = Bench()
    bench.connect()
    (connection,) = bench.factory.connections
    bench.network.strand(*WHERE)
    asked = connection.call(commands.Ping, 100_000)
    bench.settle(NOTICED)
    assert type(outcome(asked)) in (ConnectionDone, ConnectionLost)
