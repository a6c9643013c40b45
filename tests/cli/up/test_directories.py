"""The directories of a run: their locks, and the names of the files in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pyshard.cli.exit_codes import CommandFailed
from pyshard.cli.up.directories import file_name, run_directory


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
    with pytest.raises(CommandFailed, match="can't be used: File exists"), run_directory(tmp_path / "file"):
        pass
