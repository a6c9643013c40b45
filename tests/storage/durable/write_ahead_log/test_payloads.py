"""Payloads that look like groups."""

from __future__ import annotations

from pathlib import Path

import pytest
from storage.durable.write_ahead_log.files import GROUP, IDENTITY, SALT, appended, filled, found, refusal

from pyshard.protocol.log_groups import LogGroup
from pyshard.storage.durable.log_file import LogFile
from pyshard.storage.durable.log_format import packed_group


def test_groups_within_a_text(path: Path) -> None:
    """A payload may have the bytes of whole groups, even with the lap's own salt: it is read as it is."""
    log = LogFile.found(path, IDENTITY, 0, lambda _: SALT)
    payloads = [
        packed_group(salt, LogGroup(number, b"x"), True) * 3 for salt in (SALT, b"another ") for number in (2, 3, 4, 9)
    ]
    for payload in payloads:
        log.append(payload, True)
    log.close()
    assert found(path) == payloads


@pytest.mark.parametrize("sequence", [2, 3, 4, 5])
def test_groups_within_a_text_that_was_lost(path: Path, sequence: int) -> None:
    """Bytes of a lost payload aren't taken for a group if they have another salt."""
    inner = packed_group(b"another ", LogGroup(sequence, b"x"), True)
    begin, end = filled(path, [b"one", inner * 3])[-2:]
    data = path.read_bytes()
    for size in range(begin, end):
        path.write_bytes(data[:size])
        assert found(path) == [b"one"]
    path.write_bytes(data[:begin] + inner * 4)
    assert found(path) == [b"one"]
    appended(path, bytes(len(inner) - GROUP))
    assert found(path) == [b"one", bytes(len(inner) - GROUP)]


@pytest.mark.parametrize("sequence", [1, 2])
def test_a_group_that_was_read_already_within_a_text_that_was_lost(path: Path, sequence: int) -> None:
    """Behind the end, a group whose number was read already, or that LMDB has, proves no damage."""
    log = LogFile.found(path, IDENTITY, 0, lambda _: SALT)
    log.append(b"one", True)
    begin = log.size
    log.append(packed_group(SALT, LogGroup(sequence, b"x"), True), True)
    log.close()
    data = path.read_bytes()
    path.write_bytes(data[:begin] + bytes(GROUP) + data[begin + GROUP :])
    assert found(path) == [b"one"]


def test_a_salt_without_its_group(path: Path) -> None:
    """The beginning of a group at the end of the file is none."""
    log = LogFile.found(path, IDENTITY, 0, lambda _: SALT)
    log.append(b"one", True)
    end = log.size
    log.close()
    whole = path.read_bytes() + packed_group(SALT, LogGroup(9, b"beyond"), True)
    for size in range(end, len(whole)):
        path.write_bytes(whole[:size])
        assert found(path) == [b"one"]
    path.write_bytes(whole)
    assert refusal(path) == f"it is damaged at byte {end}, and acknowledged changes were there"
