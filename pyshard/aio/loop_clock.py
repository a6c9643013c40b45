"""The clock of an event loop, as Twisted's code wants one: it gives the time, and makes calls later.

Rules:

- It is the steady clock of `pyshard.clocks`. The loop's own timers are steady, too, but stand still while the machine
  is suspended, and uvloop's count whole milliseconds. So the loop only wakes a call, which then looks at the clock: it
  is never made early, and after a suspend no later than the loop would have made it.
- A call without a delay is the loop's `call_soon`, so it comes in the loop's next turn. That gathers operations.
- What a call raises is reported by the loop, as it reports all that is raised in its callbacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from pyshard.clocks import steady_seconds


@implementer(IReactorTime)
class LoopClock:
    """The clock of a loop.

    :param loop: wakes the calls.
    :param seconds: gives the time.
    :ivar loop: the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: Callable[[], float] = steady_seconds) -> None:
        self.loop = loop
        self._seconds = seconds

    def seconds(self) -> float:
        """See `IReactorTime`."""
        return self._seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """See `IReactorTime`."""
        return ScheduledCall(self, delay, callable, args, kw)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """See `IReactorTime`; a loop doesn't tell which calls wait."""
        raise NotImplementedError("an event loop doesn't tell which calls wait")


@implementer(IDelayedCall)
class ScheduledCall:
    """A call that a loop makes once."""

    __slots__ = ("_arguments", "_called", "_cancelled", "_clock", "_function", "_handle", "_keywords", "_time")

    def __init__(
        self,
        clock: LoopClock,
        delay: float,
        function: Callable[..., object],
        arguments: tuple[object, ...],
        keywords: dict[str, object],
    ) -> None:
        self._clock = clock
        self._function = function
        self._arguments = arguments
        self._keywords = keywords
        self._called = self._cancelled = False
        self._time: float | None = None if delay <= 0 else clock.seconds() + delay  # None: in the next turn
        self._handle: asyncio.Handle = self._scheduled()

    def active(self) -> bool:
        """See `IDelayedCall`."""
        return not (self._called or self._cancelled)

    def cancel(self) -> None:
        """See `IDelayedCall`."""
        self._check_active()
        self._cancelled = True
        self._handle.cancel()

    def getTime(self) -> float:
        """See `IDelayedCall`."""
        return self._clock.seconds() if self._time is None else self._time

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803  # the interface's
        """See `IDelayedCall`."""
        self._move(self._clock.seconds() + secondsFromNow)

    def delay(self, secondsLater: float) -> None:  # noqa: N803  # the interface's
        """See `IDelayedCall`."""
        self._move(self.getTime() + secondsLater)

    def _move(self, time: float) -> None:
        self._check_active()
        self._handle.cancel()
        self._time = time
        self._handle = self._scheduled()

    def _scheduled(self) -> asyncio.Handle:
        if self._time is None:
            return self._clock.loop.call_soon(self._call)
        return self._clock.loop.call_later(max(0.0, self._time - self._clock.seconds()), self._call)

    def _call(self) -> None:
        if self._time is not None and self._clock.seconds() < self._time:  # the loop's timers are a little coarser
            self._handle = self._scheduled()
            return
        self._called = True
        self._function(*self._arguments, **self._keywords)

    def _check_active(self) -> None:
        if self._cancelled:
            raise AlreadyCancelled
        if self._called:
            raise AlreadyCalled
