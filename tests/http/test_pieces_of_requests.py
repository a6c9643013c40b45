"""Requests that come piece by piece: to read each piece by itself isn't worth the time."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest
from twisted.internet.epollreactor import EPollReactor
from twisted.internet.ssl import CertificateOptions
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory

from pyshard.http import bounded_site
from pyshard.http.bounded_site import BoundedSite
from pyshard.http.web_page import Root, WebAnswer, WebPage
from pyshard.net.twisted_internals import below_tls


class Dripping:
    """A site on a real port, and a peer that sends few bytes at a time."""

    def __init__(self, tls: bool) -> None:
        self.clock, self.reactor = Clock(), EPollReactor()
        root = Root()
        root.putChild(b"page", WebPage(lambda _: WebAnswer(b"hello\n")))
        site = BoundedSite(root, self.clock)
        factory = TLSMemoryBIOFactory(CertificateOptions(), False, site, clock=self.clock) if tls else site
        self.port = self.reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.peer = socket.create_connection(("127.0.0.1", self.port.getHost().port), timeout=10)
        self.peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
        self.turn()
        (self.channel,) = site._channels

    def turn(self) -> None:
        """One turn of the reactor; what can be read is."""
        self.reactor.runUntilCurrent()
        self.reactor.doIteration(0.02)

    def is_read(self) -> bool:
        """Whether the reactor reads from the connection."""
        return below_tls(self.channel.transport) in self.reactor.getReaders()

    def send(self, data: bytes) -> None:
        """Send byte for byte, with a turn of the reactor behind each."""
        for number in range(len(data)):
            self.peer.send(data[number : number + 1])
            self.turn()

    def answer(self) -> bytes:
        """What comes back, at some time."""
        for _ in range(1000):
            self.turn()
            self.clock.advance(bounded_site._BETWEEN)
            if select.select([self.peer], [], [], 0)[0]:
                break
        return self.peer.recv(1000)

    def close(self) -> None:
        """End all."""
        self.peer.close()
        self.channel.abort()
        self.turn()
        self.port.stopReading()
        self.port.socket.close()


@pytest.fixture(params=[False, True])
def dripping(request: pytest.FixtureRequest) -> Iterator[Dripping]:
    """Without TLS, and with it, where the first byte is that of a handshake."""
    made = Dripping(request.param)
    yield made
    made.close()


def test_pieces_are_read_together(dripping: Dripping) -> None:
    """Some are read as they come; then all that came within a while at once, so that their number costs nothing."""
    dripping.send(b"\x16")
    assert dripping.is_read()
    dripping.send(b"\x03" * bounded_site._PIECES)
    for reads in range(bounded_site._PIECES + 1, bounded_site._PIECES + 4):
        assert not dripping.is_read()
        assert dripping.channel._pieces == reads
        dripping.send(b"\x03" * 20)
        assert dripping.channel._pieces == reads
        dripping.clock.advance(bounded_site._BETWEEN)
        dripping.turn()


@pytest.mark.parametrize("dripping", [False], indirect=True)
def test_whole_requests_are_answered_at_once(dripping: Dripping) -> None:
    """However many come over one connection; one that comes in pieces is answered when it has come."""
    ask = b"GET /page HTTP/1.1\r\nHost: here\r\n\r\n"
    for _ in range(3 * bounded_site._PIECES):
        dripping.clock.advance(1)
        dripping.peer.send(ask)
        assert dripping.answer().endswith(b"hello\n")
    dripping.send(ask)
    assert dripping.answer().endswith(b"hello\n")


@pytest.mark.parametrize("dripping", [False], indirect=True)
def test_who_leaves_meanwhile(dripping: Dripping) -> None:
    """Nothing is read of a connection that was lost while it rested."""
    dripping.send(b"G" * (bounded_site._PIECES + 1))
    dripping.channel.abort()
    dripping.turn()
    dripping.clock.advance(bounded_site._BETWEEN)
    assert not dripping.is_read()
