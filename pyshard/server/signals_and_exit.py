"""What signals do to a daemon, and how it ends: with exit code 0; or before it starts, with one line and exit code 1.

Rules:

- SIGTERM, SIGINT and SIGUSR2 stop the reactor, which drains. A second one changes nothing: stopping has its own bounds.
- SIGHUP opens the log again, and reads tokens and certificates again. But when the terminal has gone in which a daemon
  was started, it drains.
- As process 1, in a container say, it has the kernel clear away orphans that end. It starts no processes itself.
- SIGUSR1 puts the log file aside, as twistd has it; without a log file it does nothing.
- A mistake of the operator is one line on standard error, before twistd daemonizes.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import NoReturn, Protocol

from twisted.logger import Logger

from pyshard.errors import PyshardError


def end(error: PyshardError) -> NoReturn:
    """End the process with an error's line on standard error and exit code 1."""
    raise SystemExit(f"pyshard: {error}")


class DaemonReactor(Protocol):
    """What `DaemonSignals` needs of a reactor."""

    def callWhenRunning(self, function: Callable[[], object]) -> object: ...
    def callLater(self, delay: float, function: Callable[..., object], *arguments: object) -> object: ...
    def callFromThread(self, function: Callable[..., object], *arguments: object) -> object: ...
    def stop(self) -> None: ...


class DaemonSignals:
    """The signals' handlers.

    Twisted's own for SIGTERM and SIGINT stop the reactor, too, but then end the process by the signal, which
    supervisors take for a failure, and stop it once more at a second signal. It has none for the others, so they would
    end the process at once.

    :param reactor: the one that twistd runs.
    :param reload: opens the log again, and reads files again.
    :param rotate: puts the log file aside.
    """

    _log = Logger()

    def __init__(self, reactor: DaemonReactor, reload: Callable[[], object], rotate: Callable[[], object]) -> None:
        self._reactor = reactor
        self._reload = reload
        self._rotate = rotate
        self._terminal: int | None = None
        self._stopping = False

    def install(self) -> None:
        """Handle the signals: most from now on, those that the reactor handles, too, from its first turn on."""
        ignored = signal.getsignal(signal.SIGHUP) is signal.SIG_IGN  # as under nohup: the terminal may go
        self._terminal = None if ignored else next(filter(os.isatty, range(3)), None)
        for number in (signal.SIGHUP, signal.SIGUSR2):
            signal.signal(number, self.handle)
        if signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL:  # else a --logger of the user's has it
            signal.signal(signal.SIGUSR1, self.handle)
        self._reactor.callWhenRunning(lambda: self._reactor.callLater(0, self._install_late))

    def handle(self, number: int, frame: object) -> None:
        """The signals' handler."""
        self._reactor.callFromThread(self._handle, signal.Signals(number))

    def _install_late(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle)
        if os.getpid() == 1:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:  # those that ended before
                    pass

    def _handle(self, number: signal.Signals) -> None:
        if number is signal.SIGUSR1:
            self._rotate()
        elif number is not signal.SIGHUP:
            self._stop(f"Received {number.name}")
        elif self._terminal is not None and not os.isatty(self._terminal):
            self._stop("The terminal has gone")
        else:
            self._log.info("Received SIGHUP, reading tokens and certificates again.")
            self._reload()

    def _stop(self, why: str) -> None:
        if not self._stopping:
            self._stopping = True
            self._log.info("{why}, shutting down.", why=why)
            self._reactor.stop()
