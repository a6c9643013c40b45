"""What tests of the HTTP port share: a site over connections in memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pyshard.http.bounded_site import BoundedChannel, BoundedSite
from pyshard.http.web_page import Root, WebAnswer, WebPage


class Peer:
    """A peer of a site, which tells what it was sent.

    :param host: where it comes from.
    """

    def __init__(self, site: BoundedSite, host: str = "127.0.0.1") -> None:
        address = IPv4Address("TCP", host, 40_000)
        self.transport = StringTransport(peerAddress=address)
        channel = site.buildProtocol(address)
        assert isinstance(channel, BoundedChannel)
        self.channel = channel
        channel.makeConnection(self.transport)

    @property
    def ended(self) -> bool:
        """Whether the daemon has ended the connection, or is about to."""
        return bool(self.transport.disconnecting or self.transport.disconnected)

    def send(self, data: bytes) -> bytes:
        """Send something; what has come back since the last call."""
        self.channel.dataReceived(data)
        return self.heard()

    def heard(self) -> bytes:
        """What has come since the last call."""
        found = self.transport.value()
        self.transport.clear()
        return bytes(found)

    def get(self, path: str = "/page", method: str = "GET", headers: str = "") -> bytes:
        """Ask for a page."""
        return self.send(f"{method} {path} HTTP/1.1\r\nHost: here\r\n{headers}\r\n".encode())

    def lose(self) -> None:
        """Lose the connection."""
        self.channel.connectionLost(Failure(ConnectionDone()))


@pytest.fixture
def clock() -> Clock:
    """The time."""
    return Clock()


@pytest.fixture
def root() -> Root:
    """One page."""
    made = Root()
    made.putChild(b"page", WebPage(lambda _: WebAnswer(b"hello\n")))
    return made


@pytest.fixture
def site(clock: Clock, root: Root) -> BoundedSite:
    """A site with that page."""
    return BoundedSite(root, clock)


@pytest.fixture
def connect(site: BoundedSite) -> Callable[..., Peer]:
    """Makes peers of the site, from one address or from others."""
    return lambda host="127.0.0.1": Peer(site, host)
