"""The option --http: what is refused before a daemon starts, and what a daemon's service has."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from ports import free_port

from pyshard.errors import ConfigError
from pyshard.http import http_option
from pyshard.http.http_listener import HttpListener
from pyshard.http.http_option import http_endpoint
from pyshard.shard.plugin import ShardOptions, makeService


def options(http: str | None, **given: object) -> dict[str, Any]:
    """Options as a daemon has them."""
    return {"http": http, "listen": "tcp:5050:interface=127.0.0.1", "tokens": None, "insecure": 0} | given


def test_forms(tmp_path: Path) -> None:
    """An address, or any endpoint string; none: there is no port."""
    port = free_port()
    assert http_endpoint(options(None)) is None
    assert http_endpoint(options(f"127.0.0.1:{port}")) == f"tcp:port={port}:interface=127.0.0.1"
    for given in (f"tcp:{port}:interface=127.0.0.1", f"unix:{tmp_path}/http"):
        assert http_endpoint(options(given)) == given


def listeners(folder: Path, *arguments: str) -> list[HttpListener]:
    """The HTTP ports of a shard that was started with some arguments."""
    made = ShardOptions()
    made.parseOptions(["--listen", f"unix:{folder}/socket", *arguments])
    service: Any = makeService(made)
    return [one for one in service.serving.services if isinstance(one, HttpListener)]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("tcp:port=99999999:interface=127.0.0.1", "--http: found '99999999', expected a port from 1 to 65535"),
        ("tcp:port=99999999", "--http: found '99999999', expected a port from 1 to 65535"),
    ],
)
def test_refused(given: str, message: str) -> None:
    """In one line, with what was expected."""
    with pytest.raises(ConfigError) as refused:
        http_endpoint(options(given))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_the_port_of_the_daemon() -> None:
    """It can't be that of HTTP, too, however it is written."""
    port = free_port()
    own = f"tcp:port={port}:interface=127.0.0.1"
    with pytest.raises(ConfigError, match="where the daemon itself listens; expected another port"):
        http_endpoint(options(f"127.0.0.1:{port}", listen=own))


def test_open_to_others(tmp_path: Path) -> None:
    """Others than this machine may connect if there are tokens, or the operator wants it so."""
    given = f"tcp:{free_port()}"
    assert len(listeners(tmp_path, "--http", given, "--insecure")) == 1
    with pytest.raises(
        SystemExit,
        match=r"--http: found 'tcp:[0-9]+', on which others than this machine could connect, and no token file; "
        r"expected --token-file FILE \('pyshard token' makes tokens\), an address of this machine",
    ):
        listeners(tmp_path, "--http", given)


def test_port_in_use() -> None:
    """It is refused before the daemon starts."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"can't listen on 127.0.0.1:{port}: address already in use"):
            http_endpoint(options(f"127.0.0.1:{port}"))


def test_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without prometheus_client the message says what to install; nobody else needs it."""
    monkeypatch.setattr(http_option, "find_spec", lambda _: None)
    assert http_endpoint(options(None)) is None
    with pytest.raises(ConfigError) as refused:
        http_endpoint(options("unix:x"))
    assert str(refused.value) == (
        "--http: prometheus_client isn't installed; expected pip install 'pyshard[metrics]' before"
    )


@pytest.mark.parametrize("arguments", [[], ["--http", "unix:here"]])
def test_service(arguments: list[str], tmp_path: Path) -> None:
    """A shard has the port if it is told so."""
    assert len(listeners(tmp_path, *arguments)) == len(arguments[1:])


@pytest.mark.parametrize("given", ["nonsense:1", "127.0.0.1:no"])
def test_no_endpoint(given: str, tmp_path: Path) -> None:
    """What is no endpoint string ends the daemon with one line."""
    with pytest.raises(SystemExit) as ended:
        listeners(tmp_path, "--http", given)
    assert str(ended.value.code).startswith(f"pyshard: --http: found '{given}', expected a Twisted server endpoint")
    assert "\n" not in str(ended.value.code)


def test_no_certificate(tmp_path: Path) -> None:
    """So does a port of TLS without its files."""
    with pytest.raises(SystemExit, match=r"^pyshard: --http: TLS file .*server.pem: it can't be read"):
        listeners(tmp_path, "--http", "ssl:9100:interface=127.0.0.1")
