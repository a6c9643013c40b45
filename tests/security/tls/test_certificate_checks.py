"""Certificates and keys on the disk: which can be used, and how others are refused."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
from certificates import Certificates

from pyshard import Tls
from pyshard.clocks import wall_date
from pyshard.errors import ConfigError
from pyshard.security.tls import certificate_checks, ssl_context, tls_files
from pyshard.security.tls.contexts import TlsContext

NOW = datetime.now(UTC)


@pytest.mark.parametrize("place", ["ca", "directory", "certificate"])
@pytest.mark.parametrize("kind", ["pipe", "device", "endless"])
def test_what_is_no_file(made: Certificates, tmp_path: Path, place: str, kind: str) -> None:
    """A pipe, a device and a file without end are refused at once, by what makes contexts of either kind."""
    directory = tmp_path / "odd"
    directory.mkdir()
    odd = directory / "one.pem"
    if kind == "pipe":
        os.mkfifo(odd)
    elif kind == "device":
        odd.symlink_to("/dev/zero")
    else:
        with odd.open("wb") as file:
            file.truncate(40 * 1024**3)
    tls = {
        "ca": Tls(odd, made.daemon.certificate, made.daemon.key),
        "directory": Tls(directory, made.daemon.certificate, made.daemon.key),
        "certificate": Tls(made.ca, odd, made.daemon.key),
    }[place]
    for make in (lambda: certificate_checks.check(tls, NOW), lambda: ssl_context.dialing_context(tls)):
        with pytest.raises(ConfigError) as refused:
            make()
        assert str(refused.value).startswith(f"TLS file {odd}: it can't be read: found ")


def test_good_files(made: Certificates, tmp_path: Path) -> None:
    """A daemon's files, a client's without any, a directory of authorities, and a key in its certificate's file."""
    certificate_checks.check(made.daemon, NOW)
    certificate_checks.check(Tls(made.ca), NOW)
    directory = tmp_path / "authorities"
    directory.mkdir()
    shutil.copy(made.ca, directory / "one.pem")
    assert tls_files.authorities(Tls(directory)) == [directory / "one.pem"]
    both = tmp_path / "both.pem"
    both.touch(0o600)
    both.write_bytes(Path(str(made.daemon.certificate)).read_bytes() + Path(str(made.daemon.key)).read_bytes())
    TlsContext(Tls(directory, both), True, wall_date)


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


#: Files that no side takes, and what is said of them.
BAD_FILES: list[tuple[Callable[[Certificates], Tls], str]] = [
    (lambda made: attrs.evolve(made.daemon, ca="/none.pem"), "it can't be read: no such file"),
    (lambda made: attrs.evolve(made.daemon, certificate="/none.pem"), "it can't be read: no such file"),
    (lambda made: attrs.evolve(made.daemon, key="/none.key"), "it can't be read: no such file"),
    (lambda made: attrs.evolve(made.daemon, ca=str(made.daemon.key)), "found no certificate in PEM"),
    (lambda made: attrs.evolve(made.daemon, certificate=made.daemon.key), "found no certificate in PEM"),
    (lambda made: attrs.evolve(made.daemon, key=None), "found "),
    (lambda made: attrs.evolve(made.daemon, key=made.client.key), "it isn't the key of the first certificate in"),
    (_password, "found "),
    (_mode, "found mode 0644, with which others than its owner can get at it; expected 0600: chmod 600 "),
    (_empty, "found no file whose name ends in .pem"),
]


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        *BAD_FILES,
        (lambda made: made.issue("late", "a", until=timedelta(hours=-1)), "it expired on "),
        (lambda made: made.issue("early", "a", since=timedelta(hours=1)), "it isn't valid before "),
    ],
)
def test_bad_files(made: Certificates, bad: Callable[[Certificates], Tls], message: str) -> None:
    """What is wrong with a file is told in one line, which names the file."""
    with pytest.raises(ConfigError) as refused:
        certificate_checks.check(bad(made), NOW)
    head, _, rest = str(refused.value).partition(": ")
    assert head.startswith("TLS ")
    assert rest.startswith(message)
    assert "\n" not in rest
