"""A reactor's timers on the steady clock: Twisted's own go by the wall clock.

A wall clock that is put back has Twisted's timers wait for the time that they were given, ten minutes later than they
should come. One that is put on makes them all come at once.

Rules:

- A reactor of this process's own (a daemon's, a command's) gets another clock: `run_steadily`.
- A reactor of somebody else's stays as it is, since a program may take its time for the date. The client's calls
  wait in a queue of their own: `steady_clock`. An alarm wakes the reactor when the first of them is due: a timer of
  the system's where it has one that reactors can wait for, else a thread.
- A reactor that somebody has given another clock, and a clock in a reactor's place, are taken as they are.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from heapq import heapify, heappop, heappush
from typing import Protocol, TypeAlias

from twisted.internet.base import DelayedCall, ReactorBase
from twisted.internet.interfaces import IDelayedCall, IReactorFDSet, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from pyshard.clocks import steady_seconds
from pyshard.errors import Unavailable
from pyshard.net.reactor_alarm_thread import AlarmThread
from pyshard.net.timer_descriptor import TimerDescriptor
from pyshard.net.twisted_internals import call_soon, goes_by_the_wall_clock, set_clock

#: Makes an alarm: a reactor, its clock, and what is to be called in the reactor's thread.
AlarmMaker: TypeAlias = "Callable[[ReactorBase, Callable[[], float], Callable[[], object]], Alarm]"

_CANCELLED = 50  # calls that are kept though they were cancelled, or half of the queue if that is more


def run_steadily(reactor: IReactorTime) -> None:
    """Have all timers of a reactor, Twisted's own included, go by the steady clock.

    Its seconds go on from where the wall clock is now, so calls that wait already come when they should.
    """
    if goes_by_the_wall_clock(reactor):
        ahead = reactor.seconds() - steady_seconds()
        set_clock(reactor, lambda: steady_seconds() + ahead)


def steady_clock(reactor: IReactorTime) -> IReactorTime:
    """A clock with a reactor's timers that no step of the wall clock moves.

    :raises Unavailable: there can be no further descriptor, of which it needs one.
    """
    if not goes_by_the_wall_clock(reactor):
        return reactor
    assert isinstance(reactor, ReactorBase)
    found = _clocks.get(reactor)
    if found is None:
        try:
            found = _clocks[reactor] = SteadyClock(reactor)
        except OSError as error:
            raise Unavailable(f"the system gives the client no timer: {error.strerror}") from None
    return found


class Alarm(Protocol):
    """What wakes a reactor."""

    def ring_by(self, time: float) -> None:
        """Ring when this time has come, or before; then it is to be told the next time."""
        ...

    def stop(self) -> None:
        """Ring for no time that was set before."""
        ...


def thread_alarm(reactor: ReactorBase, seconds: Callable[[], float], ring: Callable[[], object]) -> Alarm:
    """An alarm that every system has.

    :raises OSError: there can be no further descriptor.
    """
    return AlarmThread(seconds, lambda: reactor.callFromThread(ring))


def system_alarm(reactor: ReactorBase, seconds: Callable[[], float], ring: Callable[[], object]) -> Alarm:
    """The best alarm that this system has for a reactor.

    :raises OSError: there can be no further descriptor.
    """
    if IReactorFDSet.providedBy(reactor):
        with suppress(OSError):
            return TimerDescriptor(reactor, seconds, ring)
    return thread_alarm(reactor, seconds, ring)


@implementer(IReactorTime)
class SteadyClock:
    """Makes calls in a reactor's thread, by the steady clock.

    A call without a delay comes in the reactor's next turn. It can be cancelled, but isn't meant to be moved.

    :param seconds: gives the time.
    :param alarm: wakes the reactor.
    :raises OSError: there can be no alarm.
    """

    _log = Logger()

    def __init__(
        self, reactor: ReactorBase, seconds: Callable[[], float] = steady_seconds, alarm: AlarmMaker = system_alarm
    ) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._queue: list[DelayedCall] = []  # a heap
        self._cancelled = 0  # of those in the queue
        self._alarm = alarm(reactor, seconds, self._make_due_calls)

    def seconds(self) -> float:
        """See `IReactorTime`."""
        return self._seconds()

    def callLater(self, delay: float, callable: Callable[..., object], *args: object, **kw: object) -> IDelayedCall:
        """See `IReactorTime`."""
        if delay <= 0:
            return call_soon(self._reactor, callable, *args, **kw)
        time = self._seconds() + delay
        call = DelayedCall(time, callable, args, kw, self._was_cancelled, self._comes_sooner, self._seconds)
        heappush(self._queue, call)
        self._alarm.ring_by(time)
        return call

    def getDelayedCalls(self) -> Sequence[IDelayedCall]:
        """See `IReactorTime`; without those that come in the next turn."""
        return [call for call in self._queue if call.active()]

    def _make_due_calls(self) -> None:
        now = self._seconds()
        try:
            while self._queue and self._queue[0].time <= now:
                call = heappop(self._queue)
                if call.cancelled:
                    self._cancelled -= 1
                elif call.delayed_time > 0:
                    call.activate_delay()
                    heappush(self._queue, call)
                else:
                    call.called = 1
                    with self._log.failuresHandled("while handling a timed call"):
                        call.func(*call.args, **call.kw)
        finally:
            if self._queue:
                self._alarm.ring_by(self._queue[0].time)

    def _was_cancelled(self, call: DelayedCall) -> None:
        """A call is about to be marked as cancelled; it is dropped when it is due, or with many others."""
        self._cancelled += 1
        if self._cancelled == len(self._queue):
            self._queue, self._cancelled = [], 0
            self._alarm.stop()
        elif self._cancelled > max(_CANCELLED, len(self._queue) // 2):
            self._queue = [one for one in self._queue if not one.cancelled]
            heapify(self._queue)
            self._cancelled = 1

    def _comes_sooner(self, call: DelayedCall) -> None:
        heapify(self._queue)
        self._alarm.ring_by(call.time)


#: The clock of each reactor that has one. A reactor lives as long as its process.
_clocks: dict[ReactorBase, SteadyClock] = {}

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_clocks.clear)  # their alarms are the parent's
