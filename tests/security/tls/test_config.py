"""What a client or a daemon uses for TLS: as its user, the environment and endpoint strings say it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import pytest

from pyshard import Tls
from pyshard.errors import ConfigError
from pyshard.net import address_parsing
from pyshard.security import tls


def test_paths() -> None:
    """Paths are made absolute, since twistd changes its directory; the system's authorities are no path."""
    found = Tls("ca.pem", Path("~/own.pem"))
    assert found == Tls(Path.cwd() / "ca.pem", Path.home() / "own.pem", None)
    assert Tls("system").ca == "system"


def test_a_key_without_a_certificate() -> None:
    """A key is of no use without its certificate."""
    with pytest.raises(ConfigError, match=r"^TLS: found the key /own\.key without a certificate"):
        Tls("/ca.pem", key="/own.key")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tls:example.com:9192", ("example.com", 9192, Tls("system"))),
        ("tls:host=example.com:port=9192", ("example.com", 9192, Tls("system"))),
        ("tls:port=9192:example.com", ("example.com", 9192, Tls("system"))),
        ("tls:a:1:trustRoots=/ca", ("a", 1, Tls("/ca"))),
        ("tls:a:1:trustRoots=/ca:certificate=/c", ("a", 1, Tls("/ca", "/c"))),
        ("tls:a:1:trustRoots=/ca:certificate=/c:privateKey=/k", ("a", 1, Tls("/ca", "/c", "/k"))),
        ("ssl:a:1:caCertsDir=/ca:certKey=/c:privateKey=/k", ("a", 1, Tls("/ca", "/c", "/k"))),
        (r"tls:\:\:1:9192:trustRoots=/c\:a", ("::1", 9192, Tls("/c:a"))),
    ],
)
def test_endpoint_strings(text: str, expected: tuple[str, int, Tls]) -> None:
    """Twisted's client endpoint strings say host, port and files."""
    assert tls.is_tls(text)
    assert tls.from_string(text) == expected


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("tls:a", "found host 'a' and port ''"),
        ("tls::1", "found host '' and port '1'"),
        ("tls:a:b", "found host 'a' and port 'b'"),
        ("tls:a:0", "found host 'a' and port '0'"),
        ("tls:a:65536", "found host 'a' and port '65536'"),
        ("tls:a:1:2", "found '2' too many"),
        ("tls:a:1:timeout=3", "found 'timeout'"),
        ("tls:a:1:endpoint=unix\\:x", "found 'endpoint'"),
        ("ssl:a:1:hostname=b", "found 'hostname'"),
        ("ssl:a:1:trustRoots=/ca", "found 'trustRoots'"),
    ],
)
def test_refused_endpoint_strings(text: str, found: str) -> None:
    """A string that makes no sense, or can't hold for shards, is refused; the message says what can stand there."""
    with pytest.raises(ConfigError) as refused:
        tls.from_string(text)
    assert str(refused.value).startswith(f"bootstrap server {text!r}: {found}, expected {text[:3]}:HOST:PORT and ")


ENVIRONMENT = {"PYSHARD_TLS_CA": "/ca", "PYSHARD_TLS_CERTIFICATE": "/c", "PYSHARD_TLS_KEY": "/k"}


@pytest.mark.parametrize(
    ("server", "given", "environment", "expected"),
    [
        ("a:1", None, {}, None),
        ("a:1", None, ENVIRONMENT, Tls("/ca", "/c", "/k")),
        ("a:1", None, dict.fromkeys(ENVIRONMENT, ""), None),
        ("a:1", None, {"PYSHARD_TLS_CA": "system"}, Tls("system")),
        ("a:1", False, ENVIRONMENT, None),
        ("a:1", Tls("/other"), ENVIRONMENT, Tls("/other")),
        ("tls:a:1:trustRoots=/x", None, ENVIRONMENT, Tls("/x")),
        ("unix:x", None, {}, None),
        ("unix:x", False, ENVIRONMENT, None),
    ],
)
def test_who_decides(
    server: str, given: Tls | Literal[False] | None, environment: dict[str, str], expected: Tls | None
) -> None:
    """The address, else the user, else the environment, says what is used."""
    assert address_parsing.tls_of(address_parsing.parse(server), given, environment) == expected


@pytest.mark.parametrize(
    ("server", "given", "environment"),
    [
        ("tls:a:1", Tls("/ca"), {}),
        ("tls:a:1", False, {}),
        ("unix:x", Tls("/ca"), {}),
        ("tcp:a:1", None, ENVIRONMENT),
        ("a:1", None, {"PYSHARD_TLS_CERTIFICATE": "/c"}),
    ],
)
def test_contradictions(server: str, given: Tls | Literal[False] | None, environment: dict[str, str]) -> None:
    """Contradictions are refused; nothing falls back to plain TCP."""
    with pytest.raises(ConfigError, match="expected"):
        address_parsing.tls_of(address_parsing.parse(server), given, environment)


def test_environment_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """By default the environment is this process's."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setitem(os.environ, name, value)
    assert tls.for_client(None) == Tls("/ca", "/c", "/k")
