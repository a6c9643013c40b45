"""A daemon's lines about its connections, which peers could have written by thousands.

Rules:

- All lines of one kind together are a few a second, and more only when it was quiet before. Those about peers that have
  presented no token, or that are refused, are a kind of their own, so that they don't take the others' place.
- How many lines were left out is told before the next one, by a line that counts, too.
- An error of this daemon's own isn't left out here. Whether it stands in the log says `pyshard.server.repeated_errors`.
"""

from __future__ import annotations

from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, Logger, LogLevel, globalLogPublisher
from zope.interface import implementer

from pyshard.metrics.line_pace import LinePace


@implementer(ILogObserver)
class _Paced:
    """An observer that hands on what `LinePace` admits."""

    _log = Logger(namespace="pyshard.server")

    def __init__(self, clock: IReactorTime, lines: float, of: str) -> None:
        self._clock = clock
        self._pace = LinePace(lines)
        self._of = of

    def __call__(self, event: LogEvent) -> None:
        level = event.get("log_level") or LogLevel.info
        if level < LogLevel.error and not self._pace.admits(self._clock.seconds()):
            return
        left_out, self._pace.left_out = self._pace.left_out, 0
        if left_out:
            self._log.warn("{count:,} lines about {of} were left out", count=left_out, of=self._of)
        globalLogPublisher(event)


def paced_log(clock: IReactorTime, lines: float, of: str) -> Logger:
    """The log for one kind of lines.

    :param clock: the reactor.
    :param lines: how many a second.
    :param of: what the lines are about, as the line says that tells how many were left out.
    """
    return Logger(namespace="pyshard.server.connection", observer=_Paced(clock, lines, of))
