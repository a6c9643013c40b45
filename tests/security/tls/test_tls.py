"""What a client or a daemon is to use for TLS: as options, environment and endpoint strings say it, and the files."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

import attrs
import pytest
from certificates import Certificates
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard import Tls
from pyshard.errors import ConfigError
from pyshard.net import addresses
from pyshard.security import tls
from pyshard.security.tls import certificate_files
from pyshard.security.tls.contexts import TlsContext
from pyshard.security.tls.handshake_errors import closed_unanswered, in_words, tls_error
from pyshard.security.tls.verification import name_of
from pyshard.server import daemon_tls_options

NOW = datetime.now(UTC)


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    """An authority's certificates."""
    return Certificates(tmp_path)


# -- what is to be used ---------------------------------------------------------------------------------------------


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
    """What makes no sense, or can't hold for shards, is refused, and what can stand there is told."""
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
    assert addresses.tls_of(addresses.parse(server), given, environment) == expected


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
    """Whoever says two things is asked which; nothing falls back to plain TCP."""
    with pytest.raises(ConfigError, match="expected"):
        addresses.tls_of(addresses.parse(server), given, environment)


# -- a daemon's options ---------------------------------------------------------------------------------------------


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
    """The three options make a `Tls`; none of them, none. A bootstrap that listens by itself needs no certificate."""
    nothing = {"tls_ca": None, "tls_certificate": None, "tls_key": None}
    assert daemon_tls_options.tls_files(options(made), dials=False) == made.daemon
    assert daemon_tls_options.tls_files(options(made, **nothing), dials=False) is None
    alone = options(made, listen="ssl:5050", tls_certificate=None, tls_key=None)
    assert daemon_tls_options.tls_files(alone, dials=True) == Tls(made.ca)
    with pytest.raises(ConfigError, match="--tls-any-client: found it with --listen ssl:5050"):
        daemon_tls_options.tls_files(alone | {"tls-any-client": 1}, dials=True)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"tls_certificate": None, "tls_key": None}, "--tls-certificate: found nothing beside --tls-ca, expected"),
        ({"tls_ca": None}, "--tls-ca: found nothing, beside the certificate or key "),
        ({"tls_ca": None, "tls_certificate": None, "tls_key": None, "tls_any_client": 1}, "--tls-any-client: found it"),
        ({"listen": "ssl:5050"}, "--tls-ca: found it with --listen ssl:5050, which says itself"),
        ({"tls_ca": "/none.pem"}, "TLS file /none.pem: it can't be read: no such file or directory"),
    ],
)
def test_refused_options(made: Certificates, given: dict[str, object], message: str) -> None:
    """Options that lack something, or contradict each other, are refused before anything is started."""
    with pytest.raises(ConfigError) as refused:
        daemon_tls_options.tls_files(options(made, **given), dials=False)
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


# -- files ----------------------------------------------------------------------------------------------------------


def test_good_files(made: Certificates, tmp_path: Path) -> None:
    """A daemon's files, a client's without any, a directory of authorities, and a key in its certificate's file."""
    certificate_files.check(made.daemon, NOW)
    certificate_files.check(Tls(made.ca), NOW)
    directory = tmp_path / "authorities"
    directory.mkdir()
    shutil.copy(made.ca, directory / "one.pem")
    assert certificate_files.authorities(Tls(directory)) == [directory / "one.pem"]
    both = tmp_path / "both.pem"
    both.touch(0o600)
    both.write_bytes(Path(str(made.daemon.certificate)).read_bytes() + Path(str(made.daemon.key)).read_bytes())
    TlsContext(Tls(directory, both), True, tls.utc_now)


def _password(made: Certificates) -> Tls:
    path = made.ca.with_name("locked.key")
    path.touch(0o600)
    path.write_text(
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\n"
        "MIGjMF8GCSqGSIb3DQEFDTBSMDEGCSqGSIb3DQEFDDAkBBD4P8Jmhe5mCBRUPnHF\n"
        "-----END ENCRYPTED PRIVATE KEY-----\n"
    )
    return attrs.evolve(made.daemon, key=path)


def _mode(made: Certificates) -> Tls:
    Path(str(made.daemon.key)).chmod(0o644)
    return made.daemon


