"""Reading files that somebody else may have put there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pyshard.model.regular_file import open_regular, read_regular


def test_files(tmp_path: Path) -> None:
    """A file is read, also by a link; with one byte more than it may have, it is refused."""
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    (tmp_path / "link").symlink_to(path)
    assert read_regular(path, 5) == read_regular(tmp_path / "link", 5) == b"12345"
    with pytest.raises(OSError, match="Found more than 4 bytes"):
        read_regular(path, 4)


def test_a_file_that_seems_endless(tmp_path: Path) -> None:
    """Of a file with more bytes than the memory has, only as many are read as it may have."""
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(OSError, match="Found more than 10 bytes"):
        read_regular(path, 10)


@pytest.mark.parametrize("what", ["pipe", "device", "directory", "nothing"])
def test_what_is_no_file(tmp_path: Path, what: str) -> None:
    """A pipe isn't waited for, a device isn't read, and nothing stays open."""
    path = tmp_path / "file"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "device":
        path.symlink_to("/dev/zero")
    elif what == "directory":
        path.mkdir()
    why = {"directory": "Is a directory", "nothing": "No such file"}.get(what, "Found something else than a file")
    files = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(OSError, match=why):
        open_regular(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == files
