"""The connections of a daemon: their ids, what is told of them, and what they leave."""

from __future__ import annotations

import socket

import pytest
from deferreds import result
from server.listener_bench import Bench, Connection, built
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, connectionDone
from twisted.internet.task import Clock
from twisted.internet.tcp import Port, Server
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport

from pyshard.protocol.boxes import Limits, serialize
from pyshard.protocol.commands import Ping
from pyshard.server.factory import ServerFactory


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
    who, why = "info: connection c1 from 127.0.0.1:40001", "it was ended by one of both sides"
    assert log_lines[2:] == [f"{who}: opened", f"{who}: closed after 1 operations: {why}"]


def test_log_of_a_peer_that_is_gone(bench: Bench, log_lines: list[str]) -> None:
    """A program that ends without a farewell is no fault: the line doesn't sound like one."""
    connection = built(bench.factory)
    connection.makeConnection(StringTransport())
    connection.dataReceived(serialize({b"_command": b"Ping", b"_ask": b"1"}))
    connection.connectionLost(Failure(ConnectionLost()))
    assert log_lines[-1].endswith("closed after 1 operations: the peer has gone")


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


class AnswersWhenLost(Connection):
    """What it was asked ends when the connection is lost, as waiting for changes of a shard does."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        for waiting in self.waiting:
            waiting.callback({})
        super().connectionLost(reason)


def test_answer_while_the_connection_is_lost() -> None:
    """It goes nowhere, and is no fault: Twisted takes the socket away before it tells of the loss."""
    clock = Clock()
    connection = AnswersWhenLost(ServerFactory(lambda factory: AnswersWhenLost(factory, clock), clock), clock)
    with socket.create_server(("127.0.0.1", 0)) as port, socket.create_connection(port.getsockname()) as peer:
        accepted, address = port.accept()
        reactor = EPollReactor()
        transport = Server(accepted, connection, address, Port(0, Factory(), reactor=reactor), 1, reactor)
        connection.makeConnection(transport)
        connection.dataReceived(serialize({b"_command": b"Later", b"_ask": b"1"}))
        assert len(connection.waiting) == 1
        transport.connectionLost(Failure(ConnectionDone()))
        assert connection.waiting[0].called
        assert peer.recv(1) == b""