def _empty(made: Certificates) -> Tls:
    directory = made.ca.with_name("nothing")
    directory.mkdir()
    return attrs.evolve(made.daemon, ca=directory)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (lambda made: attrs.evolve(made.daemon, ca="/none.pem"), "it can't be read: no such file"),
        (lambda made: attrs.evolve(made.daemon, certificate="/none.pem"), "it can't be read: no such file"),
        (lambda made: attrs.evolve(made.daemon, key="/none.key"), "it can't be read: no such file"),
        (lambda made: attrs.evolve(made.daemon, ca=made.daemon.key), "found no certificate in PEM"),
        (lambda made: attrs.evolve(made.daemon, certificate=made.daemon.key), "found no certificate in PEM"),
        (lambda made: attrs.evolve(made.daemon, key=None), "found "),
        (lambda made: attrs.evolve(made.daemon, key=made.client.key), "it isn't the key of the first certificate in"),
        (_password, "found "),
        (_mode, "found mode 0644, with which others than its owner can get at it; expected 0600: chmod 600 "),
        (_empty, "found no file whose name ends in .pem"),
        (lambda made: made.issue("late", "a", until=timedelta(hours=-1)), "it expired on "),
        (lambda made: made.issue("early", "a", since=timedelta(hours=1)), "it isn't valid before "),
    ],
)
def test_bad_files(made: Certificates, bad: Callable[[Certificates], Tls], message: str) -> None:
    """What is wrong with a file is told in one line, which names the file."""
    with pytest.raises(ConfigError) as refused:
        certificate_files.check(bad(made), NOW)
    head, _, rest = str(refused.value).partition(": ")
    assert head.startswith("TLS ")
    assert rest.startswith(message)
    assert "\n" not in rest


def test_files_are_read_again(made: Certificates, log_lines: list[str], logged_errors: Callable[[], object]) -> None:
    """New files make a new context; those that can't be used leave the old one, with a line in the log, said once."""
    own = made.daemon
    found = TlsContext(own, True, tls.utc_now)
    first = found.current()
    assert found.current() is first
    key, certificate = Path(str(own.key)), Path(str(own.certificate))
    old = certificate.read_bytes()
    certificate.write_bytes(Path(str(made.client.certificate)).read_bytes())
    assert found.current() is found.current() is first
    certificate.write_bytes(old)
    second = found.current()
    assert second is not first
    key.unlink()
    assert found.current() is second
    assert log_lines == [
        f"error: TLS key {key}: it isn't the key of the first certificate in {certificate}; what was read before stays "
        "in force",
        "info: TLS: the certificates were read again",
        f"error: TLS file {key}: it can't be read: no such file or directory; what was read before stays in force",
    ]
    logged_errors()


@pytest.mark.parametrize("missing", ["OpenSSL", "service_identity", "cryptography"])
def test_tls_is_not_installed(made: Certificates, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    """Without the extra, whoever asks for TLS is told how to get it."""
    for name in [name for name in sys.modules if name.startswith("pyshard.security.tls.")]:
        if name.rpartition(".")[2] in ("certificate_files", "contexts", "endpoints", "verification"):
            monkeypatch.delitem(sys.modules, name)
            monkeypatch.delattr(f"pyshard.security.tls.{name.rpartition('.')[2]}")
    for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
        monkeypatch.setitem(sys.modules, name, None)
    for function in (
        lambda: tls.check(made.daemon),
        lambda: tls.dialing(addresses.dial_with(Clock()), made.daemon, Clock()),
    ):
        with pytest.raises(ConfigError, match=r"^TLS isn't installed; expected pip install 'pyshard\[tls\]' before$"):
            function()


# -- failures -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["sslv3 alert certificate expired"], "the peer refuses this side's certificate: it has expired"),
        (["ssl/tls alert bad certificate"], "the peer refuses this side's certificate"),
        (["tlsv13 alert certificate required"], "the peer wants a certificate of this side, which shows none"),
        (["tlsv1 alert internal error"], "the peer ended the handshake: internal error"),
        (["wrong version number"], "the peer doesn't speak TLS"),
        (["certificate verify failed"], "the peer's certificate can't be verified"),
        (["something", "http request"], "the peer doesn't speak TLS"),
        (["odd"], "TLS failed: odd"),
        ([], "TLS failed: Error"),
    ],
)
def test_in_words(texts: list[str], expected: str) -> None:
    """OpenSSL's errors in words."""
    from OpenSSL.SSL import Error

    assert in_words(Error([("SSL routines", "", text) for text in texts])) == expected


def test_what_is_no_failure_of_tls() -> None:
    """A connection without TLS, or one that says why it ended, isn't taken for one that TLS ended."""
    assert tls_error(Failure(ConnectionDone()), object(), False) is None
    assert closed_unanswered(Failure(ConnectionDone())) is not None
    assert closed_unanswered(Failure(ValueError())) is None


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("Example.com", "b'example.com'"),
        ("example.com.", "b'example.com'"),
        ("xn--bcher-kva.example", "b'xn--bcher-kva.example'"),
        ("bücher.example", "b'xn--bcher-kva.example'"),
        ("127.0.0.1", "127.0.0.1"),
        ("::1", "::1"),
        ("fe80::1%eth0", "fe80::1"),
    ],
)
def test_names(host: str, expected: str) -> None:
    """A host as it stands in a certificate."""
    name = name_of(host)
    assert str(getattr(name, "hostname", None) or getattr(name, "ip", None)) == expected


def test_environment_is_the_process_s(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without another one, it is this process's environment that counts."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setitem(os.environ, name, value)
    assert tls.for_client(None) == Tls("/ca", "/c", "/k")
