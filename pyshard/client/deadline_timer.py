"""A timer for many deadlines: one call of the reactor, at the earliest of them."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime


class DeadlineTimer:
    """Calls a function once the earliest of the times that it was given has come.

    :param clock: the reactor, or a clock in its place.
    :param due: the function.
    :ivar at: the time, in the clock's seconds; infinite while none is set.
    """

    def __init__(self, clock: IReactorTime, due: Callable[[], None]) -> None:
        self._clock = clock
        self._due = due
        self._call: IDelayedCall | None = None
        self.at = float("inf")

    def set_by(self, at: float) -> None:
        """Call by this time at the latest."""
        if at >= self.at:
            return
        self.cancel()
        self.at = at
        self._call = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._fire)

    def cancel(self) -> None:
        """Call nothing until another time is set."""
        call, self._call = self._call, None
        self.at = float("inf")
        if call is not None and call.active():
            call.cancel()

    def _fire(self) -> None:
        self._call = None
        self.at = float("inf")
        self._due()
