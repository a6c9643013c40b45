"""Files and directories for their owner alone: their modes, and links that were planted at their places."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from pyshard.security import private_files
from pyshard.security.private_files import (
    MayBeUndone,
    make_private_directory,
    open_to_others,
    private_descriptor,
    replace_privately,
)


@pytest.fixture(params=[0o000, 0o022, 0o077])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A umask that this process has."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode_of(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory(tmp_path: Path, umask: int) -> None:
    """A directory is made for its owner alone, its parents as usual; one that exists stays as it is."""
    path = tmp_path / "a" / "b"
    assert make_private_directory(path)
    assert (mode_of(path.parent), mode_of(path)) == (0o777 & ~umask, 0o700)
    path.chmod(0o755)
    assert not make_private_directory(path)
    assert mode_of(path) == 0o755
    (path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private_directory(path / "file")


def test_a_file(tmp_path: Path, umask: int) -> None:
    """A file is made for its owner alone; one that exists keeps its mode."""
    path = tmp_path / "file"
    os.close(private_descriptor(path, os.O_WRONLY))
    assert mode_of(path) == 0o600
    path.chmod(0o640)
    os.close(private_descriptor(path, os.O_WRONLY))
    assert mode_of(path) == 0o640


def test_a_file_that_takes_anothers_place(tmp_path: Path, umask: int) -> None:
    """A replaced file is its owner's alone, also where the old one, or what a crash left, was open to others."""
    path, beside = tmp_path / "file", tmp_path / "file.new"
    for other in (path, beside):
        other.write_bytes(b"old, and longer")
        other.chmod(0o666)
    replace_privately(path, b"new")
    assert (path.read_bytes(), mode_of(path)) == (b"new", 0o600)
    assert not beside.exists()


def test_directory_that_can_not_be_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new file is there by then, so its error is one of its own."""
    path = tmp_path / "file"
    replace_privately(path, b"old")

    def fail(_: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(private_files, "sync_directory", fail)
    with pytest.raises(MayBeUndone, match="Input/output error"):
        replace_privately(path, b"new")
    assert path.read_bytes() == b"new"


def test_planted_links(tmp_path: Path) -> None:
    """A link at a file's place isn't followed, so nothing is made or overwritten where it leads."""
    victim, path = tmp_path / "victim", tmp_path / "file"
    victim.write_bytes(b"precious")
    path.symlink_to(victim)
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        private_descriptor(path, os.O_WRONLY | os.O_TRUNC)
    (tmp_path / "file.new").symlink_to(victim)
    replace_privately(path, b"new")
    assert (path.read_bytes(), path.is_symlink(), victim.read_bytes()) == (b"new", False, b"precious")
    path.unlink()
    path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        private_descriptor(path, os.O_WRONLY)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("mode", [0o700, 0o500])
def test_closed_to_others(tmp_path: Path, mode: int) -> None:
    """A directory that only its owner gets into is fine."""
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(mode)
    assert open_to_others(path) is None


@pytest.mark.parametrize("bit", [0o040, 0o020, 0o010, 0o004, 0o002, 0o001])
def test_open_to_others(tmp_path: Path, bit: int) -> None:
    """Any bit for others than the owner is told, with what mends it: the message's command does."""
    path = tmp_path / "data"
    path.mkdir()
    path.chmod(0o700 | bit)
    told = open_to_others(path)
    assert told == (
        f"{path}: found mode 0{0o700 | bit:o}, with which others than its owner get into it, expected 0700: "
        f"chmod -R go= {path}"
    )
    assert os.system(told.rpartition(": ")[2]) == 0
    assert open_to_others(path) is None
