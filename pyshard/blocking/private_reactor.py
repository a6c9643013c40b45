"""The reactor of a blocking client: apart from the process's own, and fast for one call at a time.

Rules:

- it installs no signal handlers, and its threads, which resolve names, never delay the exit of the process;
- other threads may ask it for calls at any time; they wake it only while it sleeps;
- private names of Twisted's reactors stay in this module.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from twisted.internet.base import DelayedCall
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.threadpool import ThreadPool

try:
    from twisted.internet.epollreactor import EPollReactor
except ImportError:  # pragma: no cover  # no epoll on this system
    from twisted.internet.selectreactor import SelectReactor as _Reactor
else:

    class _Reactor(EPollReactor):  # type: ignore[no-redef]  # whichever there is
        def doPoll(self, timeout: float | None) -> None:
            """Poll as Twisted does, but without a logging context around each event, which costs a dozen calls."""
            for fd, event in self._poller.poll(-1 if timeout is None else timeout, len(self._selectables)):
                selectable = self._selectables.get(fd)
                if selectable is not None:  # else an event before this one removed it
                    self._doReadOrWrite(selectable, fd, event)

        doIteration = doPoll


_RESOLVERS = 4  # threads that resolve names
_failures = Logger().failureHandler("while handling timed call")


class PrivateReactor(_Reactor):
    """A reactor that isn't the process's own."""

    _registerAsIOThread = False
    _resolvers: ThreadPool | None = None

    def __init__(self) -> None:
        self._soon: list[DelayedCall] = []
        self._waiting = False  # whether it may sleep until a descriptor is ready
        self._woken = False  # whether it has been woken from that
        super().__init__()

    def callLater(self, delay: float, callable: Callable[..., Any], *args: object, **kw: object) -> DelayedCall:
        """See `IReactorTime`; a call without a delay skips the heap of timers."""
        call = super().callLater(delay, callable, *args, **kw)
        if not delay:
            self._soon.append(self._newTimedCalls.pop())
        return call

    def call_due(self) -> float | None:
        """Make the calls that are due, with less work than `runUntilCurrent` where nothing is.

        :return: seconds until the next call is due; None: there is none.
        """
        if self.threadCallQueue:
            super().runUntilCurrent()
        if self._soon:
            self._call_soon()
        seconds = super().timeout()
        if seconds == 0:
            super().runUntilCurrent()
            seconds = super().timeout()
        return 0 if self._soon else seconds

    def wait(self, seconds: float | None) -> None:
        """Wait until a descriptor is ready, and handle the events.

        :param seconds: the longest time to sleep, if no other thread has asked for a call; None: without end.
        """
        self._waiting = True
        try:
            self.doIteration(0 if self.threadCallQueue else seconds)
        finally:
            self._waiting = self._woken = False

    def wakeUp(self) -> None:
        """Wake the reactor from another thread; only while it may sleep, and only once.

        A thread queues its call before it reads `_waiting`, and `wait` sets `_waiting` before it reads the queue.
        So at least one of them sees the other.
        """
        if self._waiting and not self._woken:
            self._woken = True
            super().wakeUp()

    def runUntilCurrent(self) -> None:
        """See `ReactorBase`."""
        super().runUntilCurrent()
        self._call_soon()

    def timeout(self) -> float | None:
        """See `ReactorBase`."""
        return 0 if self._soon else super().timeout()

    def getDelayedCalls(self) -> list[IDelayedCall]:
        """See `IReactorTime`."""
        return [*super().getDelayedCalls(), *(call for call in self._soon if not call.cancelled)]

    def getThreadPool(self) -> ThreadPool:
        """The threads in which names are resolved."""
        if self._resolvers is None:
            self._resolvers = ThreadPool(0, _RESOLVERS, "pyshard-names")
            self._resolvers.threadFactory = _daemon_thread  # type: ignore[assignment]  # Thread's signature
            self._resolvers.start()
        return self._resolvers

    def dispose(self) -> None:
        """Close every descriptor that the reactor has; it can't be used afterwards."""
        self.runUntilCurrent()  # aborted connections close in the next turn
        self.disconnectAll()
        self.removeAll()
        if self._resolvers is not None:
            for _ in range(self._resolvers.workers):
                self._resolvers.stopAWorker()
        self.waker.connectionLost(None)
        poller = getattr(self, "_poller", None)
        if poller is not None:
            poller.close()

    def _call_soon(self) -> None:
        """Make the calls of this turn; calls that they ask for come in the next turn."""
        soon, self._soon = self._soon, []
        for call in soon:
            if call.cancelled:
                self._cancellations -= 1
            elif call.delayed_time:  # it was delayed meanwhile
                self._newTimedCalls.append(call)
            else:
                with _failures:
                    call.called = 1
                    call.func(*call.args, **call.kw)


def _daemon_thread(*arguments: Any, **options: Any) -> threading.Thread:
    return threading.Thread(*arguments, daemon=True, **options)
