"""Addresses as people write them, and the endpoints they lead to."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from twisted.internet.address import IPv4Address
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver, IStreamClientEndpoint
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from zope.interface import implementer

from pyshard.errors import ConfigError
from pyshard.net.address_parsing import Address, Server, Servers, parse, parse_all, tls_of_all
from pyshard.net.client_endpoints import dial_with, endpoint_of
from pyshard.net.happy_eyeballs import HappyEyeballsEndpoint
from pyshard.net.twisted_internals import NO_TIMEOUT
from pyshard.security.tls import Tls
from pyshard.settings import settings

EXPECTED = (
    "expected ['host', port], 'host:port' or a Twisted client endpoint string such as 'tls:example.com:9192', "
    "with a port from 1 to 65535"
)


@implementer(IHostResolution)
@attrs.frozen
class Resolution:
    """A name that was looked up."""

    name: str

    def cancel(self) -> None:
        """Nothing to cancel: it is done at once."""


@implementer(IHostnameResolver)
class TwoAddresses:
    """A resolver for which every name has two addresses."""

    def resolveHostName(
        self,
        resolutionReceiver: IResolutionReceiver,  # noqa: N803
        hostName: str,  # noqa: N803
        portNumber: int = 0,  # noqa: N803
        addressTypes: object = None,  # noqa: N803
        transportSemantics: str = "TCP",  # noqa: N803
    ) -> IHostResolution:
        """Give both at once."""
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        for host in ("10.0.0.1", "10.0.0.2"):
            resolutionReceiver.addressResolved(IPv4Address("TCP", host, portNumber))
        resolutionReceiver.resolutionComplete()
        return resolution


def no_dial(host: str, port: int) -> IStreamClientEndpoint:
    """What must not be called."""
    raise AssertionError(f"dialed {host}:{port}")


@pytest.mark.parametrize(
    ("server", "expected"),
    [
        (settings.BOOTSTRAP_SERVER, Address("localhost", 9192)),
        (["localhost", 1], Address("localhost", 1)),
        (("127.0.0.1", 65535), Address("127.0.0.1", 65535)),
        (["::1", 9192], Address("::1", 9192)),
        ("localhost:9192", Address("localhost", 9192)),
        (" localhost:9192\n", Address("localhost", 9192)),
        ("db-1.example.com:1", Address("db-1.example.com", 1)),
        ("127.0.0.1:65535", Address("127.0.0.1", 65535)),
        ("[::1]:9192", Address("::1", 9192)),
        ("tcp:localhost:9192", Address(description="tcp:localhost:9192")),
        ("tcp:host=localhost:port=9192", Address(description="tcp:host=localhost:port=9192")),
        (" tls:example.com:9192 ", Address("example.com", 9192, tls=Tls("system"))),
        ("tls:example.com:9192:trustRoots=/ca", Address("example.com", 9192, tls=Tls("/ca"))),
        ("unix:bootstrap.sock", Address(description="unix:bootstrap.sock")),
    ],
)
def test_parse(server: Server, expected: Address) -> None:
    """A list, a 'host:port' and an endpoint string all lead to an address."""
    assert parse(server) == expected


@pytest.mark.parametrize(
    "server",
    [
        "",
        "localhost",
        ":",
        "::",
        ":9192",
        "localhost:",
        "::1",
        "localhost:0",
        "localhost:65536",
        "[::1]:0",
        ["localhost"],
        ["localhost", 9192, 1],
        ["localhost", "9192"],
        ["localhost", True],
        ["localhost", 9192.0],
        ["localhost", 0],
        ["localhost", -1],
        ["localhost", 65536],
        ["", 9192],
        [b"localhost", 9192],
        [9192, "localhost"],
        b"localhost:9192",
        b"ab",
        {"localhost": 1, "port": 2},
        None,
        9192,
    ],
)
def test_refused(server: object) -> None:
    """What is no address is refused: the message says what was found and what can stand there."""
    with pytest.raises(ConfigError) as refused:
        parse(server)  # type: ignore[arg-type]
    assert str(refused.value) == f"bootstrap server: found {server!r}, {EXPECTED}"


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (Address("localhost", 9192), "localhost:9192"),
        (Address("::1", 9192), "[::1]:9192"),
        (Address(description="unix:bootstrap.sock"), "unix:bootstrap.sock"),
    ],
)
def test_text(address: Address, expected: str) -> None:
    """An address prints as it can be written, and parses back."""
    assert str(address) == expected
    assert parse(str(address)) == address


def test_dial_is_asked_for_host_and_port() -> None:
    """An address of host and port goes to the dial that was given."""
    reactor = MemoryReactorClock()
    endpoint: IStreamClientEndpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", 9192)
    dialed: list[tuple[str, int]] = []

    def dial(host: str, port: int) -> IStreamClientEndpoint:
        dialed.append((host, port))
        return endpoint

    assert endpoint_of(reactor, Address("localhost", 9192), dial) is endpoint
    assert dialed == [("localhost", 9192)]


@pytest.mark.parametrize(
    ("description", "expected"),
    [
        ("tcp:127.0.0.1:9192", ([("127.0.0.1", 9192)], [])),
        ("tcp:host=127.0.0.1:port=9192:timeout=1", ([("127.0.0.1", 9192)], [])),
        ("unix:bootstrap.sock", ([], ["bootstrap.sock"])),
    ],
)
def test_endpoint_string(description: str, expected: tuple[list[tuple[str, int]], list[str]]) -> None:
    """An endpoint string becomes Twisted's endpoint, which connects there, and the dial isn't used."""
    reactor = MemoryReactorClock()
    endpoint_of(reactor, Address(description=description), no_dial).connect(Factory())
    assert ([client[:2] for client in reactor.tcpClients], [client[0] for client in reactor.unixClients]) == expected


@pytest.mark.parametrize(
    "description",
    [
        "nosuchtype:localhost:9192",
        "tcp:host=localhost",
        "tcp:localhost:port=x",
        "tcp:localhost:9192:color=red",
        "localhost:123456",
        "::1:9192",
        "http://localhost:9192",
    ],
)
def test_no_endpoint_string(description: str) -> None:
    """What Twisted doesn't understand is one error that shows it."""
    with pytest.raises(ConfigError) as refused:
        endpoint_of(MemoryReactorClock(), parse(description), no_dial)
    assert str(refused.value).startswith(
        f"bootstrap server: found {description!r}, which is no Twisted client endpoint string: "
    )


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", TCP4ClientEndpoint),
        ("::1", TCP6ClientEndpoint),
        ("localhost", HappyEyeballsEndpoint),
        ("1.2.3.4.example.com", HappyEyeballsEndpoint),
    ],
)
def test_dial_by_kind_of_host(host: str, expected: type) -> None:
    """IP addresses are dialed as they are, names are resolved."""
    assert type(dial_with(MemoryReactorClock(), Clock())(host, 9192)) is expected


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_dial_connects(host: str) -> None:
    """A dialed endpoint connects to host and port; who dials has a clock of its own, so the reactor's sets no limit."""
    reactor = MemoryReactorClock()
    dial_with(reactor, reactor)(host, 9192).connect(Factory())
    (found,) = reactor.tcpClients
    assert (found[0], found[1], found[3]) == (host, 9192, NO_TIMEOUT)


