"""Where a daemon listens, and how it ends with one line when that can't be."""

from __future__ import annotations

import socket

import pytest
from ports import free_port
from twisted.internet.endpoints import TCP4ServerEndpoint, TCP6ServerEndpoint, UNIXServerEndpoint
from twisted.internet.testing import MemoryReactorClock

from pyshard.errors import ConfigError
from pyshard.server import listen_address


@pytest.mark.parametrize(
    ("given", "port"), [(1, 1), (5050, 5050), (65535, 65535), ("1", 1), ("5050", 5050), ("05050", 5050)]
)
def test_port_number(given: object, port: int) -> None:
    """A port is a number from 1 to 65535, as the option gives it."""
    assert listen_address.port_number(given, "--port") == port


@pytest.mark.parametrize(
    "given",
    [0, 65536, -1, "0", "65536", "", " ", "+1", "-1", "5050 ", "5_0", "0x10", "1.0", "http", "\u0661", "9" * 5000],
)
def test_no_port_number(given: object) -> None:
    """Anything else is refused: which option, what was found, what was expected."""
    with pytest.raises(ConfigError) as refused:
        listen_address.port_number(given, "--port")
    assert str(refused.value) == f"--port: found {str(given)!r}, expected a port from 1 to 65535"


# -- host and port --------------------------------------------------------------------------------------------------


@pytest.fixture
def free() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    return free_port()


@pytest.mark.parametrize(
    ("host", "address"), [("127.0.0.1", "127.0.0.1"), ("localhost", "127.0.0.1"), ("0.0.0.0", "0.0.0.0")]
)
def test_listen_string(host: str, address: str, free: int) -> None:
    """A host and a port that can be listened on become an endpoint string; the port stays free."""
    for _ in range(2):
        assert listen_address.listen_string(host, free) == f"tcp:port={free}:interface={address}"


def test_listen_string_for_ipv6(free: int) -> None:
    """An IPv6 address becomes a string that Twisted reads back as that address."""
    if not socket.has_dualstack_ipv6():
        pytest.skip("this machine has no IPv6")
    listen = listen_address.listen_string("::1", free)
    assert listen == rf"tcp6:port={free}:interface=\:\:1"
    endpoint = listen_address.server_endpoint(MemoryReactorClock(), listen)
    assert isinstance(endpoint, TCP6ServerEndpoint)
    assert (endpoint._port, endpoint._interface) == (free, "::1")


def test_ipv4_comes_first(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """Of a name's addresses one of IPv4 is taken, whatever their order."""
    addresses = [
        (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("::1", free, 0, 0)),
        (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", free)),
    ]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: addresses)
    assert listen_address.listen_string("name", free) == f"tcp:port={free}:interface=127.0.0.1"


def test_port_in_use(taken: int) -> None:
    """A port on which somebody listens is refused before anything is started."""
    with pytest.raises(ConfigError) as refused:
        listen_address.listen_string("127.0.0.1", taken)
    assert str(refused.value) == (
        f"can't listen on 127.0.0.1:{taken}: address already in use; stop what listens there, or choose another port"
    )


def test_port_just_left() -> None:
    """A port on which connections of a daemon that has ended still linger can be listened on again."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = int(server.getsockname()[1])
        with socket.create_connection(("127.0.0.1", port)) as client:
            accepted, _ = server.accept()
            accepted.close()
            assert client.recv(1) == b""
    assert listen_address.listen_string("127.0.0.1", port) == f"tcp:port={port}:interface=127.0.0.1"


def test_foreign_address(free: int) -> None:
    """An address that isn't this machine's is refused."""
    with pytest.raises(ConfigError) as refused:
        listen_address.listen_string("192.0.2.1", free)
    assert str(refused.value).startswith(f"can't listen on 192.0.2.1:{free}: cannot assign requested address; ")


def test_unknown_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name without an address is refused, with the system's reason."""

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(ConfigError) as refused:
        listen_address.listen_string("nowhere", 5050)
    assert str(refused.value) == "can't listen on nowhere:5050: 'nowhere' has no address (Name or service not known)"


@pytest.mark.parametrize("host", ["a" * 64, "two..dots"])
def test_no_name(host: str) -> None:
    """What can't be a name at all is refused too."""
    with pytest.raises(ConfigError) as refused:
        listen_address.listen_string(host, 5050)
    assert str(refused.value) == f"can't listen on {host}:5050: {host!r} has no address (not a name)"


# -- host and port, or an endpoint string ---------------------------------------------------------------------------


def test_listening(free: int) -> None:
    """HOST:PORT and endpoint strings stand for one another."""
    for given in (f"127.0.0.1:{free}", f"localhost:{free}"):
        assert listen_address.listening(given) == f"tcp:port={free}:interface=127.0.0.1"
    for given in (f"tcp:{free}", "unix:/run/shard", f"tcp:{free}:interface=127.0.0.1"):
        assert listen_address.listening(given) == given


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "tcp:{}:interface=127.0.0.1", "tcp:{}:127.0.0.1", "tcp:{}"])
def test_listening_where_somebody_listens(form: str, taken: int) -> None:
    """A port in use is refused in each form, before anything is started."""
    with pytest.raises(ConfigError, match=rf"^can't listen on [\d.]+:{taken}: address already in use"):
        listen_address.listening(form.format(taken))


