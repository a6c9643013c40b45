"""Tells systemd how a daemon fares, by its protocol for services of ``Type=notify`` (sd_notify(3)).

Rules:

- ``READY=1`` is told once the daemon listens, and ``STOPPING=1`` when it begins to drain.
- While the reactor runs, it tells ``WATCHDOG=1`` twice in each interval that systemd gives it (``WatchdogSec=``), by
  the steady clock. So a daemon whose reactor hangs is ended and started again.
- ``STATUS=`` is one line for ``systemctl status``, told again when it has changed.
- A message that systemd has no room for is told again with the next one; nothing here waits, or stops the daemon.
- Without ``NOTIFY_SOCKET`` in its environment a daemon tells nobody anything.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from pyshard.message_texts import of_peer

#: Seconds between two messages where no watchdog wants them more often: so old a status may be.
INTERVAL = 10.0

_LONGEST = 200  # characters of a status


def socket_name(given: str) -> str | None:
    """The name of systemd's socket, as the system takes it; None: it is of no kind that is known here.

    :param given: a path, or ``@`` and a name that no file has ("abstract").
    """
    if given.startswith("@"):
        return "\0" + given[1:]
    return given if given.startswith("/") else None


def watchdog_interval(environment: Mapping[str, str], pid: int) -> float | None:
    """Seconds within which systemd wants to hear from a process; None: it doesn't.

    :param pid: the process.
    """
    given = environment.get("WATCHDOG_USEC", "")
    if environment.get("WATCHDOG_PID", str(pid)) != str(pid):  # it is for the process that started this one
        return None
    return int(given) / 1e6 if given.isascii() and given.isdigit() and len(given) < 16 and int(given) else None


class SystemdNotifier:
    """Tells systemd of one daemon.

    :param name: the socket's, as `socket_name` gives it.
    :param watchdog: seconds within which systemd wants to hear from it; None: it doesn't.
    :param clock: the reactor.
    """

    _log = Logger()

    def __init__(self, name: str, watchdog: float | None, clock: IReactorTime) -> None:
        self._name = name
        self._watched = watchdog is not None
        self._pause = INTERVAL if watchdog is None else min(watchdog / 2, INTERVAL)
        self._clock = clock
        self._status: Callable[[], str] = str
        self._told = ""
        self._waiting: list[str] = []  # what systemd had no room for
        self._complained = False
        self._next: IDelayedCall | None = None
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)

    def ready(self, status: Callable[[], str]) -> None:
        """Tell that the daemon serves, and go on telling how it fares.

        :param status: gives that as one line.
        """
        self._status = status
        self._waiting.append("READY=1")
        self._go_on()

    def stopping(self) -> None:
        """Tell that the daemon drains; the watchdog is told on, since that takes a while."""
        self._status = lambda: "draining"
        self._waiting.append("STOPPING=1")
        if self._next is not None:
            self._next.cancel()
        self._go_on()

    def close(self) -> None:
        """Tell nothing more."""
        call, self._next = self._next, None
        if call is not None:
            call.cancel()
        self._socket.close()

    # ------------------------------------------------------------------ inside

    def _go_on(self) -> None:
        """Tell what is to be told now, and again after a while."""
        self._next = self._clock.callLater(self._pause, self._go_on)
        lines = list(self._waiting)
        status = of_peer(self._status(), _LONGEST)  # names in it come from others
        if status != self._told:
            lines.append(f"STATUS={status}")
        if self._watched:
            lines.append("WATCHDOG=1")
        if lines and self._send("\n".join(lines)):
            self._waiting.clear()
            self._told = status

    def _send(self, message: str) -> bool:
        """Whether systemd has a message."""
        try:
            self._socket.sendto(message.encode(), self._name)
        except BlockingIOError:
            return False
        except OSError as error:
            if not self._complained:
                self._complained = True
                self._log.warn("systemd can't be told how this daemon fares: {why}", why=error.strerror or str(error))
            return False
        return True


def systemd_notifier(environment: Mapping[str, str], pid: int, clock: IReactorTime) -> SystemdNotifier | None:
    """What tells systemd of this daemon; None: systemd didn't start it, or doesn't want to know.

    :param environment: this process's.
    :param pid: this process.
    :param clock: the reactor.
    """
    given = environment.get("NOTIFY_SOCKET")
    if not given:
        return None
    name = socket_name(given)
    if name is None:
        SystemdNotifier._log.warn(
            "NOTIFY_SOCKET: found {given!r}, expected a path or @NAME; systemd isn't told how this daemon fares",
            given=of_peer(given, _LONGEST),
        )
        return None
    return SystemdNotifier(name, watchdog_interval(environment, pid), clock)