def test_second_address_of_a_name_is_tried_soon() -> None:
    """When the first address of a name doesn't answer, the next one is tried after 0.05 seconds of the clock."""
    reactor, clock = MemoryReactorClock(), Clock()
    reactor.installNameResolver(TwoAddresses())
    dial_with(reactor, clock)("db.example.com", 9192).connect(Factory())
    tried: list[list[tuple[str, int]]] = []
    for seconds in (0, 0.04, 0.02):
        clock.advance(seconds)
        tried.append([(host, port) for host, port, *_ in reactor.tcpClients])
    first, second = ("10.0.0.1", 9192), ("10.0.0.2", 9192)
    assert tried == [[first], [first], [first, second]]


@pytest.mark.parametrize(
    ("servers", "expected"),
    [
        (["localhost", 9192], ["localhost:9192"]),
        (("localhost", 9192), ["localhost:9192"]),
        ("localhost:9192", ["localhost:9192"]),
        ("a:1,b:2", ["a:1", "b:2"]),
        (" a:1 , [::1]:2, unix:c", ["a:1", "[::1]:2", "unix:c"]),
        (["a:1", "b:2"], ["a:1", "b:2"]),
        (["a:1"], ["a:1"]),
        ([["a", 1]], ["a:1"]),
        ([["a", 1], ["b", 2]], ["a:1", "b:2"]),
        ((["::1", 1], "tcp:b:2", "c:3"), ["[::1]:1", "tcp:b:2", "c:3"]),
        (["a:1", "b:2", ["a", 1]], ["a:1", "b:2"]),
    ],
)
def test_several(servers: Servers, expected: list[str]) -> None:
    """Several addresses stand in a sequence or, with commas between, in a text; a host with its port is one."""
    assert [str(one) for one in parse_all(servers)] == expected


@pytest.mark.parametrize("servers", [[], (), "", "a:1,", ["a:1", ""], ["a", "1"], [["a", 1], 2], ["a", 70_000]])
def test_several_refused(servers: Any) -> None:
    """One that is none among several is refused as it is alone."""
    with pytest.raises(ConfigError, match=r"^bootstrap server: found .*, expected "):
        parse_all(servers)


def test_several_and_tls() -> None:
    """All addresses of a client say the same of TLS, or are refused."""
    assert tls_of_all(parse_all("a:1,b:2"), None, {}) is None
    assert tls_of_all(parse_all("tls:a:1,tls:b:2"), None, {}) == parse("tls:a:1").tls
    with pytest.raises(ConfigError, match="expected each to say the same of TLS"):
        tls_of_all(parse_all("a:1,tls:b:2"), None, {})