def test_listening_at_no_host() -> None:
    """A host without an address may be a kind of endpoint strings that there isn't: the message has both forms."""
    with pytest.raises(ConfigError) as refused:
        listen_address.listening("name..invalid:5")
    assert str(refused.value) == (
        "--listen: found 'name..invalid:5', expected a Twisted server endpoint string such as "
        "'tcp:5050:interface=127.0.0.1', or HOST:PORT (can't listen on name..invalid:5: 'name..invalid' has no address "
        "(not a name))"
    )


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "tcp:{}"])
def test_listening_at_no_port(form: str) -> None:
    """What can be no port is refused; the message names who says it."""
    with pytest.raises(ConfigError, match=r"^listen: found '65536', expected a port from 1 to 65535$"):
        listen_address.listening(form.format(65536), "listen")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("10.0.0.5:5050", ("10.0.0.5", 5050)),
        ("localhost:5050", ("localhost", 5050)),
        ("0.0.0.0:5050", ("127.0.0.1", 5050)),
        ("[::]:5050", ("::1", 5050)),
        ("tcp:5050", ("127.0.0.1", 5050)),
        ("tcp:port=5050:interface=10.0.0.5", ("10.0.0.5", 5050)),
        ("tcp:5050:10.0.0.5", ("10.0.0.5", 5050)),
        ("tcp6:5050", ("::1", 5050)),
        (r"tcp6:5050:interface=\:\:", ("::1", 5050)),
        ("ssl:5050:privateKey=key", ("127.0.0.1", 5050)),
        ("tcp:0", None),
        ("tcp:http", None),
        ("unix:/run/shard", None),
        ("systemd:domain=INET:index=0", None),
    ],
)
def test_reached_at(given: str, expected: tuple[str, int] | None) -> None:
    """This machine reaches a daemon at its interface, or on loopback when it listens on all; or nobody knows where."""
    assert listen_address.reached_at(given) == expected


# -- endpoint strings -----------------------------------------------------------------------------------------------


def test_server_endpoint() -> None:
    """Any Twisted server endpoint string will do."""
    reactor = MemoryReactorClock()
    tcp = listen_address.server_endpoint(reactor, "tcp:5050:interface=127.0.0.1")
    assert isinstance(tcp, TCP4ServerEndpoint)
    assert (tcp._reactor, tcp._port, tcp._interface) == (reactor, 5050, "127.0.0.1")
    assert isinstance(listen_address.server_endpoint(reactor, "unix:socket"), UNIXServerEndpoint)


@pytest.mark.parametrize(
    ("description", "backlog"),
    [
        ("tcp:5050", 1000),
        ("tcp:port=5050:interface=127.0.0.1", 1000),
        (r"tcp6:5050:interface=\:\:1", 1000),
        ("tcp:5050:backlog=7", 7),
    ],
)
def test_backlog(description: str, backlog: int) -> None:
    """Many may connect at once while a daemon is busy; who names another number gets that."""
    endpoint = listen_address.server_endpoint(MemoryReactorClock(), description)
    assert isinstance(endpoint, TCP4ServerEndpoint | TCP6ServerEndpoint)
    assert endpoint._backlog == backlog


