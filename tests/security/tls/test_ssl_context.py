"""The context of Python's own ssl: the same files, rules and messages as that of Twisted's connections."""

from __future__ import annotations

import ssl
import sys
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest
from certificates import Certificates
from security.tls.test_certificate_checks import BAD_FILES

from pyshard import Tls
from pyshard.errors import ConfigError
from pyshard.security.tls import SYSTEM, certificate_checks
from pyshard.security.tls.ssl_context import SslContext, dialing_context, server_hostname


def test_what_it_demands(made: Certificates) -> None:
    """Certificate and name are verified; TLS 1.2 at least; no tickets, no compression; ciphers with forward secrecy."""
    context = dialing_context(made.client)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert not context.hostname_checks_common_name
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    for option in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_RENEGOTIATION, ssl.OP_NO_TICKET):
        assert context.options & option
    names = [cipher["name"] for cipher in context.get_ciphers()]
    assert [name for name in names if not name.startswith(("ECDHE-", "TLS_"))] == []


def test_authorities(made: Certificates, tmp_path: Path) -> None:
    """Those of a file, of the files of a directory, or of the system are trusted, and no others."""
    directory = tmp_path / "authorities"
    directory.mkdir()
    for name, source in (("one.pem", made.ca), ("two.PEM", made.other_ca), ("three.txt", made.daemon.certificate)):
        (directory / name).write_bytes(Path(str(source)).read_bytes())
    assert len(dialing_context(Tls(made.ca)).get_ca_certs()) == 1
    assert len(dialing_context(Tls(directory)).get_ca_certs()) == 2
    assert dialing_context(Tls(SYSTEM)).cert_store_stats() == _system().cert_store_stats()


def _system() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.set_default_verify_paths()
    return context


def test_key_beside_the_certificate(made: Certificates, tmp_path: Path) -> None:
    """The key may stand in the certificate's file."""
    both = tmp_path / "both.pem"
    both.touch(0o600)
    both.write_bytes(Path(str(made.client.certificate)).read_bytes() + Path(str(made.client.key)).read_bytes())
    dialing_context(Tls(made.ca, both))


@pytest.mark.parametrize(("bad", "message"), BAD_FILES)
def test_bad_files(made: Certificates, bad: Callable[[Certificates], Tls], message: str) -> None:
    """What is wrong with a file is told in one line, as Twisted's side tells it."""
    with pytest.raises(ConfigError) as refused:
        dialing_context(bad(made))
    head, _, rest = str(refused.value).partition(": ")
    assert head.startswith("TLS ")
    assert rest.startswith(message)
    assert "\n" not in rest


def test_garbage_in_place_of_a_key(made: Certificates) -> None:
    """A key of the right form that holds something else is refused as such."""
    path = made.ca.with_name("garbage.key")
    path.touch(0o600)
    path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    with pytest.raises(ConfigError, match="found no private key in PEM that can be read"):
        dialing_context(attrs.evolve(made.client, key=path))


def test_files_are_read_again(made: Certificates, log_lines: list[str], logged_errors: Callable[[], object]) -> None:
    """New files make a new context. Files that can't be used leave the old one, with a single line in the log."""
    found = SslContext(made.client)
    first = found.current()
    assert found.current() is first
    ca = Path(str(made.client.ca))
    ca.write_bytes(ca.read_bytes() + made.other_ca.read_bytes())
    second = found.current()
    assert second is found.current() is not first
    ca.unlink()
    assert found.current() is second
    assert log_lines == [
        "info: TLS: the certificates were read again",
        f"error: TLS file {ca}: it can't be read: no such file or directory; what was read before stays in force",
    ]
    logged_errors()


def test_without_the_extra(made: Certificates, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it needs pyOpenSSL or cryptography."""
    for name in ("pyshard.security.tls.ssl_context", "pyshard.security.tls.tls_files"):
        monkeypatch.delitem(sys.modules, name)
    for missing in ("OpenSSL", "cryptography", "service_identity"):
        for name in [name for name in sys.modules if name.partition(".")[0] == missing]:
            monkeypatch.setitem(sys.modules, name, None)
    from pyshard.security.tls.ssl_context import dialing_context

    assert dialing_context(made.client).check_hostname


@pytest.mark.parametrize(
    ("host", "expected"),
    [("example.com", "example.com"), ("example.com.", "example.com"), ("::1", "::1"), ("fe80::1%eth0", "fe80::1")],
)
def test_names(host: str, expected: str) -> None:
    """A certificate is for a name without its last dot, and for an address without its zone."""
    assert server_hostname(host) == expected


def test_both_sides_check_the_same_files(made: Certificates) -> None:
    """What one context takes, the other takes."""
    from pyshard.clocks import wall_date

    for files in (made.daemon, made.client, Tls(made.ca), Tls(SYSTEM)):
        certificate_checks.check(files, wall_date())
        dialing_context(files)
