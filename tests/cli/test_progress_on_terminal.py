"""Progress on a terminal: there after a second, gone at the end, and nowhere else."""

from __future__ import annotations

import io
import sys

import pytest

from pyshard.cli.progress_on_terminal import ProgressOnTerminal


class Terminal(io.StringIO):
    """A standard error that says it is a terminal."""

    def isatty(self) -> bool:
        """It does."""
        return True


def terminal_for(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """What standard error is from now on. No fixture: pytest exchanges standard error between setup and test."""
    made = Terminal()
    monkeypatch.setattr(sys, "stderr", made)
    monkeypatch.setenv("TERM", "xterm")
    return made


def test_bar_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal shows a bar, also before the first documents are done."""
    terminal = terminal_for(monkeypatch)
    with ProgressOnTerminal("documents restored", after=0) as bar:
        assert "0 documents restored" in terminal.getvalue()
        bar.show(500, 2000)
        bar.show(1500, 2000)
    assert "1,500 documents restored" in terminal.getvalue()
    assert "75%" in terminal.getvalue()


def test_bar_in_another_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is counted in front may be something else than what the bar measures."""
    terminal = terminal_for(monkeypatch)
    with ProgressOnTerminal("documents written", after=0) as bar:
        bar.show(50, 100, 7)
    assert "7 documents written" in terminal.getvalue()
    assert "50%" in terminal.getvalue()


def test_no_bar_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is over in time shows nothing."""
    terminal = terminal_for(monkeypatch)
    with ProgressOnTerminal("documents restored", after=3600) as bar:
        bar.show(1500, 2000)
        timer = bar._timer
        assert timer is not None
        assert timer.daemon
    timer.join(5)  # it was cancelled
    assert not timer.is_alive()
    assert terminal.getvalue() == ""


def test_a_bar_that_comes_too_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer that fires as the work ends begins no bar any more: nobody would take it away."""
    terminal = terminal_for(monkeypatch)
    with ProgressOnTerminal("documents restored", after=3600) as bar:
        bar.show(1, 2)
    bar._begin()
    assert terminal.getvalue() == ""


def test_it_begins_late(monkeypatch: pytest.MonkeyPatch) -> None:
    """When its time has come, the bar shows what was done until then."""
    terminal = terminal_for(monkeypatch)
    with ProgressOnTerminal("keys written", after=3600) as bar:
        bar.show(7, None)
        assert bar._timer is not None
        bar._timer.function()
        assert "7 keys written" in terminal.getvalue()


@pytest.mark.parametrize("error", [io.StringIO(), None])
def test_no_bar_elsewhere(monkeypatch: pytest.MonkeyPatch, error: io.StringIO | None) -> None:
    """A standard error that is no terminal, or isn't there, gets nothing."""
    monkeypatch.setattr(sys, "stderr", error)
    with ProgressOnTerminal("documents restored", after=0) as bar:
        bar.show(1500, 2000)
    assert error is None or error.getvalue() == ""
