"""Segments that are kept for followers: how files are added, kept over a start, given back, and used again."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from disks import System
from storage.durable.write_ahead_log.files import HEADER, IDENTITY
from stores import folder

from pyshard.errors import ConfigError
from pyshard.storage.durable.log_format import groups_in, lap_of
from pyshard.storage.durable.write_ahead_log import Segment, WriteAheadLog


@pytest.fixture
def where() -> Iterator[Path]:
    """The folder of a log."""
    with folder() as made:
        yield made


def opened(where: Path, flushed: int, files: int = 2, kept: int | None = None) -> WriteAheadLog:
    """The log in a folder."""
    return WriteAheadLog(lambda number: where / f"log-{number}", IDENTITY, flushed, files, kept, now=7.0)


def rotated(log: WriteAheadLog) -> None:
    """Have the next segment take groups; add a file if there must be one."""
    if log.must_grow():
        log.grow()
    log.rotate(9.0)


def filled(where: Path, *laps: str, flushed: int = 0, size: int = 1) -> WriteAheadLog:
    """A log with a segment for each string, and a group for each letter, which it repeats; all of them are kept."""
    log = opened(where, flushed)
    for number, lap in enumerate(laps):
        if number:
            rotated(log)
        for letter in lap:
            log.append(letter.encode() * size, True)
    return log


def text_in(segments: tuple[Segment, ...]) -> str:
    """What stands in the files of segments, one after the other; each has the lap that it should."""
    text = b""
    for path, lap in segments:
        data = path.read_bytes()
        assert lap_of(data, bytes.fromhex(IDENTITY)) == lap
        text += b"".join(group.payload for group in groups_in(data, lap, 0).groups)
    return text.decode()


def test_files_are_added(where: Path) -> None:
    """Segments that are kept have files of their own, as many as they are, and nothing of them is written over."""
    log = filled(where, "abc", "de", "f", "ghi")
    assert sorted(path.name for path in where.iterdir()) == ["log-1", "log-2", "log-3", "log-4"]
    assert (log.files, log.sequence, log.synced) == (4, 10, 10)
    assert [kept.last for kept in log.kept] == [4, 6, 7]
    assert text_in(log.segments) == "abcdefghi"
    log.close()


def test_a_file_that_cannot_be_added(where: Path, system: System) -> None:
    """Where the disk has no room for another file the log stays as it is."""
    log = filled(where, "abc", "de")
    system.room = 0
    assert log.must_grow()
    with pytest.raises(OSError, match="No space left"):
        log.grow()
    assert (log.files, log.must_grow()) == (2, True)
    system.room = None
    log.append(b"f", True)
    assert text_in(log.segments) == "abcdef"
    log.close()


def test_files_are_given_back_and_used_again(where: Path) -> None:
    """A segment that isn't kept gives its room back, all but one, which the next segment writes over."""
    log = filled(where, "a" * 100, "b" * 50, "c", "d")
    log.release(100)
    assert [kept.last for kept in log.kept] == [101, 151, 152]
    log.release(152)
    assert (log.kept, len(log.segments)) == ([], 1)
    sizes = {path.name: path.stat().st_size for path in where.iterdir()}
    assert sizes["log-1"] > HEADER
    assert (sizes["log-2"], sizes["log-3"]) == (HEADER, HEADER)
    rotated(log)
    log.append(b"e", True)
    assert log.segments[-1].path.name == "log-1"
    assert text_in(log.segments) == "de"
    assert log.files == 4
    log.close()


def test_room_that_cannot_be_given_back(where: Path, system: System) -> None:
    """If a file can't be cut, `release` says so, and its segment is kept no more all the same."""
    log = filled(where, "abc", "de", "f")
    system.failing = {"truncate"}
    with pytest.raises(OSError, match="Input/output error"):
        log.release(6)
    assert (log.kept, log.must_grow()) == ([], False)
    log.close()


@pytest.mark.parametrize("flushed", range(1, 8))
def test_a_start_keeps_segments(where: Path, flushed: int) -> None:
    """A start finds what LMDB lacks, and keeps segments with groups above a number, also where LMDB has everything."""
    filled(where, "abc", "de", "f").close()
    for kept in range(1, min(flushed, 6) + 1):
        log = opened(where, flushed, 3, kept)
        assert "".join(group.payload.decode() for group in log.groups) == "abcdef"[flushed - 1 :]
        assert log.sequence == 7
        assert "abcdef"[kept - 1 :] in text_in(log.segments)
        assert {each.since for each in log.kept} <= {7.0}
        log.close()
    log = opened(where, flushed, 3, 1)
    log.append(b"g", True)
    assert text_in(log.segments) == "abcdefg"
    log.close()


@pytest.mark.parametrize("kept", [1, 3, 7, 100])
def test_a_start_keeps_what_lmdb_lacks(where: Path, kept: int) -> None:
    """Whatever followers need, a start finds all that LMDB lacks."""
    filled(where, "abc", "de", "f").close()
    log = opened(where, 2, 3, kept)
    assert "".join(group.payload.decode() for group in log.groups) == "bcdef"
    log.close()


def test_a_start_keeps_nothing_that_nobody_needs(where: Path) -> None:
    """Without a number to keep from, a start whose LMDB has everything begins the log anew."""
    filled(where, "abc", "de", "f").close()
    log = opened(where, 7, 3)
    log.release(7)
    assert (log.groups, log.sequence, text_in(log.segments), log.must_grow()) == ([], 7, "", False)
    log.close()


def test_a_file_that_was_added_is_missing(where: Path) -> None:
    """Each file that LMDB knows of must be there."""
    filled(where, "abc", "de", "f").close()
    (where / "log-3").unlink()
    with pytest.raises(ConfigError, match=r"log-3: the log can't be used \(it is missing or empty"):
        opened(where, 1, 3)


def test_a_file_that_nobody_knows_of(where: Path, system: System) -> None:
    """A process that ended while it added a file leaves one that LMDB doesn't know: it is taken anew.

    The disk may lack its name, so that is synced once more before LMDB is told.
    """
    log = filled(where, "abc", "de")
    log.grow()
    log.close()
    log = opened(where, 1, 2)
    assert [group.payload for group in log.groups] == [b"a", b"b", b"c", b"d", b"e"]
    system.take()
    log.grow()
    assert system.take() == ["pwrite", "fsync", "fsync of the folder"]
    log.rotate()
    log.append(b"f", True)
    assert (log.files, text_in(log.segments)) == (3, "abcdef")
    log.close()


def test_a_rotation_that_failed_half_way(where: Path, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that has begun a lap without groups hides none of those that the segment before it took later."""
    log = filled(where, "abc", "d" * 500, "e")
    log.release(504)
    system.failing_once = {"truncate"}
    monkeypatch.setattr("pyshard.storage.durable.log_file._KEPT", 100)
    with pytest.raises(OSError, match="Input/output error"):
        log.rotate()
    log.append(b"f", True)
    log.append(b"g", True)
    log.close()
    for flushed in (504, 505, 506, 507):
        log = opened(where, flushed, 3)
        assert "".join(group.payload.decode() for group in log.groups) == "efg"[flushed - 504 :]
        log.close()
