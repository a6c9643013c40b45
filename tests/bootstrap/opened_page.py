"""The web page of a cluster in memory, opened over a connection in memory."""

from __future__ import annotations

import json
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from pyshard.bootstrap.status_page.status_pages import add_status_pages
from pyshard.http.bounded_site import BoundedChannel, BoundedSite
from pyshard.http.daemon_site import daemon_root
from pyshard.http.token_guard import TokenGuard
from pyshard.testing import MemoryCluster


def site_of(cluster: MemoryCluster) -> BoundedSite:
    """The site of a cluster's bootstrap."""
    service = cluster.bootstrap
    assert service is not None
    guard = TokenGuard(None if cluster.tokens is None else cluster._valid_tokens)
    root = daemon_root(service, guard)
    add_status_pages(root, guard, service, cluster.clock)
    return BoundedSite(root, cluster.clock)


class Browser:
    """One connection to a site, over which one page is asked for."""

    def __init__(
        self, site: BoundedSite, path: str, method: str = "GET", address: str = "127.0.0.1", **headers: str
    ) -> None:
        peer = IPv4Address("TCP", address, 40_000)
        self.transport = StringTransport(peerAddress=peer)
        channel = site.buildProtocol(peer)
        assert isinstance(channel, BoundedChannel)
        self.channel = channel
        channel.makeConnection(self.transport)
        lines = {"Host": "127.0.0.1:9100"} | {name.replace("_", "-"): value for name, value in headers.items()}
        text = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        channel.dataReceived(f"{method} {path} HTTP/1.1\r\n{text}\r\n".encode())

    @property
    def heard(self) -> str:
        """All that has come."""
        return bytes(self.transport.value()).decode()

    @property
    def code(self) -> int:
        """The answer's code."""
        return int(self.heard.split()[1])

    @property
    def body(self) -> str:
        """The answer's body."""
        return self.heard.partition("\r\n\r\n")[2]

    @property
    def events(self) -> list[dict[str, Any]]:
        """What the events of the answer have."""
        lines = self.heard.splitlines()
        return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]

    def leave(self) -> None:
        """Close the connection."""
        self.channel.connectionLost(Failure(ConnectionDone()))
