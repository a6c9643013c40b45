"""The format of log files, by value, and what a start reads back."""

from __future__ import annotations

from pathlib import Path

import pytest
from storage.durable.write_ahead_log.files import (
    FLUSHED,
    GROUP,
    HEADER,
    IDENTITY,
    PAYLOADS,
    SALT,
    appended,
    filled,
    flips,
    found,
    opened,
    refusal,
)

from pyshard.errors import ConfigError
from pyshard.protocol.log_groups import LogGroup
from pyshard.storage.durable.log_file import LogFile
from pyshard.storage.durable.log_format import Found, Lap, groups_in, lap_of, packed_group, packed_header

# -- the format -----------------------------------------------------------------------------------------------------


def test_header() -> None:
    """A header is name, identity, salt, the number before the first group's, and checksum."""
    made = packed_header(bytes.fromhex(IDENTITY), Lap(SALT, 258))
    assert made.hex() == (
        "70797368617264206c6f6720340a0000" + "00112233445566778899aabbccddeeff" + "73616c7473616c74"
        "0000000000000102" + "e1d3b367"
    )
    assert (len(made), lap_of(made, bytes.fromhex(IDENTITY))) == (HEADER, Lap(SALT, 258))


def test_group() -> None:
    """A group is salt, number, ballot, whether synced, size, checksum and payload."""
    assert packed_group(SALT, LogGroup(258, b"text", 5), True).hex() == (
        "73616c7473616c74" + "0000000000000102" + "0000000000000005" + "01" + "00000004" + "7527b77a" + "74657874"
    )
    assert packed_group(SALT, LogGroup(2, b""), False).hex() == (
        "73616c7473616c74" + "0000000000000002" + "0000000000000000" + "00" + "00000000" + "69b6fb56"
    )


def test_file(path: Path) -> None:
    """A file is a header with its groups behind it."""
    salts: list[int] = []

    def random(size: int) -> bytes:
        salts.append(size)
        return SALT

    log = LogFile.found(path, IDENTITY, 0, random)
    log.append(b"one", True)
    log.append(b"", True)
    log.append(b"three", False, 7)
    log.close()
    groups = [(LogGroup(2, b"one"), True), (LogGroup(3, b""), True), (LogGroup(4, b"three", 7), False)]
    lap = Lap(SALT, FLUSHED)
    written = packed_header(bytes.fromhex(IDENTITY), lap) + b"".join(packed_group(SALT, *each) for each in groups)
    assert (path.read_bytes(), salts) == (written, [8])
    assert groups_in(written, lap, FLUSHED) == Found([group for group, _ in groups], 4, len(written))


# -- reading back ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", [False, True])
def test_what_was_written_is_there(path: Path, sync: bool) -> None:
    """Each start finds the groups that LMDB lacks, and appends behind them."""
    end = filled(path, PAYLOADS, sync)[-1]
    for flushed in range(FLUSHED, FLUSHED + 4):
        assert found(path, flushed) == PAYLOADS[flushed - FLUSHED :]
    log = opened(path, 3)
    assert (log.size, log.sequence) == (end, 5)
    log.append(b"five", sync)
    log.close()
    assert found(path, 3) == [*PAYLOADS[2:], b"five"]
    assert found(path, 6) == []


def test_a_new_log(path: Path) -> None:
    """A store that never had a log gets one, also where an earlier try left an empty file; it counts from 2."""
    for _ in range(2):
        log = opened(path)
        assert (log.groups, log.sequence, log.size, log.broken) == ([], 1, HEADER, False)
        log.close()
        assert found(path) == []
        path.write_bytes(b"")


def test_the_making_was_cut_short_by_a_power_failure(path: Path) -> None:
    """A file of zeros is taken for new if there never was a log: nothing acknowledged can be in it."""
    for size in (1, HEADER, HEADER + GROUP):
        path.write_bytes(bytes(size))
        appended(path, b"one", 0)
        assert found(path) == [b"one"]
        path.write_bytes(bytes(size))
        assert "header" in refusal(path)


def test_a_missing_log(path: Path) -> None:
    """If there was a log, a missing or empty file is refused, and none is made."""
    assert refusal(path) == "it is missing or empty, and acknowledged changes may be in it"
    assert not path.exists()
    path.touch()
    assert refusal(path) == "it is missing or empty, and acknowledged changes may be in it"


def test_something_else_for_a_log(path: Path) -> None:
    """The file of another store, a cut or damaged header, and what can't be read are refused."""
    path.mkdir()
    assert refusal(path) == "Is a directory"
    path.rmdir()
    filled(path, [b"one"])
    data = path.read_bytes()
    with pytest.raises(ConfigError, match=f"belongs to the store {IDENTITY}"):
        LogFile.found(path, "f" * 32, FLUSHED)
    for size in range(1, HEADER):
        path.write_bytes(data[:size])
        assert refusal(path) == f"it has {size} bytes, too few for a header"
    for bad in [*flips(data, 0, HEADER), b"garbage" * 100]:
        path.write_bytes(bad)
        for flushed in (0, FLUSHED):
            assert refusal(path, flushed) == "its header is damaged, or that of something else"
    path.write_bytes(data)
    assert found(path) == [b"one"]


def test_data_that_are_older_than_a_log_without_groups_over_them(path: Path) -> None:
    """If LMDB has more than the file, nothing is found, and the next group follows what LMDB has."""
    filled(path, PAYLOADS)
    appended(path, b"next", 20)
    assert found(path, 20) == [b"next"]
