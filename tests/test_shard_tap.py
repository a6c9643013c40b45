"""``twistd pyshard-shard``: its options, and the service they make."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator

import pytest
from twisted.application.service import IService
from twisted.python import usage

from pyshard import daemon
from pyshard.server import Listener
from pyshard.settings import settings
from pyshard.shard.service import ShardService
from pyshard.shard.tap import Options, makeService
from pyshard.storage import MemoryStore


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The hosts and ports that were to be listened on; each of them can be."""
    found: list[tuple[str, int]] = []

    def listen_string(host: str, port: int) -> str:
        found.append((host, port))
        return f"tcp:port={port}:interface=127.0.0.1"

    monkeypatch.setattr(daemon, "listen_string", listen_string)
    return found


@pytest.fixture
def taken() -> Iterator[int]:
    """A port of 127.0.0.1 on which somebody listens."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def parsed(*arguments: str) -> Options:
    """The options of a command line."""
    options = Options()
    options.parseOptions(list(arguments))
    return options


def listener_of(service: ShardService) -> Listener:
    """The service's listener."""
    (listener,) = service.services
    assert isinstance(listener, Listener)
    return listener


@pytest.mark.parametrize(
    ("arguments", "where"),
    [
        ([], ("127.0.0.1", 5050)),
        (["--port", "6000"], ("127.0.0.1", 6000)),
        (["-p", "6000"], ("127.0.0.1", 6000)),
        (["--host", "0.0.0.0", "--port=1"], ("0.0.0.0", 1)),
    ],
)
def test_where(arguments: list[str], where: tuple[str, int], asked: list[tuple[str, int]]) -> None:
    """It listens on this machine only, on the settings' port, unless it is told otherwise."""
    options = parsed(*arguments)
    assert asked == [where]
    assert options["listen"] == f"tcp:port={where[1]}:interface=127.0.0.1"
    assert settings.SHARD_PORT == 5050


@pytest.mark.parametrize("option", ["--listen", "-l"])
def test_listen_in_place_of_host_and_port(option: str, asked: list[tuple[str, int]]) -> None:
    """An endpoint string is taken as it is, and host and port aren't looked at."""
    options = parsed(option, "unix:a socket", "--port", "nonsense")
    assert (options["listen"], asked) == ("unix:a socket", [])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--port", "http"], r"pyshard: --port: found 'http', expected a port from 1 to 65535"),
        (["--port", "0"], r"pyshard: --port: found '0', expected a port from 1 to 65535"),
        (["--host", "a" * 64], r"pyshard: can't listen on a{64}:5050: 'a{64}' has no address \(not a name\)"),
    ],
)
def test_refused(arguments: list[str], line: str) -> None:
    """What can't be used ends the process with one line, which is also its exit code other than 0."""
    with pytest.raises(SystemExit) as ended:
        parsed(*arguments)
    assert isinstance(ended.value.code, str)
    assert re.fullmatch(line, ended.value.code)


def test_port_in_use(taken: int) -> None:
    """A port that is taken is noticed before anything is started."""
    with pytest.raises(SystemExit) as ended:
        parsed("--port", str(taken))
    assert str(ended.value.code).startswith(f"pyshard: can't listen on 127.0.0.1:{taken}: address already in use; ")


@pytest.mark.parametrize("arguments", [["--prot", "1"], ["surplus"]])
def test_unknown_options(arguments: list[str]) -> None:
    """What isn't an option is twistd's to refuse."""
    with pytest.raises(usage.UsageError):
        parsed(*arguments)


def test_service(asked: list[tuple[str, int]]) -> None:
    """The service is a shard with an empty store in memory, and listens nowhere yet."""
    service = makeService(parsed("--port", "6000"))
    assert IService.providedBy(service)
    assert isinstance(service, ShardService)
    assert not service.running
    assert isinstance(service.shard.store, MemoryStore)
    assert (service.shard.store.documents, service.shard.assignment) == (0, None)
    assert listener_of(service)._port is None


def test_identities(asked: list[tuple[str, int]]) -> None:
    """Each start has a store of its own: 32 hex digits that no other has."""
    identities = set()
    for _ in range(2):
        service = makeService(parsed())
        assert isinstance(service, ShardService)
        identities.add(service.shard.store.identity)
    assert len(identities) == 2
    assert all(re.fullmatch(r"[0-9a-f]{32}", identity) for identity in identities)


@pytest.mark.parametrize("listen", ["", "5050", "tcp:http", "nothing:at=all"])
def test_service_that_cannot_listen(listen: str) -> None:
    """An endpoint string that is none ends the process with one line."""
    with pytest.raises(SystemExit) as ended:
        makeService(parsed("--listen", listen))
    line = str(ended.value.code)
    assert line.startswith(f"pyshard: --listen: found {listen!r}, expected a Twisted server endpoint string such as ")
    assert "\n" not in line


def test_help() -> None:
    """The help names every option, and says what its default is."""
    text = str(Options())
    for words in ("--port=", "--host=", "--listen=", "5050", "127.0.0.1"):
        assert words in text
