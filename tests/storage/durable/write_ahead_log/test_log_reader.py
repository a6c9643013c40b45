"""How a reader finds its place in the log: wherever that is, with few reads, and never a wrong one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from storage.durable.write_ahead_log.files import HEADER, IDENTITY
from stores import folder

from pyshard.storage.durable import log_reader
from pyshard.storage.durable.log_format import GROUP_BYTES
from pyshard.storage.durable.log_reader import GroupGone, LogReader
from pyshard.storage.durable.write_ahead_log import WriteAheadLog

#: Bytes of payloads: of none, about as long as a head, and longer than what is read at a time.
SIZES = [0, 1, GROUP_BYTES, 600_000, 3, 262_144, 262_144 - GROUP_BYTES, 5, 0, 300_000, 1]


@pytest.fixture
def log() -> Iterator[WriteAheadLog]:
    """A log with two files."""
    with folder() as made:
        log = WriteAheadLog(lambda number: made / f"log-{number}", IDENTITY, 0, 2, None, now=7.0)
        yield log
        log.close()


def reader_behind(log: WriteAheadLog, sequence: int) -> LogReader:
    """A reader that has the groups up to a number."""
    return LogReader(lambda: log.segments, IDENTITY, sequence)


def test_every_place_is_found(log: WriteAheadLog) -> None:
    """Whichever group comes next, in whichever segment."""
    log.append(b"first", True)
    first = log.sequence
    for size in SIZES:
        log.append(bytes(size), True)
    log.rotate(9.0)
    for size in SIZES:
        log.append(bytes(size), True)
    for behind in range(len(SIZES) * 2):
        reader = reader_behind(log, first + behind)
        reader.find(log.sequence)
        groups = reader.read(log.sequence, 10**9)
        assert [len(group.payload) for group in groups] == (SIZES * 2)[behind:]
        reader.close()


def test_a_place_takes_few_reads(log: WriteAheadLog, monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each 256 KiB of the segment, or for each longer group; however many groups are in it."""
    for _ in range(30_000):
        log.append(b"tiny", False)
    reads, pread = list[int](), os.pread

    def counted(file: int, size: int, place: int) -> bytes:
        reads.append(size)
        return pread(file, size, place)

    monkeypatch.setattr(os, "pread", counted)
    reader = reader_behind(log, log.sequence - 1)
    reader.find(log.sequence)
    assert len(reads) <= 4 + (log.size // log_reader._CHUNK)
    monkeypatch.setattr(os, "pread", pread)
    assert [group.payload for group in reader.read(log.sequence, 1)] == [b"tiny"]
    reader.close()


@pytest.mark.parametrize("bytes_of_head", [0, 8, 25])
def test_a_group_before_it_is_damaged(log: WriteAheadLog, bytes_of_head: int) -> None:
    """Then there is no place: by the salt, the number, or what follows a wrong length."""
    before = log.size
    for _ in range(5):
        log.append(b"text", True)
    path = log.active.path
    place = before + 2 * (GROUP_BYTES + 4) + bytes_of_head
    data = bytearray(path.read_bytes())
    data[place] ^= 0x55
    path.write_bytes(data)
    reader = reader_behind(log, log.sequence - 1)
    with pytest.raises(GroupGone):
        reader.find(log.sequence)
    assert reader._file is None


def test_a_file_that_is_used_again(log: WriteAheadLog) -> None:
    """Groups of an earlier lap, which are behind the present one's, are none."""
    for _ in range(9):
        log.append(b"text", True)
    segments = log.segments
    log.begin_lap(log.sequence)
    assert Path(segments[0].path).stat().st_size >= HEADER
    reader = LogReader(lambda: segments, IDENTITY, log.sequence - 3)
    with pytest.raises(GroupGone):
        reader.find(log.sequence)
