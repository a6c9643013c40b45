"""The listening side: ids of connections, and a stop that answers what it owes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import pytest
from deferreds import result
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport
from zope.interface import implementer

from pyshard.errors import ShuttingDown
from pyshard.net.command_connection import BoundedAMP
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol.boxes import Limits
from pyshard.protocol.commands import NOTHING, Command, GoAway, Ping
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory
from pyshard.server.listener import Listener
from pyshard.settings import settings
from pyshard.testing import MemoryNetwork

WHERE = ("127.0.0.1", 5050)


class Later(Command):
    """Is answered when the test says so."""

    commandName = b"Later"
    arguments = NOTHING
    response = NOTHING


class Connection(ServerConnection):
    """A daemon's side of a connection."""

    waiting: list[Deferred[Mapping[str, object]]]

    def responders(self) -> Iterable[tuple[type[Command], Callable[..., object]]]:
        self.waiting = []
        return [(Ping, self.ping), (Later, self.later)]

    def ping(self) -> Mapping[str, object]:
        self.operations += 1
        return {}

    def later(self) -> Deferred[Mapping[str, object]]:
        self.waiting.append(Deferred())
        return self.waiting[-1]


class Bench:
    """A listener on a network in memory, and peers of it."""

    def __init__(self, drain: float = settings.DRAIN) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.made: list[Connection] = []
        self.factory = ServerFactory(self._make, self.clock)
        self.listener = Listener(self.clock, self.network.listen(*WHERE), self.factory, drain)

    def _make(self, factory: ServerFactory) -> Connection:
        self.made.append(Connection(factory, self.clock))
        return self.made[-1]

    def connect(self, protocol: type[BoundedAMP] = BoundedAMP) -> BoundedAMP:
        """A new peer, connected."""
        factory = Factory.forProtocol(lambda: protocol(self.clock))
        peer = result(self.network.dial(*WHERE).connect(factory))
        self.network.settle()
        assert isinstance(peer, BoundedAMP)
        return peer

    def ask(self, peer: BoundedAMP, command: type[Command]) -> Deferred[dict[str, object]]:
        """Have a peer ask something, and let it arrive."""
        asked = peer.call(command, 1000)
        self.network.settle()
        return asked

    def stop(self) -> Deferred[None]:
        """Begin to stop."""
        stopping: Deferred[None] = self.listener.stopService()
        self.network.settle()
        return stopping


@pytest.fixture
def bench() -> Bench:
    """A listener that runs."""
    bench = Bench()
    bench.listener.startService()
    return bench


def built(factory: ServerFactory) -> ServerConnection:
    """A connection that the factory took."""
    connection = factory.buildProtocol(None)
    assert connection is not None
    return connection


def gone(peer: BoundedAMP) -> bool:
    """Whether a peer has lost its connection."""
    return peer.transport is None


# -- connections ----------------------------------------------------------------------------------------------------


def test_ids(bench: Bench) -> None:
    """Each connection has an id of its own; no id comes back when a connection has gone."""
    first = bench.connect()
    bench.connect()
    assert [one.id for one in bench.factory.connections] == ["c1", "c2"]
    first.abort()
    bench.network.settle()
    bench.connect()
    assert [one.id for one in bench.factory.connections] == ["c2", "c3"]


def test_described(bench: Bench) -> None:
    """`stat` tells of each connection its id, peer, age and how many operations came over it."""
    bench.connect()
    bench.network.advance(1.5)
    second = bench.connect()
    for _ in range(3):
        result(bench.ask(second, Ping))
    bench.network.advance(0.2504)
    assert [one.described() for one in bench.factory.connections] == [
        {"id": "c1", "peer": "127.0.0.1:40001", "age": 1.75, "operations": 0},
        {"id": "c2", "peer": "127.0.0.1:40002", "age": 0.25, "operations": 3},
    ]


def test_peer_that_has_no_port(bench: Bench) -> None:
    """A peer without host and port is described by whatever address it has."""
    connection = built(bench.factory)
    connection.makeConnection(StringTransport(peerAddress="a socket"))
    assert connection.described()["peer"] == "a socket"


def test_log(bench: Bench, log_lines: list[str]) -> None:
    """The log says when a connection was opened and closed, by whom, and why."""
    peer = bench.connect()
    result(bench.ask(peer, Ping))
    peer.close()
    bench.network.settle()
    who, why = "info: connection c1 from 127.0.0.1:40001", "Connection was closed cleanly: Connection done."
    assert log_lines[2:] == [f"{who}: opened", f"{who}: closed after 1 operations: {why}"]


