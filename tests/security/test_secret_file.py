"""Files with secrets: whose may be read by whom."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pyshard.errors import ConfigError
from pyshard.security.secret_file import exposed, read_secret
from pyshard.security.token_file import TokenFile

PATH = Path("/etc/pyshard/tokens")
ROOT, SOMEBODY = 0, 1000


@pytest.mark.parametrize(
    ("mode", "owner"),
    [
        (0o600, SOMEBODY),
        (0o400, SOMEBODY),  # systemd's LoadCredential= where the file system has no ACLs
        (0o600, ROOT),
        (0o400, ROOT),  # a container that runs as root
        (0o440, ROOT),  # Kubernetes with fsGroup; systemd's LoadCredential= with an ACL
        (0o640, ROOT),  # a key of Debian's group ssl-cert
    ],
)
def test_kept_well(mode: int, owner: int) -> None:
    """A file that only its owner can get at is read, and one of root's that a group may read."""
    assert exposed(PATH, mode, owner) is None


@pytest.mark.parametrize("owner", [ROOT, SOMEBODY])
@pytest.mark.parametrize("bit", [0o020, 0o010, 0o004, 0o002, 0o001, 0o044])  # 0444 is the default of Docker's swarms
def test_others_can_get_at_it(bit: int, owner: int) -> None:
    """A file that everybody can read, or that others than its owner can write, is refused, with what to do."""
    root = "; 0440 would do, too, since root owns it" if owner == ROOT else ""
    assert exposed(PATH, 0o400 | bit, owner) == (
        f"found mode 0{0o400 | bit:o}, with which others than its owner can get at it; "
        f"expected 0600: chmod 600 /etc/pyshard/tokens{root}"
    )


def test_a_users_file_for_a_group() -> None:
    """A user's file that a group can read is refused: only root knows who is in a group, and puts somebody there."""
    why = exposed(PATH, 0o640, SOMEBODY)
    assert why is not None
    assert why.startswith("found mode 0640")


@pytest.mark.parametrize("mode", [0o400, 0o440, 0o444, 0o600, 0o640, 0o644])
def test_files(tmp_path: Path, mode: int) -> None:
    """The mode and the owner of the file itself count."""
    path = tmp_path / "tokens"
    path.write_text("secret")
    path.chmod(mode)
    if exposed(path, mode, os.geteuid()) is None:
        assert read_secret(path, "token file", 100) == b"secret"
    else:
        with pytest.raises(ConfigError, match=f"^token file {path}: found mode {mode:04o}, "):
            read_secret(path, "token file", 100)


def test_a_link(tmp_path: Path) -> None:
    """A link's own mode, 0777, doesn't count: Kubernetes has links to links."""
    path = tmp_path / "tokens"
    path.write_text("secret")
    path.chmod(0o600)
    link = tmp_path / "link"
    link.symlink_to(path)
    assert stat.S_IMODE(link.lstat().st_mode) == 0o777
    assert read_secret(link, "token file", 100) == b"secret"


def test_no_more_than_a_few_bytes(tmp_path: Path) -> None:
    """A file as long as it may be is read, a longer one is refused."""
    path = tmp_path / "tokens"
    path.write_text("secret")
    path.chmod(0o600)
    assert read_secret(path, "token file", 6) == b"secret"
    with pytest.raises(ConfigError, match="found more than 5 bytes, expected a few lines"):
        read_secret(path, "token file", 5)


def test_a_pipe(tmp_path: Path) -> None:
    """A pipe that nobody writes to is refused at once, not waited for."""
    path = tmp_path / "tokens"
    os.mkfifo(path, 0o600)
    with pytest.raises(ConfigError) as refused:
        read_secret(path, "token file", 100)
    assert str(refused.value) == f"token file {path}: it can't be read: found something else than a file"


def test_a_volume_of_kubernetes(tmp_path: Path) -> None:
    """A secret whose volume is exchanged, as Kubernetes does it, is read again: only a link in the middle changes."""
    for name, secret in (("..1", "a-secret-of-sixteen"), ("..2", "another-secret-of-it")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tokens").write_text(f"admin {secret}")
        (tmp_path / name / "tokens").chmod(0o400)
    (tmp_path / "..data").symlink_to("..1")
    (tmp_path / "tokens").symlink_to("..data/tokens")
    file = TokenFile(tmp_path / "tokens")
    assert file.secret() == b"a-secret-of-sixteen"
    (tmp_path / "..new").symlink_to("..2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert file.secret() == b"another-secret-of-it"
