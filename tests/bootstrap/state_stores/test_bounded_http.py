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
from twisted.web._newclient import HTTP11ClientProtocol
from zope.interface import implementer

from pyshard.bootstrap.state_stores.bounded_http import LONGEST_HEAD
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
    bench.store.get().addErrback(lambda _: None)
    assert bench.member.send(OK + b"a: b\r\n" * LONGEST_HEAD).disconnected


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


# -- its chunks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "taken"), [(1, False), (100, False), (1024, True), (64 * 1024, True)])
@pytest.mark.parametrize("read", [1000, 65_536])
def test_chunks_are_large(size: int, taken: bool, read: int) -> None:
    """An answer of 2 MiB may come in chunks of 1 KiB; it is cut off when they are tiny, before many were looked at."""
    bench = Bench()
    watch(bench.store.get())
    answer = HEAD + (b"%x\r\n%s\r\n" % (size, b" " * size)) * (2 * 1024 * 1024 // size)
    transport, sent = bench.member.opened[-1][1], 0
    while sent < len(answer) and not transport.disconnected:
        bench.member.send(answer[sent : sent + read])
        sent += read
    assert transport.disconnected is not taken
    assert taken or answer[:sent].count(b"\n") < 30_000


@pytest.mark.parametrize("ask", [lambda store: store.get(), lambda store: store.wait(Revision(1))])
def test_tiny_chunks_are_not_looked_at(
    ask: Callable[[EtcdStateStore], Deferred[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of one read are counted before Twisted takes them apart, in the answer to a watch as well."""
    seen = list[bytes]()
    bench = Bench()
    watch(ask(bench.store))
    bench.member.send(HEAD)
    monkeypatch.setattr(HTTP11ClientProtocol, "dataReceived", lambda _, data: seen.append(data))
    assert bench.member.send(b"1\r\n \r\n" * 10_000).disconnected
    assert seen == []


# -- the head of an answer -------------------------------------------------------------------------------------------

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"


@pytest.mark.parametrize("each", [1, 7, 100_000])
@pytest.mark.parametrize("end", [b"\r\n", b"\n"])
def test_a_head_comes_in_any_pieces(each: int, end: bytes) -> None:
    """What begins an answer is kept until all of it is there; what comes behind it isn't lost."""
    bench = Bench()
    asked = watch(bench.store.get())
    answer = OK + b"X-Long: " + b"x" * (LONGEST_HEAD - 60) + b"\r\n" + end + b"{}"
    for start in range(0, len(answer), each):
        assert not bench.member.send(answer[start : start + each]).disconnected
    assert asked == [None]


@pytest.mark.parametrize(
    "head",
    [
        pytest.param(OK + b"X-Long: " + b"x" * LONGEST_HEAD + b"\r\n\r\n{}", id="one long header"),
        pytest.param(OK + b"a: b\r\n" + b" c\r\n" * (LONGEST_HEAD // 4) + b"\r\n{}", id="many lines"),
        pytest.param(OK + b"X-Long: " + b"x" * LONGEST_HEAD, id="no end"),
        pytest.param(b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"\r\n{}", id="a status before the answer"),
    ],
)
@pytest.mark.parametrize("each", [1000, 100_000])
def test_a_head_that_is_no_answer(head: bytes, each: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is cut off before Twisted has seen any of it."""
    seen = list[bytes]()
    monkeypatch.setattr(HTTP11ClientProtocol, "dataReceived", lambda _, data: seen.append(data))
    bench = Bench()
    asked = watch(bench.store.get())
    transport = bench.member.opened[-1][1]
    for start in range(0, len(head), each):
        if not transport.disconnected:
            bench.member.send(head[start : start + each])
    assert transport.disconnected
    assert seen == []
    bench.clock.pump([0.1] * 60)
    assert [type(outcome) for outcome in asked] == [Unavailable]


def test_each_answer_has_a_head_of_its_own() -> None:
    """The next one over the same connection is read like the first."""
    bench = Bench()
    for _ in range(3):
        asked = watch(bench.store.get())
        bench.member.send(OK + b"\r\n{}")
        assert asked == [None]
    assert len(bench.member.opened) == 1
    bench.store.get().addErrback(lambda _: None)
    assert bench.member.send(OK + b"a: b\r\n" * LONGEST_HEAD).disconnected
