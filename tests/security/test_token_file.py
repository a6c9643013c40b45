"""Token files on the disk: who may read them, and how they are exchanged while they are used."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from conftest import TakeErrors

from pyshard.errors import ConfigError
from pyshard.security.token_file import VARIABLE, TokenFile, client_token_file, daemon_token_file, load
from pyshard.security.tokens_and_roles import Role

OLD, NEW = "the-old-secret-of-admins", "the-new-secret-of-admins"


def written(path: Path, *lines: str, mode: int = 0o600) -> Path:
    """A file that was replaced by a new one, as editors do it."""
    new = path.with_name("new")
    new.write_text("\n".join(lines))
    new.chmod(mode)
    new.replace(path)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A token file."""
    return written(tmp_path / "tokens", f"admin {OLD}")


@pytest.mark.parametrize("mode", [0o600, 0o400])
def test_load(path: Path, mode: int) -> None:
    """A file that only its owner can get at is read."""
    path.chmod(mode)
    assert load(path).role_of(OLD.encode()) is Role.ADMIN


@pytest.mark.parametrize("bit", [0o020, 0o010, 0o004, 0o002, 0o001])
def test_others_can_read_it(path: Path, bit: int) -> None:
    """A file that others can get at is refused, with what to do; tests/security/test_secret_file.py has the rule."""
    path.chmod(0o600 | bit)
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value).startswith(
        f"token file {path}: found mode 0{0o600 | bit:o}, with which others than its owner can get at it; "
        f"expected 0600: chmod 600 {path}"
    )


def test_no_file(tmp_path: Path) -> None:
    """A missing file, a directory, a file that is too long or no text: each is refused in one line that names it."""
    long = written(tmp_path / "long", "#" * 65_537)
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff")
    binary.chmod(0o600)
    messages = {
        tmp_path / "missing": "it can't be read: no such file or directory",
        tmp_path: "it can't be read: is a directory",
        long: "found more than 65,536 bytes, expected a few lines",
        binary: "found bytes that are no text, expected lines of text",
        Path("/dev/null"): "it can't be read: found something else than a file",
    }
    for file, message in messages.items():
        with pytest.raises(ConfigError) as refused:
            load(file)
        assert str(refused.value) == f"token file {file}: {message}"


def test_lines_are_named(path: Path) -> None:
    """A mistake in the file is told with the file's name and the line."""
    written(path, "", "admin short")
    with pytest.raises(ConfigError) as refused:
        load(path)
    assert str(refused.value) == f"token file {path}, line 2: found a secret of 5 characters, expected 16 to 256"


def roles(file: TokenFile) -> list[Role | None]:
    """The roles that the old and the new secret give now."""
    tokens = file.current()
    return [tokens.role_of(OLD.encode()), tokens.role_of(NEW.encode())]


@pytest.fixture
def used(path: Path) -> TokenFile:
    """The file, in use."""
    return TokenFile(path)


def test_changes_are_noticed(used: TokenFile, path: Path, log_lines: list[str]) -> None:
    """A changed file is read again, and only then."""
    assert roles(used) == roles(used) == [Role.ADMIN, None]
    assert log_lines == []
    written(path, f"admin {OLD}", f"read {NEW}")
    assert roles(used) == roles(used) == [Role.ADMIN, Role.READ]
    assert log_lines == [f"info: token file {path}: read again, 2 tokens"]
    written(path, f"read {NEW}")
    assert roles(used) == [None, Role.READ]


def test_written_in_place(used: TokenFile, path: Path) -> None:
    """A change that keeps the file's length and inode is noticed, too."""
    before = path.stat()
    path.write_text(f"admin {NEW}")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
    assert roles(used) == [None, Role.ADMIN]


