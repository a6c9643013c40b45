"""What a bootstrap's options say of where the state is kept."""

from __future__ import annotations

from pathlib import Path

import pytest
from certificates import Certificates
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import Clock

from pyshard.bootstrap.state_options import StatePlace, open_etcd, place_of_options, state_place
from pyshard.bootstrap.state_stores.state_address import state_address
from pyshard.errors import ConfigError

ETCD = "etcd://h1:2379,h2:2379/pyshard"


@pytest.fixture
def login(tmp_path: Path) -> Path:
    """A file with user and password."""
    path = tmp_path / "login"
    path.touch(0o600)
    path.write_text("user:secret\n")
    return path


def test_a_file(tmp_path: Path) -> None:
    """It is named, or the default; options of etcd mean nothing to it."""
    given: dict[str, str | None] = dict.fromkeys(
        ("state", "state-tls-ca", "state-tls-certificate", "state-tls-key", "state-credentials")
    )
    assert place_of_options(given, tmp_path / "default") == StatePlace(tmp_path / "default")
    assert place_of_options({**given, "state": "/a/b"}, tmp_path) == StatePlace(Path("/a/b"))
    for name in ("state-tls-ca", "state-credentials"):
        with pytest.raises(ConfigError, match="beside options for etcd"):
            place_of_options({**given, name: "/a/file"}, tmp_path / "default")


def test_etcd(tmp_path: Path, login: Path) -> None:
    """With TLS and a login, whose files are looked at before anything is started."""
    files = Certificates(tmp_path).client
    place = state_place(ETCD, str(files.ca), str(files.certificate), str(files.key), str(login))
    assert place == StatePlace(state_address(ETCD), files, login)
    clock = Clock()
    assert IReactorTime.providedBy(clock)
    assert open_etcd(place, clock).name == ETCD
    with pytest.raises(ConfigError, match="--state-tls-ca: found nothing"):
        state_place(ETCD, certificate=str(files.certificate))
    with pytest.raises(ConfigError, match="none"):
        state_place(ETCD, str(tmp_path / "none"))


def test_a_login_that_others_can_read(login: Path) -> None:
    """It is refused, and so is none."""
    login.chmod(0o644)
    with pytest.raises(ConfigError, match=r"etcd credentials .*found mode 0644"):
        state_place(ETCD, login=str(login))
    login.unlink()
    with pytest.raises(ConfigError, match=r"etcd credentials .*can't be read"):
        state_place(ETCD, login=str(login))


def test_a_login_in_plain_text(login: Path, log_lines: list[str]) -> None:
    """The log says so."""
    open_etcd(state_place(ETCD, login=str(login)), Clock())
    (line,) = [line for line in log_lines if "plain text" in line]
    assert "secret" not in line
