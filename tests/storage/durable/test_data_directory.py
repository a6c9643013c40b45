"""A data directory: whose it is, which format it has, one process at a time; every refusal is one line."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from stores import at_once

from pyshard.errors import ConfigError
from pyshard.security.private_files import planted
from pyshard.storage import DataDirectory, LmdbStore
from pyshard.storage.durable.data_directory import FORMAT


def refusal(path: Path) -> str:
    """The line with which a directory is refused."""
    with pytest.raises(ConfigError) as refused:
        DataDirectory(path)
    line = str(refused.value)
    assert line.startswith(str(path))
    assert "\n" not in line
    return line


def test_new_directory(tmp_path: Path) -> None:
    """A path that doesn't exist becomes a data directory, which keeps its identity."""
    path = tmp_path / "deep" / "data"
    first = DataDirectory(path)
    first.close()
    again = DataDirectory(path)
    again.close()
    assert again.identity == first.identity
    assert json.loads((path / "shard.json").read_text()) == {"format": FORMAT, "identity": first.identity}
    assert len(bytes.fromhex(first.identity)) == 16


def test_two_directories_are_two_stores(tmp_path: Path) -> None:
    """Each new directory has an identity of its own."""
    one, other = DataDirectory(tmp_path / "a"), DataDirectory(tmp_path / "b")
    one.close()
    other.close()
    assert one.identity != other.identity


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A directory in use is refused until it is closed."""
    first = DataDirectory(tmp_path / "data")
    assert "another process uses this data directory" in refusal(tmp_path / "data")
    first.close()
    DataDirectory(tmp_path / "data").close()


@pytest.mark.parametrize("other", [1, FORMAT + 1])
def test_another_format(tmp_path: Path, other: int) -> None:
    """Data of another format isn't touched."""
    (tmp_path / "shard.json").write_text(json.dumps({"format": other, "identity": "0" * 32}))
    line = refusal(tmp_path)
    assert f"format {other}" in line
    assert "pyshard backup" in line
    assert '"How a shard keeps its documents"' in line


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 1}', '{"format": "1", "identity": "x"}', "\xff"])
def test_damaged_mark(tmp_path: Path, text: str) -> None:
    """A mark that can't be read is refused, and not replaced."""
    (tmp_path / "shard.json").write_text(text, encoding="latin-1")
    assert "mark of a data directory" in refusal(tmp_path)
    assert (tmp_path / "shard.json").read_text(encoding="latin-1") == text


def test_somebody_elses_files(tmp_path: Path) -> None:
    """A directory with other files is refused, by the name of one of them, and left as it was."""
    (tmp_path / "thesis.txt").write_text("42")
    assert "'thesis.txt'" in refusal(tmp_path)
    assert [one.name for one in tmp_path.iterdir()] == ["thesis.txt"]


def test_what_a_crash_left_of_the_making(tmp_path: Path) -> None:
    """If a process was killed while it made a directory, the next one makes it."""
    (tmp_path / "lock").touch()
    (tmp_path / "shard.json.new").write_text("{")
    DataDirectory(tmp_path).close()


def test_a_file_in_its_place(tmp_path: Path) -> None:
    """A path that can't be a directory is refused with the system's reason."""
    (tmp_path / "file").touch()
    assert "no directory" in refusal(tmp_path / "file")


def test_a_place_that_cannot_be_written() -> None:
    """A path where nothing can be made, even by root, is refused."""
    assert "can't be used as a data directory" in refusal(Path("/proc/pyshard"))


