"""The clock of an event loop, as Twisted's code wants one: it gives the time, and makes calls later.

Rules:

- A call without a delay is the loop's `call_soon`, so it comes in the loop's next turn. That gathers operations.
- What a call raises is reported by the loop, as it reports all that is raised in its callbacks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from twisted.internet.error import AlreadyCalled, AlreadyCancelled
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer


@implementer(IReactorTime)
class LoopClock:
    """The clock of a loop.

    :ivar loop: the loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop

    def seconds(self) -> float:
        """See `IReactorTime`."""
        return self.loop.time()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """See `IReactorTime`."""
        return ScheduledCall(self.loop, delay, callable, args, kw)

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """See `IReactorTime`; a loop doesn't tell which calls wait."""
        raise NotImplementedError("an event loop doesn't tell which calls wait")


@implementer(IDelayedCall)
class ScheduledCall:
    """A call that a loop makes once."""

    __slots__ = ("_arguments", "_called", "_cancelled", "_function", "_handle", "_keywords", "_loop", "_time")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        delay: float,
        function: Callable[..., object],
        arguments: tuple[object, ...],
        keywords: dict[str, object],
    ) -> None:
        self._loop = loop
        self._function = function
        self._arguments = arguments
        self._keywords = keywords
        self._called = self._cancelled = False
        self._time: float | None = None if delay <= 0 else loop.time() + delay  # None: in the next turn
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
        return self._loop.time() if self._time is None else self._time

    def reset(self, secondsFromNow: float) -> None:  # noqa: N803  # the interface's
        """See `IDelayedCall`."""
        self._move(self._loop.time() + secondsFromNow)

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
            return self._loop.call_soon(self._call)
        return self._loop.call_at(self._time, self._call)

    def _call(self) -> None:
        self._called = True
        self._function(*self._arguments, **self._keywords)

    def _check_active(self) -> None:
        if self._cancelled:
            raise AlreadyCancelled
        if self._called:
            raise AlreadyCalled
