"""What a start finds in a damaged log file, and when it refuses the file."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from storage.durable.write_ahead_log.files import (
    FLUSHED,
    GROUP,
    HEADER,
    appended,
    filled,
    flips,
    found,
    opened,
    refusal,
)


@pytest.mark.parametrize("sync", [False, True])
@pytest.mark.parametrize("last", [b"", b"last", b"longer than the one that comes"])
def test_cut_anywhere_in_the_last_group(path: Path, sync: bool, last: bytes) -> None:
    """Half a group is none; all groups before it are found, and the next takes its place."""
    begin, end = filled(path, [b"one", b"two", last], sync)[-2:]
    data = path.read_bytes()
    for size in range(begin, end):
        path.write_bytes(data[:size])
        assert found(path) == [b"one", b"two"]
        appended(path, b"next", sync=sync)
        assert found(path) == [b"one", b"two", b"next"]


@pytest.mark.parametrize("sync", [False, True])
def test_a_flipped_bit_in_the_last_group(path: Path, sync: bool) -> None:
    """A group with any wrong bit is none; all groups before it are found."""
    begin, end = filled(path, [b"one", b"two", b"last"], sync)[-2:]
    for bad in flips(path.read_bytes(), begin, end):
        path.write_bytes(bad)
        assert found(path) == [b"one", b"two"]
        appended(path, b"next", sync=sync)
        assert found(path) == [b"one", b"two", b"next"]


def test_a_flipped_bit_in_an_earlier_group_that_was_synced(path: Path) -> None:
    """If a group before a synced one is damaged, the file is refused."""
    payloads = [b"one", b"two", b"three"]
    places = filled(path, payloads)
    data = path.read_bytes()
    for begin, end in pairwise(places[:-1]):
        for bad in flips(data, begin, end):
            path.write_bytes(bad)
            assert refusal(path) == f"it is damaged at byte {begin}, and acknowledged changes were there"
            assert path.read_bytes() == bad
    path.write_bytes(data)
    assert found(path) == payloads


def test_a_flipped_bit_in_an_earlier_group_that_was_not_synced(path: Path) -> None:
    """If unsynced groups are damaged, as by a power failure, those before the damage are found and none behind it."""
    payloads = [b"one", b"two", b"three"]
    places = filled(path, payloads, sync=False)
    data = path.read_bytes()
    for number, (begin, end) in enumerate(pairwise(places[:-1])):
        for bad in flips(data, begin, end):
            path.write_bytes(bad)
            assert found(path) == payloads[:number]


def test_damage_in_what_is_safe(path: Path) -> None:
    """Damage in groups that LMDB has doesn't matter."""
    places = filled(path, [b"one", b"two", b"three"])
    data = path.read_bytes()
    for bad in flips(data, places[0], places[1]):
        path.write_bytes(bad)
        assert found(path, FLUSHED + 3) == []


@pytest.mark.parametrize("sync", [False, True])
def test_what_stood_behind_a_damaged_group_never_comes_back(path: Path, sync: bool) -> None:
    """A group behind a lost one is never found, even if a new group fills the gap exactly."""
    places = filled(path, [b"one", b"two", b"three", b"four"], sync=False)
    data = path.read_bytes()
    for new in (b"2nd", b"", b"longer"):
        path.write_bytes(data[: places[1]] + bytes(GROUP) + data[places[1] + GROUP :])
        assert found(path) == [b"one"]
        appended(path, new, sync=sync)
        assert found(path) == [b"one", new]


def test_a_synced_group_says_only_what_is_sure(path: Path) -> None:
    """A group that was written before earlier ones were synced isn't marked as synced.

    So a power failure while it is brought there can't make a log unusable, and later ones prove again what they do.
    """
    places = filled(path, [b"one", b"two"], sync=False)
    log = opened(path, FLUSHED)
    log.append(b"three", False)
    places.append(log.size)
    log.append(b"four", True)
    places.append(log.size)
    data = path.read_bytes()
    path.write_bytes(data[: places[2]] + bytes(GROUP) + data[places[2] + GROUP :])
    assert found(path) == [b"one", b"two"]
    path.write_bytes(data)
    log.append(b"five", True)
    log.close()
    data = path.read_bytes()
    path.write_bytes(data[: places[3]] + bytes(GROUP) + data[places[3] + GROUP :])
    assert refusal(path) == f"it is damaged at byte {places[3]}, and acknowledged changes were there"


def test_sync_makes_groups_sure(path: Path) -> None:
    """After a sync, the next synced group is marked, and proves all groups before it."""
    log = opened(path)
    log.append(b"one", False)
    log.sync()
    end = log.size
    log.append(b"two", True)
    log.close()
    data = path.read_bytes()
    path.write_bytes(data[:HEADER] + bytes(end - HEADER) + data[end:])
    assert refusal(path) == f"it is damaged at byte {HEADER}, and acknowledged changes were there"