@pytest.mark.parametrize("what", ["gone", "broken", "open"])
def test_the_tokens_stay_when_the_file_breaks(
    used: TokenFile, path: Path, what: str, log_lines: list[str], logged_errors: TakeErrors
) -> None:
    """A file that can't be used leaves the tokens as they were, with one line in the log; once repaired, it is read."""
    if what == "gone":
        path.unlink()
    else:
        written(path, f"admin {NEW}" if what == "open" else NEW, mode=0o644 if what == "open" else 0o600)
    for _ in range(3):
        assert roles(used) == [Role.ADMIN, None]
    (line,) = log_lines
    assert line.startswith(f"error: token file {path}")
    assert line.endswith("; the tokens that it had before stay valid")
    assert NEW not in line
    assert len(logged_errors()) == 1
    written(path, f"admin {NEW}")
    assert roles(used) == [None, Role.ADMIN]


def test_read_on_request(used: TokenFile, path: Path, log_lines: list[str], logged_errors: TakeErrors) -> None:
    """A file is read again when it is asked for, changed or not; each time one line says what came of it."""
    used.reload()
    path.unlink()
    for _ in range(2):
        used.reload()
        assert roles(used) == [Role.ADMIN, None]
    written(path, f"admin {NEW}")
    used.reload()
    assert log_lines == [
        f"info: token file {path}: read again, 1 tokens",
        *[
            f"error: token file {path}: it can't be read: no such file or directory; the tokens that it had before "
            "stay valid"
        ]
        * 2,
        f"info: token file {path}: read again, 1 tokens",
    ]
    assert roles(used) == [None, Role.ADMIN]
    logged_errors()


def test_what_is_presented(path: Path) -> None:
    """A client presents its first token, the bootstrap the first one of an admin."""
    written(path, f"read {NEW}", f"admin {OLD}", f"admin {OLD}2")
    file = TokenFile(path)
    assert (file.secret(), file.admin_secret()) == (NEW.encode(), OLD.encode())


def test_a_daemon_needs_an_admin(path: Path) -> None:
    """Without an admin's token no shard could be configured."""
    assert daemon_token_file(str(path)).admin_secret() == OLD.encode()
    written(path, f"write {OLD}")
    with pytest.raises(ConfigError) as refused:
        daemon_token_file(str(path))
    assert str(refused.value) == (
        f"token file {path}: found no token of role admin, with which the bootstrap configures shards"
    )


def test_a_daemons_file_that_loses_its_admin(path: Path, logged_errors: TakeErrors) -> None:
    """What isn't good enough to start with doesn't take the place of good tokens either."""
    file = daemon_token_file(str(path))
    written(path, f"write {NEW}")
    assert roles(file) == [Role.ADMIN, None]
    assert len(logged_errors()) == 1


def test_a_path_is_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative path is relative to the directory at the start, although twistd changes its directory."""
    monkeypatch.chdir(path.parent)
    file = TokenFile(Path("tokens"))
    monkeypatch.chdir("/")
    written(path, f"admin {NEW}")
    assert file.secret() == NEW.encode()


def test_a_clients_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client's file is the one it is given, else the environment's, else there is none; ``~`` is the home."""
    monkeypatch.delenv(VARIABLE, raising=False)
    assert client_token_file(None) is None
    monkeypatch.setenv("HOME", str(path.parent))
    for given in (str(path), path, "~/tokens"):
        file = client_token_file(given)
        assert file is not None
        assert file.secret() == OLD.encode()
    other = written(path.with_name("other"), f"read {NEW}")
    monkeypatch.setenv(VARIABLE, str(other))
    chosen = [client_token_file(None), client_token_file(path)]
    assert [file and file.secret() for file in chosen] == [NEW.encode(), OLD.encode()]
    assert client_token_file("") is None
    monkeypatch.setenv(VARIABLE, "")
    assert client_token_file(None) is None


def test_a_repr_shows_no_secret(path: Path) -> None:
    """A token file in a traceback shows no secret."""
    assert OLD not in repr(TokenFile(path))
