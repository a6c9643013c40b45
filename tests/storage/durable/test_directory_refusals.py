"""Data directories that can't be used: the line says what was found, what was expected, and what to do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import lmdb
import pytest

from pyshard.errors import ConfigError
from pyshard.security.refused_place import refused_place
from pyshard.storage import DataDirectory
from pyshard.storage.durable import data_directory
from pyshard.storage.durable.directory_refusals import data_refused, log_refused

PATH = Path("/data")

ROOM = (
    "{}: found no room on its disk (No space left on device), expected some; remove other files there, or "
    "choose a data directory on another disk"
)
RIGHTS = (
    "{}: found that user 1000 may not use it (Permission denied), expected a data directory of that user; "
    "chown it, or choose another"
)


def failed(number: int) -> OSError:
    """What the system raises."""
    return OSError(number, os.strerror(number))


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.ENOSPC, ROOM.format(PATH)),
        (errno.EACCES, RIGHTS.format(PATH)),
        (
            errno.EROFS,
            "/data: found a file system that can't be written (Read-only file system), expected one that can; mount it "
            "so, or choose another data directory",
        ),
        (
            errno.EIO,
            "/data: can't be used as a data directory (Input/output error); mend that, or choose another",
        ),
    ],
)
def test_what_the_system_refuses(number: int, line: str) -> None:
    """Each reason that operators meet has words of its own; others have the system's."""
    assert refused_place(PATH, failed(number), 1000, "data directory") == line


def test_files_of_the_log_and_of_lmdb() -> None:
    """Rights and room are told alike, whichever file of the directory lacks them."""
    assert log_refused(PATH / "log-1", failed(errno.ENOSPC), 1000) == ROOM.format("/data/log-1")
    assert data_refused(PATH / "records", lmdb.DiskError("x"), 1000) == ROOM.format("/data/records")
    assert data_refused(PATH / "records", lmdb.ReadonlyError("x"), 1000) == RIGHTS.format("/data/records")
    assert data_refused(PATH / "records", lmdb.CorruptedError("it is torn"), 1000) == (
        "/data/records: the data can't be opened (it is torn); mend that, or restore a backup into an empty shard"
    )


@pytest.mark.parametrize("below", ["", "deep/data"])
def test_a_file_in_the_way(tmp_path: Path, below: str) -> None:
    """A file at the directory's place, or above it, is named."""
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError) as refused:
        DataDirectory(file / below)
    assert str(refused.value) == (
        f"{file / below}: found that {file} is no directory, expected one there; choose another data directory"
    )


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that has no room for the first file is said to have none."""

    def replace_privately(path: Path, data: bytes) -> None:
        raise failed(errno.ENOSPC)

    monkeypatch.setattr(data_directory, "replace_privately", replace_privately)
    with pytest.raises(ConfigError) as refused:
        DataDirectory(tmp_path / "data")
    assert str(refused.value) == ROOM.format(tmp_path / "data" / "shard.json")
