"""The listener: it starts once, and answers what it owes before it stops."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from deferreds import result
from server.listener_bench import WHERE, Bench, Connection, Later, gone
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError, ConnectionDone
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from twisted.internet.task import Clock
from zope.interface import implementer

from pyshard.errors import ShuttingDown
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol.chunked_arguments import Arguments
from pyshard.protocol.commands import Ping
from pyshard.server.factory import ServerFactory
from pyshard.server.listener import Listener
from pyshard.settings import settings
from pyshard.testing import MemoryNetwork

# -- starting -------------------------------------------------------------------------------------------------------


class Staying(DialedConnection):
    """A peer that answers `GoAway`, and stays."""

    def leave(self) -> Arguments:
        return {}


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
    leaving, slow = bench.connect(DialedConnection), bench.connect(Staying)
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
