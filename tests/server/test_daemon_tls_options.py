"""A daemon's options for TLS: which files they name, and where it may listen."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from certificates import Certificates
from twisted.internet.task import Clock

from pyshard import Tls
from pyshard.errors import ConfigError
from pyshard.server import daemon_tls_options


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    """An authority's certificates."""
    return Certificates(tmp_path)


def options(made: Certificates, **given: object) -> dict[str, object]:
    """Options with the daemon's files, but for what is given."""
    own = made.daemon
    found: dict[str, object] = {
        "listen": "tcp:5050",
        "tls-ca": str(own.ca),
        "tls-certificate": str(own.certificate),
        "tls-key": str(own.key),
        "tls-any-client": 0,
        "tokens": None,
        "insecure": 0,
    }
    return found | {name.replace("_", "-"): value for name, value in given.items()}


def test_options(made: Certificates) -> None:
    """The three options make a `Tls`; none of them, none. A daemon that listens with its own TLS needs none to dial."""
    nothing = {"tls_ca": None, "tls_certificate": None, "tls_key": None}
    assert daemon_tls_options.tls_files(options(made)) == made.daemon
    assert daemon_tls_options.tls_files(options(made, **nothing)) is None
    alone = options(made, listen="ssl:5050", tls_certificate=None, tls_key=None)
    assert daemon_tls_options.tls_files(alone) == Tls(made.ca)
    with pytest.raises(ConfigError, match="--tls-any-client: found it with --listen ssl:5050"):
        daemon_tls_options.tls_files(alone | {"tls-any-client": 1})


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tls_certificate": None, "tls_key": None}, "--tls-certificate: found nothing beside --tls-ca, expected"),
        ({"tls_ca": None}, "--tls-ca: found nothing, beside the certificate or key "),
        ({"tls_ca": None, "tls_certificate": None, "tls_key": None, "tls_any_client": 1}, "--tls-any-client: found it"),
        ({"tls_ca": "/none.pem"}, "TLS file /none.pem: it can't be read: no such file or directory"),
    ],
)
def test_refused_options(made: Certificates, given: dict[str, object], message: str) -> None:
    """Options that lack something, or contradict each other, are refused before anything is started."""
    with pytest.raises(ConfigError) as refused:
        daemon_tls_options.tls_files(options(made, **given))
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        ({}, True),
        ({"tls_any_client": 1}, False),
        ({"tls_ca": "system"}, False),
        ({"tls_ca": "system", "tokens": "some"}, True),
        ({"tls_any_client": 1, "tokens": "some"}, True),
        ({"tls_any_client": 1, "insecure": 1}, True),
        ({"tls_any_client": 1, "listen": "tcp:5050:interface=127.0.0.1"}, True),
        ({"tls_ca": None}, False),
    ],
)
def test_where_others_can_connect(made: Certificates, given: dict[str, object], allowed: bool) -> None:
    """A daemon that wants certificates may listen there without tokens; one that takes any client may not."""
    found = options(made, **given)
    found["tls"] = None if given.get("tls_ca", "") is None else attrs.evolve(made.daemon, ca=str(found["tls-ca"]))
    if allowed:
        daemon_tls_options.listening(Clock(), found)
    else:
        with pytest.raises(ConfigError, match="on which others than this machine could connect"):
            daemon_tls_options.listening(Clock(), found)
