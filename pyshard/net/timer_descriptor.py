"""A timer of Linux's, for which a reactor waits as for a socket: it needs no thread, and goes on during suspend.

Rules:

- It rings once for each time that was set, or early: whoever hears it looks at the clock, and sets the next time.
- The reactor has it among its readers only while a time is set.
- In a forked child it does nothing: the timer is the parent's, and so is what the reactor waits for.
- Python has these timers since 3.13; before, they are called in the C library.
"""

from __future__ import annotations

import ctypes
import os
import time as system
from collections.abc import Callable
from contextlib import suppress

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

_NEVER = float("inf")
_LEAST = 1e-6  # seconds; zero would end the timer
_LONGEST = 1e6  # seconds, so that every C library can hold them


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Itimerspec(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("value", _Timespec))


@implementer(IReadDescriptor)
class TimerDescriptor:
    """Calls a function by a time, in the reactor's thread.

    :param reactor: waits for it.
    :param seconds: the clock.
    :param ring: the function.
    :raises OSError: this system has no such timers, or gives none.
    """

    def __init__(self, reactor: IReactorFDSet, seconds: Callable[[], float], ring: Callable[[], object]) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._ring = ring
        self._time = _NEVER
        self._waited_for = False
        self._process = os.getpid()
        try:
            self._library = ctypes.CDLL(None, use_errno=True)
            create, clock = self._library.timerfd_create, system.CLOCK_BOOTTIME
        except (AttributeError, TypeError):
            raise OSError("this system has no timerfd") from None
        # Kept: a reactor, and so its timer, lives as long as the process.
        self._descriptor = _checked(create(ctypes.c_int(clock), ctypes.c_int(os.O_NONBLOCK | os.O_CLOEXEC)))

    def ring_by(self, time: float) -> None:
        """Ring when this time has come, or before."""
        if time >= self._time or os.getpid() != self._process:  # the former: it rings, and is told this time again
            return
        if not self._waited_for:
            self._waited_for = True
            self._reactor.addReader(self)
        self._time = time
        self._set(min(max(time - self._seconds(), _LEAST), _LONGEST))

    def stop(self) -> None:
        """Ring for no time that was set before."""
        if self._time < _NEVER and os.getpid() == self._process:
            self._time = _NEVER
            self._set(0.0)
            self._rest()

    # ------------------------------------------------------------------ what the reactor calls

    def fileno(self) -> int:
        """See `IReadDescriptor`."""
        return self._descriptor

    def doRead(self) -> None:
        """See `IReadDescriptor`: the time has come."""
        with suppress(BlockingIOError):  # another time was set meanwhile
            os.read(self._descriptor, 8)
        self._time = _NEVER
        self._ring()
        if self._time == _NEVER:
            self._rest()

    def connectionLost(self, reason: Failure) -> None:
        """See `IReadDescriptor`: the reactor has stopped."""
        self._time = _NEVER
        self._waited_for = False

    def logPrefix(self) -> str:
        """See `IReadDescriptor`."""
        return "timers"

    def _rest(self) -> None:
        if self._waited_for:
            self._waited_for = False
            self._reactor.removeReader(self)

    def _set(self, seconds: float) -> None:
        whole = int(seconds)
        value = _Timespec(whole, int((seconds - whole) * 1e9))
        setting = _Itimerspec(_Timespec(0, 0), value)
        _checked(self._library.timerfd_settime(ctypes.c_int(self._descriptor), 0, ctypes.byref(setting), None))


def _checked(found: int) -> int:
    """What a function of the C library gave.

    :raises OSError: it says that it failed.
    """
    if found < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return found
