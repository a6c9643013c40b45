"""Twisted server endpoint strings of TLS: what they say, and that pyshard's own TLS listens."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import Certificates
from twisted.internet.testing import MemoryReactorClock

from pyshard.errors import ConfigError
from pyshard.security.tls import Tls
from pyshard.security.tls.endpoints import TlsServerEndpoint
from pyshard.server.listen_address import server_endpoint
from pyshard.server.tls_listen_string import tls_listen_string


@pytest.mark.parametrize(
    ("given", "below", "certificate", "key"),
    [
        ("ssl:5050", "tcp:port=5050", "server.pem", "server.pem"),
        ("ssl:port=5050:privateKey=k", "tcp:port=5050", "k", "k"),
        ("ssl:5050:privateKey=k:certKey=c:backlog=9", "tcp:port=5050:backlog=9", "c", "k"),
        (r"ssl:5050:interface=\:\:1:privateKey=a\:k", r"tcp6:port=5050:interface=\:\:1", "a:k", "a:k"),
        ("ssl:5050:interface=127.0.0.1", "tcp:port=5050:interface=127.0.0.1", "server.pem", "server.pem"),
    ],
)
def test_what_it_says(given: str, below: str, certificate: str, key: str) -> None:
    """The port without TLS, and the files, as Twisted names them."""
    assert tls_listen_string(given, "--http") == (below, Tls("system", certificate, key))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("ssl:5050:sslmethod=TLS_METHOD", "found 'sslmethod' in"),
        ("ssl:5050:extraCertChain=c", "up to the authority stand in the same file"),
        ("ssl:5050:127.0.0.1", "found '127.0.0.1' in"),
        ("ssl", "expected a port"),
        ("ssl:interface=127.0.0.1", "expected a port"),
    ],
)
def test_what_can_not_be_done(given: str, found: str) -> None:
    """It is refused, with the option that says it."""
    with pytest.raises(ConfigError, match=rf"^--http: .*{found}"):
        tls_listen_string(given, "--http")


def test_own_tls_listens(tmp_path: Path) -> None:
    """With its bounds on messages and records, which Twisted's has not; a file that can't be used is refused."""
    own = Certificates(tmp_path).daemon
    given = f"ssl:5050:privateKey={own.key}:certKey={own.certificate}"
    assert isinstance(server_endpoint(MemoryReactorClock(), given), TlsServerEndpoint)
    with pytest.raises(ConfigError, match=r"^--listen: TLS file .*gone.pem: it can't be read"):
        server_endpoint(MemoryReactorClock(), f"ssl:5050:privateKey={own.key}:certKey={tmp_path / 'gone.pem'}")
