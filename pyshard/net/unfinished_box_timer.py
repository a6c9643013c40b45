"""The time that a peer has to finish a box that it began, so that half a box isn't held for ever."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.protocol.boxes import BoxParser


class UnfinishedBoxTimer:
    """Times the boxes of one connection. Each that is begun gets its own time.

    :param clock: the reactor.
    """

    __slots__ = ("_clock", "_timer")

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._timer: IDelayedCall | None = None

    def start(self, parser: BoxParser, late: Callable[[str], None]) -> None:
        """Give the box that was begun its time, unless one has it already; a later box gets its own.

        :param parser: what parses the boxes; its limits say how long one may take.
        :param late: is called with what the peer did wrong.
        """
        if self._timer is None:
            self._start(parser, late)

    def stop(self) -> None:
        """Time nothing any more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _start(self, parser: BoxParser, late: Callable[[str], None]) -> None:
        boxes = parser.boxes

        def over() -> None:
            self._timer = None
            if parser.boxes == boxes:
                late(f"a box that was not finished within {parser.limits.unfinished:g} s")
            else:
                self._start(parser, late)

        self._timer = self._clock.callLater(parser.limits.unfinished, over)
