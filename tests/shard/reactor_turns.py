"""A clock that has turns as a reactor has."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import Clock

#: Seconds of a turn in which nothing takes time.
TURN = 0.001


class TurningClock(Clock):
    """A clock that calls in its next turn what is to be called at once, as a reactor does, and not in this one."""

    def callLater(  # names of Twisted
        self,
        delay: float,
        callable: Callable[..., object],
        *args: object,
        **kw: object,
    ) -> IDelayedCall:
        """As that of a Clock."""
        return super().callLater(max(delay, TURN), callable, *args, **kw)

    def turn(self) -> None:
        """Have one turn."""
        self.advance(TURN)