@pytest.mark.parametrize(
    ("description", "reason"),
    [
        ("", "Unknown endpoint type: ''"),
        ("5050", "Unknown endpoint type: '5050'"),
        ("127.0.0.1:5050", "Unknown endpoint type: '127.0.0.1'"),
        ("tcp", "_parseTCP() missing 1 required positional argument: 'port'"),
        ("tcp:http", "invalid literal for int() with base 10: 'http'"),
        ("tcp:5050:host=x", "_parseTCP() got an unexpected keyword argument 'host'"),
        ("=", "list index out of range"),
    ],
)
def test_no_server_endpoint(description: str, reason: str) -> None:
    """Any other text is refused, with Twisted's reason."""
    with pytest.raises(ConfigError) as refused:
        listen_address.server_endpoint(MemoryReactorClock(), description)
    assert str(refused.value) == (
        f"--listen: found {description!r}, expected a Twisted server endpoint string such as "
        f"'tcp:5050:interface=127.0.0.1' ({reason})"
    )


@pytest.mark.parametrize(
    "missing", [ModuleNotFoundError("No module named 'OpenSSL'"), NameError("SNIConnectionCreator")]
)
def test_tls_is_not_installed(monkeypatch: pytest.MonkeyPatch, missing: Exception) -> None:
    """An endpoint of a plugin that wants TLS, without the library for it, is refused, with the way to it."""

    def fail(*_: object) -> None:
        raise missing

    monkeypatch.setattr(listen_address, "serverFromString", fail)
    with pytest.raises(ConfigError) as refused:
        listen_address.server_endpoint(MemoryReactorClock(), "wss:5050")
    assert str(refused.value) == (
        "--listen: found 'wss:5050', but TLS isn't installed; expected pip install 'pyshard[tls]' before"
    )


@pytest.mark.parametrize(
    ("description", "local"),
    [
        ("tcp:5050:interface=127.0.0.1", True),
        ("tcp:port=5050:interface=127.8.9.1", True),
        ("tcp:5050:127.0.0.1", True),
        ("tcp:5050:interface=localhost", True),
        ("tcp6:5050:interface=\\:\\:1", True),
        ("tcp6:port=5050:interface=\\:\\:1", True),
        ("ssl:5050:privateKey=key.pem:interface=127.0.0.1", True),
        ("unix:/run/pyshard", True),
        ("unix:address=/run/pyshard:mode=660", True),
        ("tcp:5050", False),
        ("tcp:port=5050", False),
        ("tcp:5050:interface=", False),
        ("tcp:5050:interface=0.0.0.0", False),
        ("tcp:5050:0.0.0.0", False),
        ("tcp:5050:interface=192.0.2.1", False),
        ("tcp:5050:interface=127.0.0.1.example.com", False),
        ("tcp:5050:interface=localhost.example.com", False),
        ("tcp:127.0.0.1:interface=0.0.0.0", False),
        ("tcp:5050:interface=127.0.0.1:interface=0.0.0.0", False),
        ("tcp6:5050", False),
        ("tcp6:5050:interface=\\:\\:", False),
        ("ssl:5050:privateKey=key.pem", False),
        ("ssl:5050:127.0.0.1", False),
        ("systemd:domain=INET:index=0", False),
        ("haproxy:tcp:5050:interface=127.0.0.1", False),
        ("5050", False),
        ("", False),
    ],
)
def test_is_local(description: str, local: bool) -> None:
    """Loopback interfaces and Unix sockets are this machine's alone; whatever isn't clearly so, isn't."""
    assert listen_address.is_local(description) is local


def test_check_reach() -> None:
    """Where others could connect there must be tokens, or the operator's word; the error says what to do."""
    listen_address.check_reach("tcp:5050:interface=127.0.0.1", guarded=False)
    listen_address.check_reach("tcp:5050", guarded=True)
    with pytest.raises(ConfigError) as refused:
        listen_address.check_reach("tcp:5050", guarded=False)
    assert str(refused.value) == (
        "found 'tcp:5050', on which others than this machine could connect, and no token file; expected --token-file "
        "FILE ('pyshard token' makes tokens), --tls-ca FILE (the documentation, \"TLS\"), an address of this machine "
        "alone such as 127.0.0.1, or --insecure"
    )
