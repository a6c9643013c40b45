"""Connections in memory: bytes arrive in order, and ends are noticed."""

from __future__ import annotations

import pytest
from deferreds import result
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.testing import MemoryNetwork


class Peer(Protocol):
    """Keeps the bytes that it receives."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.lost: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)

    def send(self, data: bytes) -> None:
        """Write to the other side."""
        assert self.transport is not None
        self.transport.write(data)


class Link:
    """A network with one listener, and a connection to it."""

    def __init__(self) -> None:
        self.network = MemoryNetwork(Clock())
        self.servers: list[Peer] = []
        self.port: IListeningPort = result(self.network.listen("here", 1).listen(Factory.forProtocol(self._server)))
        self.client = self.connect()
        self.server = self.servers[0]

    def _server(self) -> Peer:
        self.servers.append(Peer())
        return self.servers[-1]

    def connect(self) -> Peer:
        """One more connection."""
        peer = result(self.network.dial("here", 1).connect(Factory.forProtocol(Peer)))
        assert isinstance(peer, Peer)
        return peer


def test_bytes_arrive_in_order() -> None:
    """Bytes arrive on the other side in the order written, when the network settles."""
    link = Link()
    for number in range(3):
        link.client.send(b"%d" % number)
        link.server.send(b"%d" % -number)
    assert (link.server.received, link.client.received) == ([], [])
    link.network.settle()
    assert (b"".join(link.server.received), b"".join(link.client.received)) == (b"012", b"0-1-2")


def test_addresses() -> None:
    """Both sides know who the other one is; each connection has a port of its own."""
    link = Link()
    other = link.connect()
    for client, server in zip((link.client, other), link.servers, strict=True):
        assert client.transport is not None
        assert server.transport is not None
        assert client.transport.getPeer() == server.transport.getHost() == link.port.getHost()
        assert client.transport.getHost() == server.transport.getPeer()
    assert link.servers[0].transport is not None
    assert other.transport is not None
    assert link.servers[0].transport.getPeer() != other.transport.getHost()


def test_nobody_listens() -> None:
    """Without a listener a connection is refused; existing connections stay when a listener stops."""
    link = Link()
    link.port.stopListening()
    for where in (("here", 1), ("here", 2), ("there", 1)):
        with pytest.raises(ConnectionRefusedError):
            result(link.network.dial(*where).connect(Factory.forProtocol(Peer)))
    link.client.send(b"still")
    link.network.settle()
    assert link.server.received == [b"still"]


def test_listener_that_takes_nobody() -> None:
    """A listener, or a client, whose factory builds no protocol refuses the connection."""

    class Nobody(Factory):
        def buildProtocol(self, addr: object) -> None:
            return None

    link = Link()
    result(link.network.listen("here", 2).listen(Nobody()))
    for port, factory in ((2, Factory.forProtocol(Peer)), (1, Nobody())):
        with pytest.raises(ConnectionRefusedError):
            result(link.network.dial("here", port).connect(factory))


@pytest.mark.parametrize("end", ["client", "server"])
def test_closing_delivers_what_was_written(end: str) -> None:
    """A side that closes delivers its bytes first; both sides notice the end."""
    link = Link()
    closing, other = (link.client, link.server) if end == "client" else (link.server, link.client)
    closing.send(b"last words")
    assert closing.transport is not None
    closing.transport.loseConnection()
    link.network.settle()
    assert other.received == [b"last words"]
    assert [len(peer.lost) for peer in (closing, other)] == [1, 1]
    assert other.lost[0].check(ConnectionDone)


def test_cutting_loses_what_was_written() -> None:
    """A cut breaks every connection to the address, and loses the bytes on their way."""
    link = Link()
    other = link.connect()
    link.client.send(b"lost")
    link.server.send(b"lost")
    link.network.cut("here", 2)
    link.network.cut("there", 1)
    assert link.client.lost == []
    link.network.cut("here", 1)
    link.network.settle()
    peers = [link.client, other, *link.servers]
    assert [len(peer.lost) for peer in peers] == [1, 1, 1, 1]
    assert [peer.received for peer in peers] == [[], [], [], []]


def test_silent_listener() -> None:
    """A silent listener receives, but nothing from it arrives, on old and new connections, until the silence ends."""
    link = Link()
    link.network.silence("here", 1)
    other = link.connect()
    for peer in (link.client, other, *link.servers):
        peer.send(b"hm")
    link.network.settle()
    assert [peer.received for peer in (link.client, other, *link.servers)] == [[], [], [b"hm"], [b"hm"]]
    link.network.unsilence("here", 1)
    link.network.settle()
    assert [peer.received for peer in (link.client, other)] == [[b"hm"], [b"hm"]]


def test_silence_hides_the_end() -> None:
    """The end of a silent side doesn't arrive either; its client can still close."""
    link = Link()
    link.network.silence("here", 1)
    assert link.server.transport is not None
    link.server.send(b"unheard")
    link.server.transport.loseConnection()
    link.network.advance(60)
    assert link.client.lost == []
    assert link.client.transport is not None
    link.client.transport.loseConnection()
    link.network.settle()
    assert (len(link.client.lost), link.client.received) == (1, [])


def test_stranded_connections() -> None:
    """Nothing crosses stranded connections, in either direction, not even an end; later connections work."""
    link = Link()
    link.network.strand("here", 1)
    for peer in (link.client, link.server):
        peer.send(b"hm")
    link.network.advance(60)
    assert link.client.transport is not None
    link.client.transport.abortConnection()  # type: ignore[attr-defined]  # every transport here has it
    link.network.settle()
    assert (len(link.client.lost), link.client.received) == (1, [])
    assert (link.server.lost, link.server.received) == ([], [])
    link.connect().send(b"hello")
    link.network.settle()
    assert link.servers[1].received == [b"hello"]
    assert link.server.transport is not None
    link.server.transport.loseConnection()
    link.network.settle()
    assert (len(link.client.lost), len(link.server.lost), len(link.network._connections)) == (1, 1, 1)


def test_ended_connections_are_forgotten() -> None:
    """A network in which connections come and go doesn't grow."""
    link = Link()
    for _ in range(10):
        link.connect()
    link.network.cut("here", 1)
    link.network.settle()
    assert link.network._connections == []


def test_network_that_never_rests() -> None:
    """`settle` fails when two sides answer each other for ever."""

    class Echo(Peer):
        def dataReceived(self, data: bytes) -> None:
            self.send(data)

    network = MemoryNetwork(Clock())
    result(network.listen("here", 1).listen(Factory.forProtocol(Echo)))
    peer = result(network.dial("here", 1).connect(Factory.forProtocol(Echo)))
    assert isinstance(peer, Echo)
    peer.send(b"!")
    with pytest.raises(AssertionError, match="never comes to rest"):
        network.settle()


@given(st.lists(st.floats(0, 10), max_size=10), st.floats(0, 12))
def test_advance_makes_what_is_due(delays: list[float], seconds: float) -> None:
    """`advance` makes calls at their own times, and ends exactly at the end of the time given."""
    network = MemoryNetwork(Clock())
    made: list[float] = []
    for delay in delays:
        network.clock.callLater(delay, lambda: made.append(network.clock.seconds()))
    network.advance(seconds)
    assert made == pytest.approx(sorted(delay for delay in delays if delay <= seconds))
    assert network.clock.seconds() == pytest.approx(seconds)
    later = [delay for delay in delays if delay > seconds]
    assert network.next_call() == (min(later) if later else None)
