"""Groups that are cut off a log, a broken log that is mended where it is, and one that is begun anew.

Whatever call of the system fails, and wherever it all stops, a start that knows of the cut finds the groups that stay,
and no others. Once a cut has returned, it needn't know.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from disks import Disk, Stopped, System, put_under_logs
from storage.durable.write_ahead_log.files import FLUSHED, IDENTITY, found_beside
from storage.durable.write_ahead_log.files import opened as opened_file
from storage.durable.write_ahead_log.test_segments import filled, rotated
from stores import folder

from pyshard.storage.durable.write_ahead_log import WriteAheadLog


@pytest.fixture
def where() -> Iterator[Path]:
    """The folder of a log."""
    with folder() as made:
        yield made


def text_of(where: Path, files: int, until: int | None = None) -> str:
    """What a start finds, in letters; the first group has number 2."""
    log = WriteAheadLog(lambda number: where / f"log-{number}", IDENTITY, FLUSHED, files, until=until)
    log.close()
    return b"".join(group.payload[:1] for group in log.groups).decode()


LAPS = ("abc", "def", "", "gh")
WHOLE = "".join(LAPS)


@pytest.mark.parametrize("left", range(len(WHOLE) + 1))
def test_a_cut(where: Path, left: int) -> None:
    """Whichever segments have them, the groups above a number go, and others take their numbers."""
    log = filled(where, *LAPS)
    log.cut(FLUSHED + left)
    assert (log.sequence, log.synced, log.broken) == (FLUSHED + left, FLUSHED + left, False)
    log.append(b"X", True)
    rotated(log)
    log.append(b"Y", True)
    files = log.files
    log.close()
    assert text_of(where, files) == WHOLE[:left] + "XY"
    assert text_of(where, files) == WHOLE[:left] + "XY"


@pytest.mark.parametrize("name", ["truncate", "fdatasync", "fsync", "pwrite"])
@pytest.mark.parametrize("left", [0, 2, 4, 7])
def test_a_cut_that_fails(where: Path, system: System, left: int, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The log is broken until it succeeds, and takes no group; each call may fail."""
    for broken in range(1, 12):
        path = where / str(broken)
        path.mkdir()
        log = filled(path, *LAPS)
        system.take()
        calls = [0]

        def fail_once(called: str, calls: list[int] = calls, broken: int = broken) -> None:
            calls[0] += called == name
            if called == name and calls[0] == broken:
                raise OSError(5, "Input/output error")

        monkeypatch.setattr(system, "_called", fail_once)
        try:
            log.cut(FLUSHED + left)
        except OSError:
            assert log.sequence in (FLUSHED + left, FLUSHED + len(WHOLE))
            if log.broken:
                with pytest.raises(OSError, match="mended"):
                    log.append(b"X", True)
                log.mend()
            log.cut(FLUSHED + left)
            assert (log.sequence, log.broken) == (FLUSHED + left, False)
            log.append(b"X", True)
            log.close()
            assert text_of(path, log.files) == WHOLE[:left] + "X"
        else:
            log.close()
            return
    raise AssertionError("it fails too often")


def test_a_cut_and_power_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start that knows of the cut finishes it. One that doesn't finds no others, once the cut is done."""
    stopped = 0
    for seed in range(300):
        random = Random(seed)
        with folder() as where, monkeypatch.context() as patched:
            disk = Disk(random)
            put_under_logs(patched, disk)
            log = filled(where, *LAPS, size=random.choice([1, 700]))
            left, done = random.randrange(len(WHOLE)), False
            disk.danger, disk.trouble = 0.05, random.choice([0, 0.1])
            try:
                log.cut(FLUSHED + left)
                done = True
            except (Stopped, OSError):
                stopped += 1
            disk.danger = disk.trouble = 0
            disk.stop(power=True)
            assert text_of(where, log.files, None if done else FLUSHED + left) == WHOLE[:left], seed
            assert text_of(where, log.files) == WHOLE[:left], seed
    assert stopped > 50


def test_mending(path: Path, system: System) -> None:
    """A file that is broken takes groups again, with the next number, and the refused one never comes back."""
    log = opened_file(path)
    log.append(b"one", True)
    system.failing = {"fdatasync", "truncate"}
    with pytest.raises(OSError, match="Input/output"):
        log.append(b"refused", True)
    assert log.broken
    with pytest.raises(OSError, match="Input/output"):
        log.mend()
    assert log.broken
    system.failing = set()
    system.take()
    log.mend()
    assert system.take() == ["pwrite", "truncate", "fdatasync"]
    assert (log.broken, log.sequence, log.synced) == (False, FLUSHED + 1, FLUSHED + 1)
    assert found_beside(path) == [b"one"]
    log.append(b"two", True)
    log.close()
    assert found_beside(path) == [b"one", b"two"]


def test_what_cannot_be_mended(path: Path) -> None:
    """A file in which acknowledged groups are damaged stays broken."""
    log = opened_file(path)
    log.append(b"one", True)
    log.broken = True
    data = path.read_bytes()
    path.write_bytes(data[:-1] + b"X")
    with pytest.raises(OSError, match="damaged"):
        log.mend()
    assert log.broken
    log.close()


@pytest.mark.parametrize("sequence", [1, 3, 100])
def test_to_begin_anew(where: Path, sequence: int) -> None:
    """No start finds what there was before, whatever the new numbers are."""
    log = filled(where, *LAPS)
    log.release(FLUSHED + 3)
    log.begin_anew(sequence)
    assert (log.sequence, log.kept, log.broken) == (sequence, [], False)
    log.append(b"X", True)
    rotated(log)
    log.append(b"Y", True)
    log.close()
    again = WriteAheadLog(lambda number: where / f"log-{number}", IDENTITY, sequence, log.files)
    assert [(group.sequence, group.payload) for group in again.groups] == [(sequence + 1, b"X"), (sequence + 2, b"Y")]
    again.close()
