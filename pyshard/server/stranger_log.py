"""A daemon's log of strangers: peers that have presented no token, or that are refused. They may come by thousands.

Rules:

- All of them together have a few lines a second, and more only when it was quiet before.
- How many lines were left out is told by the next one.
- An error of this daemon's own always has its line.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from zope.interface import implementer

from pyshard.settings import settings

#: Lines that may come at once when it was quiet before.
BURST = 50.0


class LinePace:
    """How many lines may stand in a log, by the time. Pure.

    :ivar left_out: how many didn't, since it was last set to 0.
    """

    def __init__(self) -> None:
        self._left = BURST
        self._at: float | None = None
        self.left_out = 0

    def admits(self, now: float) -> bool:
        """Whether one more line may; if not, it is counted.

        :param now: the time, in seconds.
        """
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._left = min(BURST, self._left + passed * settings.STRANGER_LINES)
        if self._left < 1:
            self.left_out += 1
            return False
        self._left -= 1
        return True


@implementer(ILogObserver)
class _Paced:
    """An observer that hands on what `LinePace` admits."""

    _log = Logger(namespace="pyshard.server")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._pace = LinePace()

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level") or LogLevel.info
        if level < LogLevel.error and not self._pace.admits(self._clock.seconds()):
            return
        left_out, self._pace.left_out = self._pace.left_out, 0
        if left_out:
            self._log.warn("{count:,} lines about peers without a role were left out", count=left_out)
        globalLogPublisher(event)


def stranger_log(clock: IReactorTime) -> Logger:
    """The log of one daemon's strangers.

    :param clock: the reactor.
    """
    return Logger(namespace="pyshard.server.connection", observer=_Paced(clock))
