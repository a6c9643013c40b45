"""How a daemon ends: by a signal, with exit code 0; or before it starts, with one line and exit code 1.

Rules:

- SIGTERM and SIGINT stop the reactor, which drains. A second signal changes nothing: stopping has its own bounds.
- A mistake of the operator is one line on standard error, before twistd daemonizes.
"""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import NoReturn, Protocol

from twisted.application.service import Service
from twisted.logger import Logger

from pyshard.errors import ConfigError


def end(error: ConfigError) -> NoReturn:
    """End the process with an error's line on standard error and exit code 1."""
    raise SystemExit(f"pyshard: {error}")


class DaemonReactor(Protocol):
    """What `OrderlyExit` needs of a reactor."""

    def callWhenRunning(self, function: Callable[[], object]) -> object: ...
    def callLater(self, delay: float, function: Callable[..., object], *arguments: object) -> object: ...
    def callFromThread(self, function: Callable[..., object], *arguments: object) -> object: ...
    def stop(self) -> None: ...


class OrderlyExit(Service):
    """Has SIGTERM and SIGINT stop the reactor, and the process then end with exit code 0.

    Twisted's own handlers stop the reactor too, but then end the process by the signal, which supervisors take for a
    failure, and stop it once more at a second signal. Here a second one changes nothing: stopping has its own bounds.

    :param reactor: the one that twistd runs.
    """

    _log = Logger()

    def __init__(self, reactor: DaemonReactor) -> None:
        self._reactor = reactor
        self._stopping = False

    def startService(self) -> None:
        super().startService()
        # In the reactor's first turn: its own handlers are there by then.
        self._reactor.callWhenRunning(lambda: self._reactor.callLater(0, self._install))

    def handle(self, number: int, frame: object) -> None:
        """The signals' handler."""
        self._reactor.callFromThread(self._stop, signal.Signals(number).name)

    def _install(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.handle)

    def _stop(self, name: str) -> None:
        if not self._stopping:
            self._stopping = True
            self._log.info("Received {name}, shutting down.", name=name)
            self._reactor.stop()
