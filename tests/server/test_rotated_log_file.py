"""A daemon's log file: how large it becomes, what is kept, and what happens when another program moves it."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from twisted.logger import LogLevel

from pyshard.errors import ConfigError
from pyshard.server.daemon_log import chosen_log
from pyshard.server.rotated_log_file import DaemonLog, LogBounds, log_bounds
from pyshard.server.twistd_file_options import TwistdFiles
from pyshard.settings import settings

LINE = "x" * 99 + "\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the log is."""
    return tmp_path / "shard.log"


@pytest.fixture
def umask() -> Iterator[None]:
    """A umask that leaves files open to all."""
    before = os.umask(0)
    yield
    os.umask(before)


Open: TypeAlias = Callable[..., DaemonLog]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens logs: their path, size and count."""
    with ExitStack() as stack:

        def open_log(path: Path, size: int = 0, count: int = 1) -> DaemonLog:
            log = DaemonLog(path, 0o600, LogBounds(size, count))
            stack.callback(log.close)
            return log

        yield open_log


def mode_of(path: Path) -> int:
    """The permissions of a file."""
    return stat.S_IMODE(path.stat().st_mode)


def test_size(path: Path, opened: Open) -> None:
    """A file that has so many bytes is put aside before the next line; one that has fewer is not."""
    log = opened(path, 300)
    for _ in range(3):
        log.write(LINE)
    assert [each.name for each in path.parent.iterdir()] == ["shard.log"]
    log.write("next\n")
    assert (path.read_text(), path.with_suffix(".log.1").read_text()) == ("next\n", LINE * 3)


def test_count(path: Path, opened: Open) -> None:
    """So many files are kept beside the present one: the newest."""
    log = opened(path, 100, 2)
    for number in range(7):
        log.write(f"{number:99}\n")
    assert sorted(each.name for each in path.parent.iterdir()) == ["shard.log", "shard.log.1", "shard.log.2"]
    texts = [path.with_name(name).read_text().strip() for name in ("shard.log", "shard.log.1", "shard.log.2")]
    assert texts == ["6", "5", "4"]


def test_never(path: Path, opened: Open) -> None:
    """With 0 it grows: another program sees to it."""
    log = opened(path)
    for _ in range(1000):
        log.write(LINE)
    assert path.stat().st_size == 100_000
    assert list(path.parent.iterdir()) == [path]


def test_moved_away(path: Path, opened: Open) -> None:
    """A file that another program has moved keeps what it has; what comes after goes into a new one at its place."""
    log = opened(path)
    log.write("before\n")
    moved = path.rename(path.with_name("moved"))
    log.write("still there\n")
    log.reopen()
    log.write("after\n")
    assert (moved.read_text(), path.read_text()) == ("before\nstill there\n", "after\n")
    assert mode_of(path) == 0o600


def test_not_moved(path: Path, opened: Open) -> None:
    """A file that is where it was is gone on with at its end, and nothing stays open."""
    log = opened(path)
    files = len(list(Path("/proc/self/fd").iterdir()))
    for number in range(3):
        log.write(f"{number}\n")
        log.reopen()
    assert path.read_text() == "0\n1\n2\n"
    assert len(list(Path("/proc/self/fd").iterdir())) == files


def test_not_to_be_opened_again(path: Path, opened: Open, log_lines: list[str]) -> None:
    """Where no new file can be made, the log goes on in the one that is open, and says so in one line."""
    log = opened(path)
    moved = path.rename(path.with_name("moved"))
    path.mkdir()
    log.reopen()
    log.write("after\n")
    assert moved.read_text() == "after\n"
    assert log_lines == [
        f"warn: log file {path}: it can't be opened again (Is a directory); the log goes on in the one that is open"
    ]


def test_put_aside(path: Path, opened: Open) -> None:
    """It is put aside on request, whatever its size."""
    log = opened(path)
    log.write("before\n")
    log.rotate()
    log.write("after\n")
    assert (path.with_suffix(".log.1").read_text(), path.read_text()) == ("before\n", "after\n")


def test_other_threads_keep_their_umask(path: Path, opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the whole process's: a file that another thread made meanwhile would have another mode."""
    changed: list[int] = []
    monkeypatch.setattr(os, "umask", changed.append)
    log = opened(path)
    log.write("before\n")
    log.rotate()
    log.write("after\n")
    path.unlink()
    log.reopen()
    assert (changed, mode_of(path), mode_of(path.with_suffix(".log.1"))) == ([], 0o600, 0o600)


