"""IPv6 addresses with a zone, which the C library takes by number only where they aren't link-local."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from typing import cast

import pytest
import pytest_twisted
from twisted.internet.interfaces import IProtocol
from twisted.internet.protocol import Factory, Protocol

from pyshard.aio.loop_clock import LoopClock
from pyshard.aio.loop_connections import LoopConnections
from pyshard.aio.verb_futures import future_of
from pyshard.blocking.address_race import dial
from pyshard.blocking.calling_thread_tasks import run
from pyshard.blocking.plain_sockets import SystemNetwork
from pyshard.clocks import steady_seconds
from pyshard.net.client_endpoints import dial_with
from pyshard.net.ipv6_zones import numeric_host, with_zone_number
from pyshard.server.listen_address import is_local, listen_string, server_endpoint


@pytest.fixture
def interfaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine with the interface ``lan``, whose number is 7."""

    def index_of(name: str) -> int:
        if "\0" in name:
            raise ValueError("embedded null byte")
        if name != "lan":
            raise OSError("no interface with this name")
        return 7

    monkeypatch.setattr(socket, "if_nametoindex", index_of)


@pytest.mark.usefixtures("interfaces")
@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("::1%lan", "::1%7"),
        ("fe80::1%lan", "fe80::1%7"),
        *(
            (host, host)
            for host in ("::1%7", "::1", "::1%", "::1%lo", "127.0.0.1%lan", "name%lan", "a%lan%b", "::1%a\0")
        ),
    ],
)
def test_with_zone_number(host: str, expected: str) -> None:
    """The name of an interface becomes its number; everything else stays, and is the system's to refuse."""
    assert with_zone_number(host) == expected


def test_numeric_host() -> None:
    """The zone of a socket's name is part of its address, if there is one."""
    assert numeric_host(("::1", 80, 0, 3)) == "::1%3"
    assert numeric_host(("::1", 80, 0, 0)) == "::1"
    assert numeric_host(("127.0.0.1", 80)) == "127.0.0.1"


def loopback() -> str:
    """The name of the loopback's interface; empty where it has no IPv6."""
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return ""
    return next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "")


LOOPBACK = loopback()
needs_ipv6 = pytest.mark.skipif(not LOOPBACK, reason="this machine has no IPv6")


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """A socket that listens on the loopback."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server:
        server.settimeout(10)
        yield server


@needs_ipv6
def test_the_blocking_client_dials(listening: socket.socket) -> None:
    """A zone by name leads to the address."""
    made = run(
        SystemNetwork(),
        dial(SystemNetwork(), f"::1%{LOOPBACK}", listening.getsockname()[1], steady_seconds() + 10),
    )
    listening.accept()[0].close()
    made.close()


@needs_ipv6
@pytest_twisted.inlineCallbacks
def test_the_deferred_client_dials(listening: socket.socket) -> Iterator[object]:
    """A zone by name leads to the address, for daemons that dial each other, too."""
    from twisted.internet import reactor

    endpoint = dial_with(reactor, reactor)(f"::1%{LOOPBACK}", listening.getsockname()[1])
    protocol = cast("IProtocol", (yield endpoint.connect(Factory.forProtocol(Protocol))))
    listening.accept()[0].close()
    cast("Protocol", protocol).transport.loseConnection()  # type: ignore[union-attr]  # it is connected


@needs_ipv6
def test_the_asyncio_client_dials(listening: socket.socket) -> None:
    """A zone by name leads to the address."""

    async def main() -> None:
        connections = LoopConnections(LoopClock(asyncio.get_running_loop()), None)
        endpoint = connections.dial(f"::1%{LOOPBACK}", listening.getsockname()[1])
        await future_of(asyncio.get_running_loop(), endpoint.connect(Factory.forProtocol(Protocol)))
        listening.accept()[0].close()
        connections.abort()
        await connections.closed()

    asyncio.run(main())


@needs_ipv6
def test_daemons_listen() -> None:
    """A zone by name is part of where a daemon listens, and the loopback is local with it."""
    from twisted.internet import reactor

    with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
        port = probe.getsockname()[1]
    listen = listen_string(f"::1%{LOOPBACK}", port)
    assert listen == rf"tcp6:port={port}:interface=\:\:1%{socket.if_nametoindex(LOOPBACK)}"
    assert is_local(listen)
    found: list[object] = []
    server_endpoint(reactor, listen).listen(Factory.forProtocol(Protocol)).addBoth(found.append)
    (opened,) = found
    with socket.create_connection(("::1", port), 10):
        pass
    opened.stopListening()  # type: ignore[attr-defined]  # an IListeningPort