@contextmanager
def as_nobody() -> Iterator[None]:
    """Go without root's rights, to which nothing is read-only."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(before)


@pytest.mark.parametrize("new", [False, True])
def test_a_directory_that_is_read_only(new: bool) -> None:
    """A directory that can't be written is refused, whether it has data or not."""
    with tempfile.TemporaryDirectory() as name:  # not tmp_path, into which only its owner may look
        path = Path(name)
        if not new:
            DataDirectory(path).close()
        path.chmod(0o755 if os.geteuid() == 0 else 0o555)
        with as_nobody():
            assert refusal(path) == (
                f"{path}: found that user {os.geteuid()} may not use it (Permission denied), expected a data directory "
                "of that user; chown it, or choose another"
            )
        path.chmod(0o755)


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If locking itself fails, the message doesn't claim that another process uses the directory."""

    def flock(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", flock)
    assert refusal(tmp_path) == (
        f"{tmp_path}: the data directory can't be locked (No locks available); choose one on a file system with locks, "
        "such "
        "as a local disk"
    )


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_nobody_else_reads_it(tmp_path: Path, umask: int) -> None:
    """A data directory and all that a store makes in it are its owner's alone, whatever the umask."""
    path = tmp_path / "data"
    before = os.umask(umask)
    try:
        store = LmdbStore(DataDirectory(path), time.time, None)
        at_once(store.close())
    finally:
        os.umask(before)
    modes = {str(each.relative_to(path)): stat.S_IMODE(each.stat().st_mode) for each in [path, *path.rglob("*")]}
    assert modes == {
        ".": 0o700,
        "shard.json": 0o600,
        "lock": 0o600,
        "log-1": 0o600,
        "log-2": 0o600,
        "records": 0o700,
        "records/data.mdb": 0o600,
        "records/lock.mdb": 0o600,
    }


@pytest.mark.parametrize("name", ["lock", "shard.json.new"])
def test_planted_links(tmp_path: Path, name: str) -> None:
    """A link in a directory that is to become a data directory isn't followed."""
    path, victim = tmp_path / "data", tmp_path / "victim"
    path.mkdir()
    victim.write_text("precious")
    (path / name).symlink_to(victim)
    if name == "lock":
        assert "lock: is a symbolic link" in refusal(path)
    else:
        DataDirectory(path).close()
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("name", ["lock", "shard.json", "log-1", "log-2", "records/data.mdb", "records/lock.mdb"])
def test_links_in_a_planted_directory(tmp_path: Path, name: str) -> None:
    """A link at the place of any file is refused in one line, before a file is opened."""
    path, victim = tmp_path / "data", tmp_path / "victim"
    (path / "records").mkdir(parents=True)
    victim.write_text("precious")
    if name != "shard.json":
        (path / "shard.json").write_text(json.dumps({"format": FORMAT, "identity": "0" * 32}))
    (path / name).symlink_to(victim)
    assert refusal(path) == (
        f"{path / name}: is a symbolic link, which could have another file overwritten; expected the file itself: move "
        "it "
        "to the link's place"
    )
    assert victim.read_text() == "precious"


def test_a_link_that_comes_later(tmp_path: Path) -> None:
    """The files are looked at again before LMDB opens them, which is later than the directory is made."""
    directory, victim = DataDirectory(tmp_path / "data"), tmp_path / "victim"
    victim.write_text("precious")
    directory.records.mkdir()
    (directory.records / "lock.mdb").symlink_to(victim)
    with pytest.raises(ConfigError, match=r"lock\.mdb: is a symbolic link"):
        LmdbStore.check(directory, lambda: 0.0)
    directory.close()
    assert victim.read_text() == "precious"


def test_own_links(tmp_path: Path) -> None:
    """The directory and its records may be links of one's own, to what is one's own."""
    for name in ("named", "elsewhere"):
        (tmp_path / name).mkdir()
    (tmp_path / "named" / "records").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "named")
    (tmp_path / "named" / "shard.json").write_text(json.dumps({"format": FORMAT, "identity": "0" * 32}))
    directory = DataDirectory(tmp_path / "link")
    LmdbStore.check(directory, lambda: 0.0)
    directory.close()
    assert (tmp_path / "elsewhere" / "data.mdb").exists()


def test_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever isn't root refuses another user's directory; root refuses what is neither its own nor the owner's."""
    path = tmp_path / "data"
    DataDirectory(path).close()
    user = path.stat().st_uid
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    if user:
        assert "belongs to another user" in refusal(path)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    DataDirectory(path).close()


def test_whose_files(tmp_path: Path) -> None:
    """What belongs to nobody of those who may have put it there is named as another's; what isn't there is nobody's."""
    file, link = tmp_path / "file", tmp_path / "link"
    assert planted(file, []) is None
    file.touch()
    link.symlink_to(file)
    user = os.geteuid()
    for path in (file, link):
        assert planted(path, [user], links=True) is None
        why = planted(path, [user + 1], links=True) or ""
        assert why.startswith(f"belongs to another user ({user}), who could have planted it")