@pytest.mark.usefixtures("umask")
def test_modes(path: Path, opened: Open) -> None:
    """A new file is its owner's alone, also after one was put aside; one that another program made keeps its mode."""
    log = opened(path)
    assert mode_of(path) == 0o600
    log.rotate()
    assert mode_of(path) == 0o600
    path.unlink()
    path.touch(0o640)  # as logrotate's "create" does
    path.chmod(0o640)
    log.reopen()
    log.write("after\n")
    assert (mode_of(path), path.read_text()) == (0o640, "after\n")
    assert mode_of(path.with_suffix(".log.1")) == 0o600


def test_a_device(opened: Open) -> None:
    """A device has no size: it is written to for ever, and never put aside."""
    log = opened(Path("/dev/null"), 100)
    for _ in range(10):
        log.write(LINE)
    assert Path("/dev/null").is_char_device()
    assert not Path("/dev/null.1").exists()


def test_events(path: Path, opened: Open) -> None:
    """Its observer writes events as twistd's does: a line with time, source and text, at once."""
    log = opened(path)
    log.observer()({"log_format": "{what} é", "what": "hello", "log_level": LogLevel.info, "log_time": 0.0})
    assert path.read_text(encoding="utf-8").endswith(" [-#info] hello é\n")


def test_a_file_that_cannot_be_written(tmp_path: Path, opened: Open) -> None:
    """It is refused in one line, before the daemon starts."""
    with pytest.raises(ConfigError) as refused:
        opened(tmp_path / "none" / "shard.log")
    assert str(refused.value) == (f"--logfile: {tmp_path}/none/shard.log can't be written: no such file or directory")


# -- the options ----------------------------------------------------------------------------------------------------


def options(size: object = None, count: object = None) -> dict[str, Any]:
    """A daemon's options about its log."""
    return {"log-format": "text", "log-size": size, "log-count": count}


@pytest.mark.parametrize(
    ("given", "bounds"),
    [
        (options(), LogBounds(settings.LOG_BYTES, settings.LOG_FILES)),
        (options("0"), LogBounds(0, settings.LOG_FILES)),
        (options("1000000", "3"), LogBounds(1_000_000, 3)),
        (options(None, "1"), LogBounds(settings.LOG_BYTES, 1)),
    ],
)
def test_options(given: dict[str, Any], bounds: LogBounds, path: Path) -> None:
    """The options set size and count; each has a default."""
    assert log_bounds(given, TwistdFiles(path)) == bounds


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (options("1M"), "--log-size: found '1M', expected a number from 0 to 999999999999999"),
        (options("-1"), "--log-size: found '-1', expected a number from 0 to 999999999999999"),
        (options(None, "0"), "--log-count: found '0', expected a number from 1 to 999999999999999"),
    ],
)
def test_bad_options(given: dict[str, Any], message: str, path: Path) -> None:
    """What is no such number is refused in one line."""
    with pytest.raises(ConfigError) as refused:
        log_bounds(given, TwistdFiles(path))
    assert str(refused.value) == message


@pytest.mark.parametrize(("given", "name"), [(options("5"), "--log-size"), (options(None, "5"), "--log-count")])
def test_options_without_a_file(given: dict[str, Any], name: str) -> None:
    """Bounds where there is no log file would do nothing, so they are refused."""
    with pytest.raises(ConfigError) as refused:
        chosen_log(given, TwistdFiles())
    assert str(refused.value) == (
        f"{name}: found it, and twistd logs to no file; expected its --logfile FILE before the plugin's name, and "
        "neither --syslog nor --logger"
    )
