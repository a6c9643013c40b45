"""The directory of a backup: whose it may be, and that nothing but the backup's own files is removed from it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyshard.backup.manifest import FORMAT, MANIFEST, Manifest
from pyshard.backup.new_backup import NewBackup
from pyshard.errors import BackupFailed

FILES = ["0-a.records", "cluster.json", MANIFEST]


@pytest.fixture
def yesterdays(tmp_path: Path) -> Path:
    """A backup that is finished."""
    path = tmp_path / "sunday"
    path.mkdir()
    for name in FILES:
        (path / name).write_text("precious")
    return path


def begun(directory: Path) -> NewBackup:
    """A backup with some files in it."""
    new = NewBackup(directory)
    for name in ("0-a.records", "cluster.json"):
        file = new.new_file(name)
        file.write(b"x")
        file.finish()
    return new


def finish(new: NewBackup) -> None:
    """Make it whole."""
    new.finish(Manifest(FORMAT, "2026-01-01T00:00:00Z", "c1", 1, new.new_file("rest").finish(), ()))


@pytest.mark.parametrize("below", ["", "below"])
def test_a_directory_that_others_can_write(tmp_path: Path, below: str) -> None:
    """It is refused, and so is one below it: what is in it could be somebody else's, and so could what is removed."""
    path = tmp_path / "monday"
    path.mkdir()
    path.chmod(0o777)
    with pytest.raises(BackupFailed, match=rf"^{path / below}: {path} has mode 0777, with which others could"):
        NewBackup(path / below)
    assert list(path.iterdir()) == []


def test_another_backup_in_its_place(tmp_path: Path, yesterdays: Path) -> None:
    """One that fails removes its own files, wherever its directory is by then, and no other ones."""
    monday, moved = tmp_path / "monday", tmp_path / "moved"
    new = begun(monday)
    monday.rename(moved)
    monday.symlink_to(yesterdays)
    new.abandon()
    assert sorted(path.name for path in yesterdays.iterdir()) == FILES
    assert list(moved.iterdir()) == []


def test_finished_elsewhere(tmp_path: Path, yesterdays: Path) -> None:
    """Its files go where its directory is, and over no other ones."""
    monday, moved = tmp_path / "monday", tmp_path / "moved"
    new = begun(monday)
    monday.rename(moved)
    monday.symlink_to(yesterdays)
    finish(new)
    assert sorted(path.name for path in moved.iterdir()) == [*FILES, "rest"]
    assert (yesterdays / MANIFEST).read_text() == "precious"


def test_a_file_that_can_not_be_removed(tmp_path: Path) -> None:
    """All others are."""
    new = begun(tmp_path / "monday")
    (tmp_path / "monday" / "0-a.records").unlink()
    (tmp_path / "monday" / "0-a.records").mkdir()
    new.abandon()
    assert [path.name for path in (tmp_path / "monday").iterdir()] == ["0-a.records"]


def test_its_directory_is_closed(tmp_path: Path) -> None:
    """At its end, whatever that is, and where it can't begin."""

    def descriptors() -> int:
        return sum(os.path.realpath(path) == str(tmp_path / "a") for path in Path("/dev/fd").iterdir())

    begun(tmp_path / "a").abandon()
    new = NewBackup(tmp_path / "a")
    assert descriptors() == 1
    finish(new)
    with pytest.raises(BackupFailed, match="expected a directory that is empty"):
        NewBackup(tmp_path / "a")
    assert descriptors() == 0
