"""Log files for tests: made, found by a start, refused, and damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyshard.errors import ConfigError
from pyshard.storage.durable.log_file import LogFile

IDENTITY = "00112233445566778899aabbccddeeff"
SALT = b"saltsalt"
HEADER = 52
GROUP = 33

#: The number before that of the first group of a new log.
FLUSHED = 1

#: Texts of groups: short ones, none, a long one.
PAYLOADS = [b"one", b"", bytes(range(256)) * 20, b"four"]


def opened(path: Path, flushed: int = 0) -> LogFile:
    """Open a log file, with random salts."""
    return LogFile.found(path, IDENTITY, flushed)


def filled(path: Path, payloads: list[bytes], sync: bool = True) -> list[int]:
    """Make a file with groups; return where each begins, and where the last ends."""
    log = opened(path)
    places = [log.size]
    for payload in payloads:
        log.append(payload, sync)
        places.append(log.size)
    log.close()
    return places


def found(path: Path, flushed: int = FLUSHED) -> list[bytes]:
    """The payloads of the groups that a start finds; checks that their numbers have no gap."""
    log = opened(path, flushed)
    assert [group.sequence for group in log.groups] == list(range(flushed + 1, flushed + 1 + len(log.groups)))
    assert log.sequence == flushed + len(log.groups)
    log.close()
    return [group.payload for group in log.groups]


def refusal(path: Path, flushed: int = FLUSHED) -> str:
    """Why a start refuses a file: the part of the line in parentheses."""
    with pytest.raises(ConfigError) as refused:
        opened(path, flushed)
    line = str(refused.value)
    first, last = f"{path}: the log can't be used (", "); what to do stands in the documentation, "
    last += '"How a shard keeps its documents"'
    assert (line[: len(first)], line[-len(last) :]) == (first, last)
    assert "\n" not in line
    return line[len(first) : -len(last)]


def found_beside(path: Path) -> list[bytes]:
    """As `found`, in a copy of a file that is open."""
    beside = path.with_name("copy")
    beside.write_bytes(path.read_bytes())
    return found(beside)


def appended(path: Path, payload: bytes, flushed: int = FLUSHED, sync: bool = True) -> None:
    """Start, and write one more group."""
    log = opened(path, flushed)
    log.append(payload, sync)
    log.close()


def flips(data: bytes, begin: int, end: int) -> Iterator[bytes]:
    """Copies of data, each with one bit of the bytes [begin, end) flipped."""
    for place in range(begin, end):
        for bit in range(8):
            yield data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
