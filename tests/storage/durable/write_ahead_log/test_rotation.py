"""The two files of a log by turns, by value."""

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
    """The places of the files."""
    with folder() as made:
        yield made / "log-a", made / "log-b"


def filled(paths: tuple[Path, Path], *laps: str, safe: int = 0) -> WriteAheadLog:
    """The files with a group for each letter, each string in the other file than the one before."""
    logs = WriteAheadLog(paths, IDENTITY, safe)
    for number, lap in enumerate(laps):
        if number:
            logs.rotate()
        for letter in lap:
            logs.append(letter.encode(), True)
    return logs


def found(paths: tuple[Path, Path], safe: int) -> str:
    """The texts of the groups that a start finds, which are numbered without a gap, and behind which it goes on."""
    logs = WriteAheadLog(paths, IDENTITY, safe)
    assert [group.sequence for group in logs.groups] == list(range(safe + 1, safe + 1 + len(logs.groups)))
    assert logs.sequence == safe + len(logs.groups)
    logs.close()
    return b"".join(group.payload for group in logs.groups).decode()


def test_new_files(paths: tuple[Path, Path]) -> None:
    """Both are made at once, have nothing, and count from 1, which stands for nothing at all."""
    logs = WriteAheadLog(paths, IDENTITY, 0)
    assert (logs.groups, logs.sequence, logs.broken) == ([], 1, False)
    logs.close()
    assert all(path.stat().st_size for path in paths)
    assert found(paths, 1) == ""


@pytest.mark.parametrize("laps", [("",), ("abc",), ("abc", ""), ("abc", "de"), ("", "de")])
def test_all_groups_of_both(paths: tuple[Path, Path], laps: tuple[str, ...]) -> None:
    """A start finds what isn't safe in either file, in order, and the next group comes behind the last of all."""
    filled(paths, *laps).close()
    text = "".join(laps)
    for safe in range(1, 2 + len(text)):
        copies = paths[0].with_name("copy-a"), paths[1].with_name("copy-b")
        for path, copy in zip(paths, copies, strict=True):
            copy.write_bytes(path.read_bytes())
        assert found(copies, safe) == text[safe - 1 :]
    filled(paths, "x", safe=1).close()
    assert found(paths, 1) == text + "x"


def test_by_turns(paths: tuple[Path, Path]) -> None:
    """A file that is used again has nothing of what it had before, however long that was."""
    logs = filled(paths, "abcdefgh", "i")
    assert logs.sequence == 10
    logs.rotate()
    logs.append(b"j", True)
    logs.close()
    assert found(paths, 9) == "ij"
    assert found(paths, 10) == "j"
    assert found(paths, 11) == ""


def test_a_lap_begins_anew(paths: tuple[Path, Path]) -> None:
    """When all is safe the file in use begins anew, and the other one may be taken into use next."""
    logs = filled(paths, "abc", "de")
    logs.begin_lap(logs.sequence)
    assert logs.sequence == 6
    logs.append(b"f", True)
    logs.rotate()
    logs.append(b"g", True)
    logs.close()
    assert found(paths, 6) == "fg"


def test_size_is_that_of_the_lap(paths: tuple[Path, Path]) -> None:
    """What the other file has doesn't count."""
    logs = filled(paths, "abc")
    size = logs.size
    logs.rotate()
    assert logs.size < size
    logs.close()


@pytest.mark.parametrize("missing", [0, 1])
def test_a_file_is_missing(paths: tuple[Path, Path], missing: int) -> None:
    """One without the other isn't used: it may be the one that has acknowledged changes."""
    filled(paths, "abc", "de").close()
    paths[missing].unlink()
    with pytest.raises(ConfigError, match=r"missing or empty, and acknowledged changes may be in it") as refused:
        WriteAheadLog(paths, IDENTITY, 1)
    assert str(refused.value).startswith(f"{paths[missing]}: ")
    assert "\n" not in str(refused.value)


def test_changes_are_missing(paths: tuple[Path, Path]) -> None:
    """Files that have later changes than those that the data end with don't belong to these data."""
    filled(paths, "abc", "de").close()
    with pytest.raises(ConfigError, match="changes 1 to 6 were acknowledged, and there are only 5 of them"):
        WriteAheadLog(paths, IDENTITY, 0)
    first = paths[0].read_bytes()
    paths[0].write_bytes(first[:-1])  # c is cut
    with pytest.raises(ConfigError, match="changes 2 to 6 were acknowledged, and there are only 4 of them"):
        WriteAheadLog(paths, IDENTITY, 1)
    assert found(paths, 4) == "de"


def test_the_file_before_is_on_the_disk(paths: tuple[Path, Path], system: System) -> None:
    """What wasn't synced is, before the other file has anything: else the later changes might be there alone."""
    logs = filled(paths)
    logs.append(b"a", False)
    system.take()
    logs.rotate()
    assert system.take() == ["fdatasync", "pwrite"]
    logs.close()


def test_a_switch_that_fails(paths: tuple[Path, Path], system: System) -> None:
    """When a file can't be synced it stays the one in use, and must begin anew before anything else is written."""
    logs = filled(paths)
    logs.append(b"a", False)
    system.failing_once = {"fdatasync"}
    with pytest.raises(OSError, match="Input/output error"):
        logs.rotate()
    assert logs.broken
    with pytest.raises(OSError, match="could not be mended"):
        logs.append(b"b", True)
    logs.begin_lap(2)  # LMDB has all of it
    logs.append(b"b", True)
    logs.close()
    assert found(paths, 2) == "b"


def test_the_other_file_that_fails(paths: tuple[Path, Path], system: System) -> None:
    """When the other file can't be begun the one in use goes on, and the other one is tried again."""
    logs = filled(paths, "a")
    system.failing_once = {"pwrite"}
    with pytest.raises(OSError, match="Input/output error"):
        logs.rotate()
    logs.append(b"b", True)
    logs.rotate()
    logs.append(b"c", True)
    logs.close()
    assert found(paths, 1) == "abc"
