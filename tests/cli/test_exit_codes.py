"""How the command ends: exit codes, one line for each failure, and quiet when nobody reads."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from pathlib import Path

import pytest
from in_process_command import Commands, Ended

from pyshard import errors
from pyshard.cli import one_key_commands, root_command
from pyshard.cli.exit_codes import ExitCode, exit_code_of, one_line
from pyshard.cli.signals import EndSignals, ExitOnInterrupt, interrupt_says
from pyshard.errors import PyshardError

CHECKOUT = Path(__file__).parents[2]

EXPECTED = {
    "ConfigError": 2,
    "InvalidKey": 2,
    "InvalidDocument": 2,
    "DocumentTooLarge": 2,
    "InvalidArgument": 2,
    "InvalidIndexName": 2,
    "BackupDamaged": 2,
    "Unavailable": 3,
    "Overloaded": 3,
    "NotConfigured": 3,
    "ShuttingDown": 3,
    "SnapshotEnded": 3,
    "TooManySnapshots": 3,
    "OutcomeUnknown": 4,
    "UnreadableRecord": 7,
    "ShardFull": 5,
    "StorageFailed": 5,
    "NotANumber": 5,
    "NotEmpty": 5,
    "IndexExists": 5,
    "IndexNotFound": 5,
    "NotAuthenticated": 5,
    "NotTrusted": 5,
    "PermissionDenied": 5,
}


@pytest.mark.parametrize(
    "cls", [cls for cls in vars(errors).values() if isinstance(cls, type) and issubclass(cls, PyshardError)]
)
def test_code_of(cls: type[PyshardError]) -> None:
    """Each error has its exit code; errors that aren't expected have 6."""
    assert exit_code_of(cls("why")) == EXPECTED.get(cls.__name__, 6)


def test_codes_are_documented() -> None:
    """docs/cli.md has a row for each exit code."""
    text = (CHECKOUT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert [code for code in ExitCode if f"\n| {code} | " not in text] == []


def test_one_line() -> None:
    """A message of several lines becomes one."""
    assert one_line("first\n  second\tthird\n") == "pyshard: first second third"
    assert one_line("\x1b]0;title\x07") == r"pyshard: \x1b]0;title\x07"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errors.OutcomeUnknown("maybe"), Ended(4, "", "pyshard: maybe\n")),
        (errors.InternalError("two\nlines"), Ended(6, "", "pyshard: two lines\n")),
        (KeyboardInterrupt(), Ended(130, "", "\npyshard: interrupted\n")),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), Ended(141, "", "")),
        (OSError(errno.ENOSPC, "No space left"), Ended(6, "", "pyshard: input or output: No space left\n")),
        (OSError(errno.EIO, "I/O error", "f.txt"), Ended(6, "", "pyshard: f.txt: I/O error\n")),
    ],
)
def test_failures(pyshard: Commands, monkeypatch: pytest.MonkeyPatch, error: BaseException, expected: Ended) -> None:
    """A failure is one line and an exit code."""

    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(one_key_commands, "put_as_it_is", fail)
    monkeypatch.setattr(root_command, "abandon", lambda: None)
    assert pyshard("has", "test") == expected


def test_a_bug_has_its_traceback(pyshard: Commands, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug shows its traceback."""
    monkeypatch.setattr(one_key_commands, "put_as_it_is", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        pyshard("has", "test")


class Exited(Exception):
    """Stands for the end of the process."""


def test_interrupt(monkeypatch: pytest.MonkeyPatch) -> None:
    """An interrupt writes its line and ends the process, without any exception on the way."""
    written: list[bytes] = []

    def leave(code: int) -> None:
        raise Exited(code)

    monkeypatch.setattr(sys, "stderr", io.StringIO())
    monkeypatch.setattr(os, "write", lambda _, data: written.append(data))
    monkeypatch.setattr(os, "_exit", leave)
    interrupt = ExitOnInterrupt()
    with pytest.raises(Exited, match="130"):
        interrupt(2, None)
    assert written == [b"pyshard: interrupted\n"]


def test_interrupt_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line of an interrupt can be replaced for a time, if the command handles the signal."""
    interrupt = ExitOnInterrupt()
    monkeypatch.setattr(signal, "getsignal", lambda _: interrupt)
    with interrupt_says(lambda: "stopped at 7"):
        assert interrupt.message() == "stopped at 7"
    assert interrupt.message() == "interrupted"
    monkeypatch.setattr(signal, "getsignal", lambda _: signal.SIG_IGN)
    with interrupt_says(lambda: "never told"):
        pass


@pytest.mark.parametrize(("now", "taken"), [("default_int_handler", [2]), ("SIG_IGN", [])])
def test_interrupt_leaves_an_ignored_signal_alone(monkeypatch: pytest.MonkeyPatch, now: str, taken: list[int]) -> None:
    """A command in the background, where SIGINT is ignored, goes on ignoring it."""
    installed: list[int] = []
    monkeypatch.setattr(signal, "getsignal", lambda _: getattr(signal, now))
    monkeypatch.setattr(signal, "signal", lambda number, _: installed.append(number))
    ExitOnInterrupt().install()
    assert installed == taken


@pytest.mark.parametrize(("hangup", "taken"), [("SIG_DFL", [2, 15, 1]), ("SIG_IGN", [2, 15])])
def test_end_signals(monkeypatch: pytest.MonkeyPatch, hangup: str, taken: list[int]) -> None:
    """`up` handles the signals that end it, but no hangup under nohup; an early signal is remembered."""
    installed: list[int] = []
    calls: list[str] = []
    monkeypatch.setattr(signal, "getsignal", lambda _: getattr(signal, hangup))
    monkeypatch.setattr(signal, "signal", lambda number, _: installed.append(int(number)))
    ending = EndSignals()
    ending.install()
    assert installed == taken
    before = ending.received
    ending(2, None)
    assert (before, ending.received) == (False, True)
    ending.on_signal = lambda: calls.append("end")
    ending(15, None)
    assert calls == ["end"]
