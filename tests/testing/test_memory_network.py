"""The faults of a network in memory: each does what it says, and nothing else."""

from __future__ import annotations

import pytest
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.testing import MemoryNetwork

WHERE = ("here", 1)


class Side(Protocol):
    """Notes what arrives and when, and the end."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.arrived: list[tuple[float, bytes]] = []
        self.ended: list[float] = []

    @property
    def received(self) -> bytes:
        """All bytes."""
        return b"".join(data for _, data in self.arrived)

    def dataReceived(self, data: bytes) -> None:
        self.arrived.append((self.clock.seconds(), data))

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended.append(self.clock.seconds())

    def send(self, data: bytes) -> None:
        """Write."""
        assert self.transport is not None
        self.transport.write(data)

    def close(self) -> None:
        """Close."""
        assert self.transport is not None
        self.transport.loseConnection()


class Link:
    """A network with a listener and connections to it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.network = MemoryNetwork(self.clock)
        self.listeners: list[Side] = []
        self.network.listen(*WHERE).listen(Factory.forProtocol(self._listener))

    def _listener(self) -> Side:
        self.listeners.append(Side(self.clock))
        return self.listeners[-1]

    def connect(self) -> tuple[Side, Side]:
        """A new connection: the client's side and the listener's."""
        clients: list[object] = []
        self.network.dial(*WHERE).connect(Factory.forProtocol(lambda: Side(self.clock))).addCallback(clients.append)
        assert isinstance(clients[0], Side)
        return clients[0], self.listeners[-1]


@pytest.fixture
def link() -> Link:
    """A network with a listener."""
    return Link()


def test_delay(link: Link) -> None:
    """Bytes and ends are delayed in both directions, and stay in order even when the delay gets shorter."""
    client, listener = link.connect()
    link.network.delay(*WHERE, 2)
    client.send(b"a")
    listener.send(b"b")
    link.network.advance(1)
    link.network.delay(*WHERE, 0)
    client.send(b"c")
    client.close()
    link.network.advance(9)
    assert (listener.arrived, listener.ended) == ([(2, b"a"), (2, b"c")], [2])
    assert (client.arrived, client.ended) == ([], [1])
    assert link.clock.getDelayedCalls() == []


def test_delayed_bytes_are_cut(link: Link) -> None:
    """A cut loses what was on its way, and ends both sides at once."""
    client, listener = link.connect()
    link.network.delay(*WHERE, 2)
    client.send(b"a")
    link.network.advance(1)
    link.network.cut(*WHERE)
    link.network.advance(9)
    assert (listener.arrived, listener.ended, client.ended) == ([], [1], [1])
    assert link.clock.getDelayedCalls() == []


@pytest.mark.parametrize("answers", [False, True])
@pytest.mark.parametrize("count", range(1, 8))
def test_cut_after(link: Link, count: int, answers: bool) -> None:
    """Only that connection breaks, right behind the given byte, whatever goes in the other direction."""
    others = link.connect()
    client, listener = link.connect()
    source, sink = (listener, client) if answers else (client, listener)
    link.network.cut_after(*WHERE, count, answers=answers)
    for data in (b"abc", b"d", b"efg"):
        source.send(data)
        sink.send(b"........")
        link.network.settle()
    assert sink.received == b"abcdefg"[:count]
    assert (len(client.ended), len(listener.ended)) == (1, 1)
    others[0].send(b"!")
    others[1].send(b"!")
    link.network.settle()
    assert [(side.received, side.ended) for side in others] == [(b"!", []), (b"!", [])]


def test_deaf_listener(link: Link) -> None:
    """A deaf listener sends, but nothing arrives at it, on old and new connections, until the deafness ends."""
    pairs = [link.connect()]
    link.network.deafen(*WHERE)
    pairs.append(link.connect())
    for client, listener in pairs:
        client.send(b"?")
        listener.send(b"!")
    pairs[0][0].close()
    link.network.advance(60)
    assert [listener.arrived for _, listener in pairs] == [[], []]
    assert [client.received for client, _ in pairs] == [b"!", b"!"]
    assert pairs[0][1].ended == []
    link.network.undeafen(*WHERE)
    link.network.settle()
    assert [listener.received for _, listener in pairs] == [b"?", b"?"]
    assert [listener.ended for _, listener in pairs] == [[60], []]


def test_stranded(link: Link) -> None:
    """Held-back bytes and ends arrive after `unstrand`; until then new connections work."""
    client, listener = link.connect()
    client.send(b"under way")
    link.network.strand(*WHERE)
    link.network.settle()
    client.close()
    link.network.advance(60)
    assert (client.ended, listener.arrived, listener.ended) == ([0], [], [])
    other, heard = link.connect()
    other.send(b"new")
    listener.send(b"to nobody")
    link.network.settle()
    assert (heard.received, client.received) == (b"new", b"")
    link.network.unstrand(*WHERE)
    link.network.settle()
    assert (listener.received, listener.ended, other.ended) == (b"under way", [60], [])


def test_stranded_and_closed_by_both(link: Link) -> None:
    """Held-back bytes whose receiver has closed are dropped."""
    client, listener = link.connect()
    client.send(b"under way")
    link.network.strand(*WHERE)
    client.close()
    listener.close()
    link.network.settle()
    link.network.unstrand(*WHERE)
    link.network.settle()
    assert (listener.received, listener.ended, client.ended) == (b"", [0], [0])
    assert link.network._connections == []