def test_tcp_options(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Answers go out at once, and the system looks whether the peer is still there."""
    options: dict[str, bool] = {}
    connection = built(bench.factory)
    transport = FakeTransport(connection, True)
    monkeypatch.setattr(transport, "setTcpNoDelay", lambda on: options.update(delay=not on))
    monkeypatch.setattr(transport, "setTcpKeepAlive", lambda on: options.update(alive=on))
    connection.makeConnection(transport)
    assert options == {"delay": False, "alive": True}


def test_lost_connection_leaves_nothing(bench: Bench) -> None:
    """A connection that is lost in the middle of a box takes its timer with it."""
    connection = built(bench.factory)
    connection.makeConnection(StringTransport())
    before = list(bench.clock.getDelayedCalls())
    connection.dataReceived(b"\0")
    assert len(bench.clock.getDelayedCalls()) == len(before) + 1
    connection.connectionLost(Failure(ConnectionDone()))
    assert (bench.clock.getDelayedCalls(), connection.transport, bench.factory.connections) == (before, None, {})


def test_limits() -> None:
    """The factory's limits are those of its connections."""
    clock = Clock()
    factory = ServerFactory(lambda made: Connection(made, clock), clock, Limits(keys=3))
    connection = built(factory)
    transport = StringTransport()
    connection.makeConnection(transport)
    connection.dataReceived(b"\0\x01a\0\0" * 4)
    assert transport.disconnecting
    assert ServerFactory(lambda made: Connection(made, clock), clock).limits == Limits()


# -- starting -------------------------------------------------------------------------------------------------------


@implementer(IStreamServerEndpoint)
class Endpoint:
    """Comes to what the test says, and counts."""

    def __init__(self, outcome: Callable[[], Deferred[IListeningPort]]) -> None:
        self.outcome = outcome
        self.listened = 0

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803  # the interface's
        self.listened += 1
        return self.outcome()


def test_listens_while_it_runs(bench: Bench, log_lines: list[str]) -> None:
    """It listens from its start to its stop, and says where."""
    assert WHERE in bench.network.listeners
    assert log_lines == [
        "info: listening on IPv4Address(type='TCP', host='127.0.0.1', port=5050)",
        "info: there is no token file: whoever can connect may do everything",
    ]
    result(bench.stop())
    assert WHERE not in bench.network.listeners


@pytest.mark.parametrize("privileged", [True, False])
def test_listens_once(privileged: bool) -> None:
    """It listens at the privileged start when there is one (twistd's), else at the start, and once in all."""
    network = MemoryNetwork(Clock())
    endpoint = Endpoint(lambda: network.listen(*WHERE).listen(factory))
    factory = ServerFactory(lambda made: Connection(made, network.clock), network.clock)
    listener = Listener(network.clock, endpoint, factory)
    if privileged:
        listener.privilegedStartService()
        assert (endpoint.listened, listener.running) == (1, 0)
    listener.startService()
    assert (endpoint.listened, listener.running) == (1, 1)


@pytest.mark.parametrize("privileged", [True, False])
def test_start_that_fails(privileged: bool) -> None:
    """What the endpoint fails with ends the start, so that no daemon runs that nobody can reach."""
    clock = Clock()
    endpoint = Endpoint(lambda: fail(CannotListenError("127.0.0.1", 5050, OSError("in use"))))
    listener = Listener(clock, endpoint, ServerFactory(lambda made: Connection(made, clock), clock))
    with pytest.raises(CannotListenError):
        listener.privilegedStartService() if privileged else listener.startService()
    assert not listener.running


def test_starts_again(bench: Bench) -> None:
    """After a stop it can be started again, and serves as before."""
    result(bench.stop())
    bench.listener.startService()
    assert result(bench.ask(bench.connect(), Ping)) == {}


# -- stopping -------------------------------------------------------------------------------------------------------


def test_stop_without_connections(bench: Bench) -> None:
    """Where nobody is connected it stops at once."""
    assert result(bench.stop()) is None


def test_stop_without_start() -> None:
    """A listener that never listened stops at once."""
    assert result(Bench().stop()) is None


def test_stop_asks_peers_to_leave(bench: Bench) -> None:
    """A peer that knows `GoAway` closes the connection itself when it has its answers; it has half a second."""
    leaving, slow = (bench.connect(DialedConnection) for _ in range(2))
    slow._responders[GoAway.commandName] = (GoAway, dict)  # it answers, and stays
    owed = bench.ask(leaving, Later)
    stopping = bench.stop()
    assert not gone(leaving)
    bench.made[0].waiting[0].callback({})
    bench.network.settle()
    assert result(owed) == {}
    assert gone(leaving)
    bench.network.advance(0.4)
    assert not gone(slow)
    with pytest.raises(ShuttingDown):
        result(bench.ask(slow, Ping))
    bench.network.advance(0.2)
    assert gone(slow)
    assert result(stopping) is None


def test_stop_closes_idle_connections(bench: Bench) -> None:
    """Connections that are owed nothing, of peers that don't know `GoAway`, are closed at once."""
    peers = [bench.connect() for _ in range(3)]
    stopping = bench.stop()
    bench.network.advance(0.05)
    assert result(stopping) is None
    assert [peer.transport for peer in peers] == [None] * 3
    assert bench.factory.connections == {}


def test_stop_answers_what_it_owes(bench: Bench) -> None:
    """What was asked before the stop is answered before the connection is closed."""
    peer = bench.connect()
    asked = bench.ask(peer, Later)
    stopping = bench.stop()
    bench.network.advance(3)
    assert not asked.called
    assert not stopping.called
    bench.made[0].waiting[0].callback({})
    bench.network.advance(0.1)
    assert result(asked) == {}
    assert result(stopping) is None
    assert peer.transport is None


def test_stop_refuses_what_comes_after(bench: Bench) -> None:
    """While it drains every command is refused with `ShuttingDown`, on any connection; nobody new is accepted."""
    busy, idle = bench.connect(), bench.connect()
    owed = bench.ask(busy, Later)
    bench.stop()
    for peer in (busy, idle):
        for command in (Ping, Later):
            with pytest.raises(ShuttingDown) as refused:
                result(bench.ask(peer, command))
            assert str(refused.value) == "this daemon is shutting down; ask again when it is back"
    assert WHERE not in bench.network.listeners
    assert (len(bench.made[0].waiting), bench.made[1].waiting) == (1, [])
    bench.made[0].waiting[0].callback({})
    bench.network.advance(0.1)
    assert result(owed) == {}


def test_stop_waits_for_a_bounded_time() -> None:
    """An answer that doesn't come is given up after the drain's seconds."""
    bench = Bench(drain=2)
    bench.listener.startService()
    peer = bench.connect()
    asked = bench.ask(peer, Later)
    stopping = bench.stop()
    bench.network.advance(1.9)
    assert not stopping.called
    assert not asked.called
    bench.network.advance(0.2)
    assert result(stopping) is None
    with pytest.raises(ConnectionDone):
        result(asked)


def test_drain_by_default() -> None:
    """Without seconds of its own it drains as long as the settings say."""
    bench = Bench()
    assert bench.listener._drain == settings.DRAIN == 5


def test_stop_waits_for_readers() -> None:
    """Answers that the peer hasn't read yet are waited for as those that aren't made yet."""
    bench = Bench(drain=2)
    bench.listener.startService()
    peer = bench.connect()
    bench.made[0].pauseProducing()  # so the transport says it
    stopping = bench.stop()
    bench.network.advance(1)
    assert not stopping.called
    bench.made[0].resumeProducing()
    bench.network.advance(0.1)
    assert result(stopping) is None
    assert peer.transport is None


def test_stop_ends_connections_that_stay(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A peer that reads nothing, so that its connection can't be closed in order, is cut after half a second."""
    peer = bench.connect()
    monkeypatch.setattr(bench.made[0], "close", lambda: None)
    stopping = bench.stop()
    bench.network.advance(0.4)
    assert not stopping.called
    assert peer.transport is not None
    bench.network.advance(0.2)
    assert result(stopping) is None
    bench.network.settle()
    assert peer.transport is None


def test_stop_waits_for_the_port(bench: Bench) -> None:
    """It is stopped when the port is closed, where that takes time."""
    closed: Deferred[None] = Deferred()

    class Port:
        def stopListening(self) -> Deferred[None]:
            return closed

    bench.listener._port = Port()  # type: ignore[assignment]  # as much of one as a stop uses
    stopping = bench.stop()
    assert not stopping.called
    closed.callback(None)
    assert result(stopping) is None
