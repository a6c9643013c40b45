"""The directories of a run: their locks, and the names of the files in them."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pyshard.cli.exit_codes import CommandFailed
from pyshard.cli.up.directories import LOCK, file_name, held_directory, run_directory


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shard0-0.5", "shard0-0.5"),
        ("a/b c", "a_b_c"),
        ("..", "shard"),
        (".hidden", "hidden"),
        ("bootstrap", "bootstrap-2"),
        ("Up", "Up-2"),
        ("ключ", "____"),
    ],
)
def test_file_name(name: str, expected: str) -> None:
    """Any shard's name gives a file name, and never that of another daemon."""
    used = {"up", "bootstrap"}
    assert file_name(name, used) == expected
    assert file_name(name, used) != expected


def test_temporary_directory() -> None:
    """Without --run-dir, a folder that is removed at the end, whatever is in it."""
    with run_directory(None) as made:
        (made / "file").touch()
    assert not made.exists()


def test_run_directory(tmp_path: Path) -> None:
    """--run-dir is made, kept, and held: two runs can't share it."""
    folder = tmp_path / "a" / "b"
    with run_directory(folder) as made:
        (made / "file").touch()
        with pytest.raises(CommandFailed, match="is in use by another pyshard up"), run_directory(folder):
            pass
    with run_directory(folder) as again:
        assert (again / "file").exists()
    (tmp_path / "file").touch()
    with (
        pytest.raises(CommandFailed, match=r"found that .*file is no directory, expected one there; choose another"),
        run_directory(tmp_path / "file"),
    ):
        pass


def test_a_directory_that_others_can_write(tmp_path: Path) -> None:
    """Such a directory is refused before anything is written into it."""
    tmp_path.chmod(0o777)
    for option in ("--run-dir", "--data-dir"):
        refused = pytest.raises(CommandFailed, match=f"{option}: .* has mode 0777, with which others could")
        with refused, held_directory(tmp_path, option):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_directory_below_one_that_others_can_write(tmp_path: Path) -> None:
    """It is refused before anything is made there: they could put a link to another one in its place."""
    tmp_path.chmod(0o777)
    for option in ("--run-dir", "--data-dir"):
        refused = pytest.raises(CommandFailed, match=f"{option}: {tmp_path} has mode 0777, with which others could")
        with refused, held_directory(tmp_path / "a" / "b", option):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_planted_link(tmp_path: Path) -> None:
    """A link at the place of the lock's file isn't followed: nothing is made or emptied where it leads."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for option in ("--run-dir", "--data-dir"):
        folder = tmp_path / option
        folder.mkdir(0o700)
        (folder / LOCK).symlink_to(victim)
        with (
            pytest.raises(CommandFailed, match=r"can't be used as a directory \(Too many levels"),
            held_directory(folder, option),
        ):
            pass
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_modes(tmp_path: Path, umask: int) -> None:
    """A directory is made for its owner alone, and so is the file with its lock, which nobody else can hold then."""
    before = os.umask(umask)
    try:
        with run_directory(tmp_path / "run") as made:
            assert stat.S_IMODE(made.stat().st_mode) == 0o700
            assert stat.S_IMODE((made / LOCK).stat().st_mode) == 0o600
    finally:
        os.umask(before)
