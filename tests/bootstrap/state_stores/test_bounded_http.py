"""Connections to etcd whose answers aren't wanted to their end: they are cut off, whatever the peer reads or sends."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from bootstrap.states import STATE
from deferreds import watch
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from zope.interface import implementer

from pyshard.bootstrap.state_stores.etcd_gateway import ANSWERED_WITHIN, EtcdGateway
from pyshard.bootstrap.state_stores.etcd_state_store import EtcdStateStore
from pyshard.bootstrap.state_stores.state_address import EtcdAddress
from pyshard.bootstrap.state_stores.state_store import Revision
from pyshard.errors import Unavailable

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BEGIN = b'1c\r\n{"result":{"created":true}}\n\r\n'


@implementer(IStreamClientEndpoint)
class Endpoint:
    """A member that takes each connection.

    :ivar opened: the protocol and the transport of each.
    :ivar reached: whether it takes one; else it says nothing.
    """

    reached = True

    def __init__(self) -> None:
        self.opened: list[tuple[IProtocol, StringTransport]] = []

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        if not self.reached:
            return Deferred()
        protocol = protocolFactory.buildProtocol(IPv4Address("TCP", "10.0.0.1", 2379))
        assert protocol is not None
        transport = StringTransport(lenient=True)
        protocol.makeConnection(transport)
        self.opened.append((protocol, transport))
        return succeed(protocol)

    def send(self, data: bytes) -> StringTransport:
        """Have the member send something over its last connection, which this gives."""
        protocol, transport = self.opened[-1]
        protocol.dataReceived(data)
        return transport


class Bench:
    """A state store in an etcd of one member."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.member = Endpoint()
        address = EtcdAddress((("etcd0", 2379),), "test")
        gateway = EtcdGateway(self.clock, address.members, lambda *_: self.member, None)
        self.store = EtcdStateStore(address, gateway)


ASK: dict[str, Callable[[EtcdStateStore], Deferred[Any]]] = {
    "a read": lambda store: store.get(),
    "a swap": lambda store: store.swap(STATE, Revision(1), "a-1"),
}


@pytest.mark.parametrize("name", ASK)
@pytest.mark.parametrize("begun", [b"", HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"])
def test_an_answer_that_takes_too_long(name: str, begun: bytes) -> None:
    """Its connection is cut off: a close would wait until the peer has read all, or has closed its side of TLS."""
    bench = Bench()
    outcome = watch(ASK[name](bench.store))
    transport = bench.member.send(begun)
    bench.clock.advance(ANSWERED_WITHIN)
    assert len(outcome) == 1
    assert transport.disconnected


@pytest.mark.parametrize(
    "told",
    [
        BEGIN + b'7\r\n{"a":1}\r\n',
        b"8\r\nnonsense\r\n1\r\n\n\r\n",
        b"11000\r\n" + b"x" * 0x11000,
    ],
)
def test_a_watch_that_has_told_something(told: bytes) -> None:
    """It is cut off likewise."""
    bench = Bench()
    outcome = watch(bench.store.wait(Revision(1)))
    transport = bench.member.send(HEAD + told)
    assert outcome == [None]
    assert transport.disconnected


@pytest.mark.parametrize(
    "body", [b"Content-Length: 9\r\n\r\nnot", b"Transfer-Encoding: chunked\r\n\r\n3\r\nnot\r\n", b"\r\n"]
)
def test_a_watch_that_is_refused_at_length(body: bytes) -> None:
    """Of an answer that is no watch nothing is awaited: one without an end would hold its connection."""
    bench = Bench()
    outcome = watch(bench.store.wait(Revision(1)))
    transport = bench.member.send(b"HTTP/1.1 503 Service Unavailable\r\n" + body)
    assert outcome == [None]
    assert transport.disconnected


def test_a_watch_that_is_given_up() -> None:
    """Before it was answered, and after."""
    for answered in (b"", HEAD + BEGIN):
        bench = Bench()
        waiting = bench.store.wait(Revision(1))
        transport = bench.member.send(answered)
        waiting.addErrback(lambda _: None)
        waiting.cancel()
        assert transport.disconnected


def test_connections_are_kept_for_the_next_request() -> None:
    """That of a whole answer."""
    bench = Bench()
    outcome = watch(bench.store.get())
    transport = bench.member.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    assert outcome == [None]
    watch(bench.store.get())
    assert not transport.disconnecting
    assert len(bench.member.opened) == 1


def test_the_end_comes_while_a_connection_is_made() -> None:
    """Nothing was sent, so nothing has happened."""
    bench = Bench()
    bench.member.reached = False
    outcome = watch(bench.store.swap(STATE, Revision(1), "a-1", 0.25))
    bench.clock.advance(0.25)
    assert isinstance(outcome[0], Unavailable)


def test_connections_end_with_the_state_store() -> None:
    """Those that are kept are cut off, too, so that no peer keeps the process from ending."""
    bench = Bench()
    watch(bench.store.get())
    transport = bench.member.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    bench.store.close()
    assert transport.disconnected
