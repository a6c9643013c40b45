"""The signature by which a changed file is noticed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyshard.security.file_change import file_signature


def _written(path: Path) -> None:
    path.write_text("longer than before")


def _written_alike(path: Path) -> None:
    path.write_text("after!")
    os.utime(path, ns=(2_000_000_000, 2_000_000_000))


def _replaced(path: Path) -> None:
    new = path.with_name("new")
    new.write_text("before")
    os.utime(new, ns=(1_000_000_000, 1_000_000_000))
    new.replace(path)


def _locked(path: Path) -> None:
    path.chmod(0o400)


@pytest.mark.parametrize("change", [_written, _written_alike, _replaced, _locked, Path.unlink])
def test_changes(tmp_path: Path, change: Callable[[Path], None]) -> None:
    """A file that is written, replaced, removed or locked has another signature; an unchanged file keeps it."""
    path = tmp_path / "file"
    path.write_text("before")
    path.chmod(0o600)
    os.utime(path, ns=(1_000_000_000, 1_000_000_000))
    before = file_signature(path)
    assert file_signature(path) == before is not None
    change(path)
    assert file_signature(path) != before


def test_no_file(tmp_path: Path) -> None:
    """A missing file has no signature."""
    assert file_signature(tmp_path / "none") is None
