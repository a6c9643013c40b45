"""What signals do to a daemon. tests/functional/test_signals.py sends them to real ones."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import pytest

from pyshard.errors import ConfigError
from pyshard.server import signals_and_exit
from pyshard.server.signals_and_exit import DaemonSignals


def test_end() -> None:
    """The process ends with the error's line on standard error (SystemExit prints a text) and exit code 1."""
    with pytest.raises(SystemExit) as ended:
        signals_and_exit.end(ConfigError("--port: found 'x', expected a port from 1 to 65535"))
    assert ended.value.code == "pyshard: --port: found 'x', expected a port from 1 to 65535"


class Running:
    """Stands in for a reactor: keeps what it was asked for."""

    def __init__(self) -> None:
        self.later: list[tuple[Callable[..., object], tuple[object, ...]]] = []
        self.stops = 0

    def callWhenRunning(self, function: Callable[[], object]) -> None:
        """It runs."""
        function()

    def callLater(self, delay: float, function: Callable[..., object], *arguments: object) -> None:
        """Keep it."""
        self.later.append((function, arguments))

    def callFromThread(self, function: Callable[..., object], *arguments: object) -> None:
        """At once."""
        function(*arguments)

    def stop(self) -> None:
        """Count; a reactor that is stopped twice would raise."""
        self.stops += 1


class Bench:
    """Signals of a daemon, whose handlers aren't really installed.

    :ivar handlers: what handles a signal in this process.
    :ivar terminals: which of the process's files are terminals.
    :ivar done: what was asked for.
    """

    def __init__(self, patched: pytest.MonkeyPatch) -> None:
        self.handlers: dict[int, object] = {}
        self.terminals: set[int] = set()
        self.done: list[str] = []
        self.reactor = Running()
        self.signals = DaemonSignals(
            self.reactor, lambda: self.done.append("reload"), lambda: self.done.append("rotate")
        )
        patched.setattr(signal, "signal", self.handlers.__setitem__)
        patched.setattr(signal, "getsignal", lambda number: self.handlers.get(number, signal.SIG_DFL))
        patched.setattr(os, "isatty", lambda number: number in self.terminals)

    def first_turn(self) -> None:
        """The reactor's first turn has come."""
        ((install, arguments),) = self.reactor.later
        install(*arguments)

    def send(self, number: int) -> None:
        """A signal arrives."""
        handler = self.handlers[number]
        assert callable(handler)
        handler(number, None)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """See `Bench`."""
    return Bench(monkeypatch)


def test_when_they_are_handled(bench: Bench) -> None:
    """Those that would end a start are handled at once; Twisted's own handlers are replaced in the first turn."""
    bench.signals.install()
    assert set(bench.handlers) == {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2}
    bench.first_turn()
    assert set(bench.handlers) == {signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2, signal.SIGTERM, signal.SIGINT}


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_the_reactor_is_stopped_once(bench: Bench, first: signal.Signals, log_lines: list[str]) -> None:
    """Each of these stops the reactor; any further one changes nothing."""
    bench.signals.install()
    bench.first_turn()
    for number in (first, signal.SIGTERM, signal.SIGUSR2, signal.SIGINT):
        bench.send(number)
    assert (bench.reactor.stops, bench.done) == (1, [])
    assert log_lines == [f"info: Received {first.name}, shutting down."]


def test_reload_and_rotate(bench: Bench) -> None:
    """SIGHUP and SIGUSR1 do what they are for, any number of times, and stop nothing."""
    bench.signals.install()
    for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGHUP):
        bench.send(number)
    assert (bench.reactor.stops, bench.done) == (0, ["reload", "rotate", "reload"])


def test_a_handler_of_the_users(bench: Bench) -> None:
    """What a --logger has installed for SIGUSR1 stays."""
    bench.handlers[signal.SIGUSR1] = own = object()
    bench.signals.install()
    assert bench.handlers[signal.SIGUSR1] is own


@pytest.mark.parametrize("terminal", [0, 1, 2])
def test_the_terminal_goes(bench: Bench, terminal: int, log_lines: list[str]) -> None:
    """A daemon in a terminal ends with it; a SIGHUP while it is there is one to reload."""
    bench.terminals = {terminal}
    bench.signals.install()
    bench.send(signal.SIGHUP)
    assert (bench.reactor.stops, bench.done) == (0, ["reload"])
    bench.terminals = set()
    bench.send(signal.SIGHUP)
    assert (bench.reactor.stops, bench.done) == (1, ["reload"])
    assert log_lines[1:] == ["info: The terminal has gone, shutting down."]


def test_nohup(bench: Bench) -> None:
    """A daemon that was started to outlive its terminal does, and still reloads."""
    bench.handlers[signal.SIGHUP] = signal.SIG_IGN
    bench.terminals = {0}
    bench.signals.install()
    bench.terminals = set()
    bench.send(signal.SIGHUP)
    assert (bench.reactor.stops, bench.done) == (0, ["reload"])
