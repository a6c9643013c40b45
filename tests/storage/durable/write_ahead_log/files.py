"""A log's file: made, found by a start, refused, and damaged."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pyshard.errors import ConfigError
from pyshard.storage.durable.write_ahead_log import LogFile

IDENTITY = "00112233445566778899aabbccddeeff"
SALT = b"saltsalt"
HEADER = 44
GROUP = 25

#: The number before that of the first group of a new log.
SAFE = 1

#: Texts of groups: short ones, none, a long one.
TEXTS = [b"one", b"", bytes(range(256)) * 20, b"four"]


def opened(path: Path, safe: int = 0) -> LogFile:
    """The log at a place, with salts of its own."""
    return LogFile(path, IDENTITY, safe)


def filled(path: Path, texts: list[bytes], sync: bool = True) -> list[int]:
    """Make a log with groups; where each begins, and where the last ends."""
    log = opened(path)
    places = [log.size]
    for text in texts:
        log.append(text, sync)
        places.append(log.size)
    log.close()
    return places


def found(path: Path, safe: int = SAFE) -> list[bytes]:
    """The texts of the groups that a start finds, which are counted without a gap."""
    log = opened(path, safe)
    assert [group.sequence for group in log.groups] == list(range(safe + 1, safe + 1 + len(log.groups)))
    assert log.sequence == safe + len(log.groups)
    log.close()
    return [group.payload for group in log.groups]


def refusal(path: Path, safe: int = SAFE) -> str:
    """Why a log is refused, in one line."""
    with pytest.raises(ConfigError) as refused:
        opened(path, safe)
    line = str(refused.value)
    first, last = f"{path}: the log can't be used (", "); docs/storage.md says what to do"
    assert (line[: len(first)], line[-len(last) :]) == (first, last)
    assert "\n" not in line
    return line[len(first) : -len(last)]


def found_beside(path: Path) -> list[bytes]:
    """As `found`, in a copy, while the log is in use."""
    beside = path.with_name("copy")
    beside.write_bytes(path.read_bytes())
    return found(beside)


def appended(path: Path, text: bytes, safe: int = SAFE, sync: bool = True) -> None:
    """Start, and write one more group."""
    log = opened(path, safe)
    log.append(text, sync)
    log.close()


def flips(data: bytes, begin: int, end: int) -> Iterator[bytes]:
    """Data with one bit of one of these bytes flipped, for each."""
    for place in range(begin, end):
        for bit in range(8):
            yield data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]
