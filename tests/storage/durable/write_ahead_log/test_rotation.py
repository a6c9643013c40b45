"""The write-ahead log's segments: files by turns, and as many as are needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import System
from storage.durable.write_ahead_log.files import IDENTITY
from stores import folder

from pyshard.errors import ConfigError
from pyshard.storage.durable.write_ahead_log import WriteAheadLog


@pytest.fixture
def paths() -> Iterator[tuple[Path, Path]]:
    """The paths of the files."""
    with folder() as made:
        yield made / "log-1", made / "log-2"


def log_at(paths: tuple[Path, ...], flushed: int, files: int = 2, kept: int | None = None) -> WriteAheadLog:
    """The log in the folder of these files."""
    return WriteAheadLog(lambda number: paths[0].with_name(f"log-{number}"), IDENTITY, flushed, files, kept)


def filled(paths: tuple[Path, Path], *laps: str, flushed: int = 0) -> WriteAheadLog:
    """A log with a group for each letter; it rotates between the strings."""
    log = log_at(paths, flushed)
    for number, lap in enumerate(laps):
        if number:
            log.release(log.sequence)
            log.rotate()
        for letter in lap:
            log.append(letter.encode(), True)
    return log


def found(paths: tuple[Path, ...], flushed: int) -> str:
    """The payloads of the groups that a start finds; checks that they have no gap and that the next number follows."""
    log = log_at(paths, flushed)
    assert [group.sequence for group in log.groups] == list(range(flushed + 1, flushed + 1 + len(log.groups)))
    assert log.sequence == flushed + len(log.groups)
    log.close()
    return b"".join(group.payload for group in log.groups).decode()


def test_new_files(paths: tuple[Path, Path]) -> None:
    """Both files are made at once and have no groups; the first group has number 2."""
    log = log_at(paths, 0)
    assert (log.groups, log.sequence, log.broken) == ([], 1, False)
    log.close()
    assert all(path.stat().st_size for path in paths)
    assert found(paths, 1) == ""


@pytest.mark.parametrize("laps", [("",), ("abc",), ("abc", ""), ("abc", "de"), ("", "de")])
def test_all_groups_of_both(paths: tuple[Path, Path], laps: tuple[str, ...]) -> None:
    """A start finds the groups of both files that LMDB lacks, in order, and the next group follows the last."""
    filled(paths, *laps).close()
    payload = "".join(laps)
    for flushed in range(1, 2 + len(payload)):
        with folder() as beside:
            for path in paths:
                (beside / path.name).write_bytes(path.read_bytes())
            assert found((beside / "log-1",), flushed) == payload[flushed - 1 :]
    filled(paths, "x", flushed=1).close()
    assert found(paths, 1) == payload + "x"


def test_by_turns(paths: tuple[Path, Path]) -> None:
    """A file that is used again has nothing of what it had before, however long that was."""
    log = filled(paths, "abcdefgh", "i")
    assert log.sequence == 10
    log.release(9)
    log.rotate()
    log.append(b"j", True)
    log.close()
    assert found(paths, 9) == "ij"
    assert found(paths, 10) == "j"
    assert found(paths, 11) == ""


def test_a_lap_begins_anew(paths: tuple[Path, Path]) -> None:
    """When LMDB has everything, the active file begins a new lap, and the log can still rotate."""
    log = filled(paths, "abc", "de")
    log.release(log.sequence)
    log.begin_lap(log.sequence)
    assert log.sequence == 6
    log.append(b"f", True)
    log.rotate()
    log.append(b"g", True)
    log.close()
    assert found(paths, 6) == "fg"


def test_size_is_that_of_the_lap(paths: tuple[Path, Path]) -> None:
    """`size` is that of the active file."""
    log = filled(paths, "abc")
    size = log.size
    log.rotate()
    assert log.size < size
    log.close()


@pytest.mark.parametrize("missing", [0, 1])
def test_a_file_is_missing(paths: tuple[Path, Path], missing: int) -> None:
    """A missing file is refused, since it may have had acknowledged changes."""
    filled(paths, "abc", "de").close()
    paths[missing].unlink()
    with pytest.raises(ConfigError, match=r"missing or empty, and acknowledged changes may be in it") as refused:
        log_at(paths, 1)
    assert str(refused.value).startswith(f"{paths[missing]}: ")
    assert "\n" not in str(refused.value)


def test_changes_are_missing(paths: tuple[Path, Path]) -> None:
    """A gap between what LMDB has and what the files have is refused."""
    filled(paths, "abc", "de").close()
    with pytest.raises(ConfigError, match="changes 1 to 6 were acknowledged, and there are only 5 of them"):
        log_at(paths, 0)
    first = paths[0].read_bytes()
    paths[0].write_bytes(first[:-1])  # c is cut
    with pytest.raises(ConfigError, match="changes 2 to 6 were acknowledged, and there are only 4 of them"):
        log_at(paths, 1)
    assert found(paths, 4) == "de"


def test_the_file_before_is_on_the_disk(paths: tuple[Path, Path], system: System) -> None:
    """Rotating syncs the active file first, else a power failure could leave later groups without earlier ones."""
    log = filled(paths)
    log.append(b"a", False)
    system.take()
    log.rotate()
    assert system.take() == ["fdatasync", "pwrite"]
    log.close()


def test_a_switch_that_fails(paths: tuple[Path, Path], system: System) -> None:
    """If the active file can't be synced it stays active, and is broken until a new lap begins."""
    log = filled(paths)
    log.append(b"a", False)
    system.failing_once = {"fdatasync"}
    with pytest.raises(OSError, match="Input/output error"):
        log.rotate()
    assert log.broken
    with pytest.raises(OSError, match="could not be mended"):
        log.append(b"b", True)
    log.begin_lap(2)  # LMDB has all of it
    log.append(b"b", True)
    log.close()
    assert found(paths, 2) == "b"


def test_the_other_file_that_fails(paths: tuple[Path, Path], system: System) -> None:
    """If the other file can't begin a lap, the active one goes on, and the next rotation tries again."""
    log = filled(paths, "a")
    system.failing_once = {"pwrite"}
    with pytest.raises(OSError, match="Input/output error"):
        log.rotate()
    log.append(b"b", True)
    log.rotate()
    log.append(b"c", True)
    log.close()
    assert found(paths, 1) == "abc"
