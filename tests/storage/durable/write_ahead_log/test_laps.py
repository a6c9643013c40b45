"""The laps of a log file: nothing is read of earlier ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from disks import System
from storage.durable.write_ahead_log.files import FLUSHED, GROUP, HEADER, appended, filled, found, opened


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("number", [0, 1, 2, 3])
@pytest.mark.parametrize("size", [0, 2, 3, 4, 30])
def test_leftovers_never_come_back(path: Path, sync: bool, number: int, size: int) -> None:
    """Groups of earlier laps are never found, even if one begins exactly where the lap ends."""
    log = opened(path)
    for lap in range(3):
        for each in range(5):
            log.append(b"%d %d" % (lap, each), sync)
        log.begin_lap(log.sequence)
        assert log.size == HEADER
    flushed = log.sequence
    payloads = [bytes([number]) * size for number in range(number)]
    for payload in payloads:
        log.append(payload, sync)
    log.close()
    assert path.stat().st_size >= HEADER + 5 * (GROUP + 3)
    assert found(path, flushed) == payloads
    assert found(path, flushed + number) == []


def test_a_lap_begins_with_a_start_that_finds_nothing(path: Path) -> None:
    """A start that finds nothing begins a new lap, so a torn group of the lap before never matters."""
    places = filled(path, [b"one", b"two"])
    data = path.read_bytes()
    path.write_bytes(data[: places[1]] + bytes(GROUP) + data[places[1] + GROUP :])
    appended(path, b"new", FLUSHED + 1)
    assert path.read_bytes()[32:40] != data[32:40]
    assert found(path, FLUSHED + 1) == [b"new"]


def test_laps_have_salts_of_their_own(path: Path) -> None:
    """No salt is used twice."""
    log = opened(path)
    salts = set()
    for _ in range(50):
        log.begin_lap(1)
        salts.add(path.read_bytes()[32:40])
    log.close()
    assert len(salts) == 50


def test_the_numbers_go_on_as_they_are_told(path: Path) -> None:
    """The first group of a lap has the number behind the one given to `begin_lap`."""
    log = opened(path)
    log.begin_lap(1_000_000)
    log.append(b"one", True)
    log.close()
    assert (log.sequence, found(path, 1_000_000)) == (1_000_001, [b"one"])


def test_the_room_of_a_huge_lap_is_given_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new lap cuts the file to the size that is kept; nothing else makes it shorter."""
    monkeypatch.setattr("pyshard.storage.durable.log_file._KEPT", 1000)
    log = opened(path)
    log.append(bytes(900), True)
    full = log.size
    log.begin_lap(log.sequence)
    assert path.stat().st_size == full
    for _ in range(3):
        log.append(bytes(5000), True)
    assert path.stat().st_size == log.size > 15_000
    log.begin_lap(log.sequence)
    assert path.stat().st_size == 1000
    log.append(b"next", True)
    log.close()
    assert found(path, 5) == [b"next"]


def test_the_room_that_cannot_be_given_back(path: Path, system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the file can't be cut, `begin_lap` says so, and the lap has begun all the same."""
    monkeypatch.setattr("pyshard.storage.durable.log_file._KEPT", 100)
    log = opened(path)
    log.append(bytes(200), True)
    system.failing = {"truncate"}
    with pytest.raises(OSError, match="Input/output error"):
        log.begin_lap(2)
    log.append(b"next", True)
    log.close()
    system.failing = set()
    assert found(path, 2) == [b"next"]
