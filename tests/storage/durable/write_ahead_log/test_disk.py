"""What a failing disk leaves in a log file, and in which order the log calls the system.

tests/storage/durable/test_power.py has the disk lose its power at any moment.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from disks import System
from storage.durable.write_ahead_log.files import (
    FLUSHED,
    GROUP,
    PAYLOADS,
    appended,
    filled,
    found,
    found_beside,
    opened,
    refusal,
)


def test_the_order_of_calls(path: Path, system: System) -> None:
    """A new file and its name are synced before use; a group is written, then synced; a lap waits for its group."""
    log = opened(path)
    assert system.take() == ["pwrite", "fsync", "fsync of the folder"]
    log.append(b"one", True)
    assert system.take() == ["pwrite", "fdatasync"]
    log.append(b"two", False)
    assert system.take() == ["pwrite"]
    log.sync()
    assert system.take() == ["fdatasync"]
    log.begin_lap(3)
    assert system.take() == ["pwrite"]
    log.close()


def test_the_name_reaches_the_disk_before_a_group_does(path: Path, system: System) -> None:
    """The folder is synced by the next start, too, if the process that made the file may have been killed before."""
    system.failing = {"fsync of the folder"}
    assert refusal(path, 0) == "Input/output error"
    system.failing = set()
    system.take()
    opened(path).close()
    assert system.take() == ["pwrite", "fsync", "fsync of the folder"]
    opened(path, FLUSHED).close()
    assert system.take() == ["pwrite", "fsync"]


@pytest.mark.parametrize("name", ["pwrite", "fsync", "fsync of the folder"])
def test_a_log_that_cannot_be_made(path: Path, system: System, name: str) -> None:
    """A file that can't be made is refused in one line, nothing stays open, and the next try may succeed."""
    files = len(list(Path("/proc/self/fd").iterdir()))
    system.failing = {name}
    assert refusal(path, 0) == "Input/output error"
    assert len(list(Path("/proc/self/fd").iterdir())) == files
    system.failing = set()
    appended(path, b"one", 0)
    assert found(path) == [b"one"]


def test_a_start_settles_what_it_finds(path: Path, system: System) -> None:
    """A start syncs the groups that it finds, with nothing behind them, before another is written.

    They are written again for it, in case a sync failed before the process ended: it leaves them for synced.
    """
    places = filled(path, [b"one", b"two", b"three"], sync=False)
    data = path.read_bytes()
    path.write_bytes(data[: places[1]] + bytes(GROUP) + data[places[1] + GROUP :])
    system.take()
    log = opened(path, FLUSHED)
    assert (system.take(), path.stat().st_size) == (["pwrite", "truncate", "fsync"], places[1])
    log.close()
    assert path.read_bytes() == data[: places[1]]
    for name in ("pwrite", "truncate", "fsync"):
        system.failing = {name}
        assert refusal(path) == "Input/output error"


def test_short_writes(path: Path, system: System) -> None:
    """If the system writes only some bytes, the rest is written next."""
    for system.most in (1, 2, 7, 50):
        path.unlink(missing_ok=True)
        filled(path, [*PAYLOADS[:2], bytes(range(200))])
        assert found(path) == [*PAYLOADS[:2], bytes(range(200))]


@pytest.mark.parametrize("sync", [False, True])
def test_a_group_for_which_there_is_no_room(path: Path, system: System, sync: bool) -> None:
    """A group that didn't fit isn't in the log, however much of it was written; with room, the log goes on."""
    log = opened(path)
    log.append(b"one", sync)
    payload, payloads = b"refused", [b"one"]
    for room in range(GROUP + len(payload)):
        size, sequence = log.size, log.sequence
        system.room = room
        with pytest.raises(OSError, match="No space left on device"):
            log.append(payload, sync)
        assert (log.size, log.sequence, log.broken) == (size, sequence, False)
        assert path.stat().st_size == size
        assert system.take()[-2:] == ["truncate", "fdatasync"]
        system.room = None
        assert found_beside(path) == payloads
        payloads.append(b"%d" % room)
        log.append(payloads[-1], sync)
        assert found_beside(path) == payloads
    log.close()


@pytest.mark.parametrize("sync", [False, True])
def test_a_group_that_cannot_be_taken_back(path: Path, system: System, sync: bool) -> None:
    """When the rest of a refused group can't be cut off, the file is broken until a new lap begins.

    The lap's header is on the disk before anything else, for until then the refused group may be found.
    """
    log = opened(path)
    log.append(b"one", True)
    system.room, system.failing = 3, {"truncate"}
    with pytest.raises(OSError, match="No space left on device"):
        log.append(b"refused", sync)
    assert (log.broken, log.sequence) == (True, 2)
    system.room, system.failing = None, set()
    system.take()
    for _ in range(2):
        with pytest.raises(OSError, match="could not be mended"):
            log.append(b"refused, too", sync)
    assert system.take() == []
    for name in ("pwrite", "fdatasync"):
        system.failing = {name}
        with pytest.raises(OSError, match="Input/output error"):
            log.begin_lap(2)
        assert (log.broken, log.sequence) == (True, 2)
        system.failing = set()
        with pytest.raises(OSError, match="could not be mended"):
            log.append(b"refused, too", sync)
    system.take()
    log.begin_lap(2)
    assert (system.take(), log.broken) == (["pwrite", "fdatasync"], False)
    log.append(b"two", sync)
    assert system.take() == ["pwrite", "fdatasync"][: 1 + sync]
    log.close()
    assert found(path, 2) == [b"two"]


@pytest.mark.parametrize("once", [False, True])
def test_a_group_that_was_not_synced(path: Path, system: System, once: bool) -> None:
    """A group whose sync failed is cut off, and the file is broken, since a later sync may lie about it."""
    log = opened(path)
    log.append(b"one", True)
    system.failing, system.failing_once = set() if once else {"fdatasync"}, {"fdatasync"}
    with pytest.raises(OSError, match="Input/output error"):
        log.append(b"refused", True)
    system.failing = set()
    assert (log.broken, log.sequence, found_beside(path)) == (True, 2, [b"one"])
    with pytest.raises(OSError, match="could not be mended"):
        log.append(b"refused, too", True)
    log.begin_lap(2)
    log.append(b"two", True)
    log.close()
    assert found(path, 2) == [b"two"]


def test_groups_that_were_not_synced(path: Path, system: System) -> None:
    """Groups whose later sync fails stay in the file, and the file is broken: no group follows them."""
    log = opened(path)
    log.append(b"one", False)
    system.failing = {"fdatasync"}
    with pytest.raises(OSError, match="Input/output error"):
        log.sync()
    system.failing = set()
    log.sync()
    with pytest.raises(OSError, match="could not be mended"):
        log.append(b"refused", False)
    log.begin_lap(2)
    log.append(b"two", False)
    log.close()
    assert found(path, 2) == [b"two"]


def test_a_lap_that_does_not_begin(path: Path, system: System) -> None:
    """A file that may be in either lap is broken; a start finds nothing that LMDB lacks."""
    log = opened(path)
    log.append(b"one", True)
    system.failing = {"pwrite"}
    with pytest.raises(OSError, match="Input/output error"):
        log.begin_lap(2)
    system.failing = set()
    with pytest.raises(OSError, match="could not be mended"):
        log.append(b"refused", True)
    assert found_beside(path) == [b"one"]
    log.close()
    assert found(path, 2) == []
