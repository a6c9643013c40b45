"""A thread that waits for a time of the steady clock, for a reactor whose own waits go by the wall clock.

Rules:

- It is for systems that have no timer for which a reactor can wait (`pyshard.net.timer_descriptor`).
- It waits in `poll`, which counts the seconds that pass; waits for locks go by the wall clock with some C libraries.
- It rings once for each time that was set, or early: whoever hears it looks at the clock, and sets the next time.
- In a forked child there is no thread, and it does nothing.
- It ends when no time was set for a while. It never keeps the process from ending.
"""

from __future__ import annotations

import math
import os
import select
import threading
from collections.abc import Callable
from contextlib import suppress

_LINGER = 1.0  # seconds that it waits for the next time
_LONGEST = 3600.0  # seconds that it waits at once
_NEVER = float("inf")


class AlarmThread:
    """Calls a function by a time, in a thread that is started as it is needed.

    :param seconds: the clock.
    :param ring: the function; it must return soon.
    """

    def __init__(self, seconds: Callable[[], float], ring: Callable[[], object]) -> None:
        self._seconds = seconds
        self._ring = ring
        self._lock = threading.Lock()
        self._time = _NEVER
        self._process = os.getpid()
        self._thread: threading.Thread | None = None
        self._hears, self._tells = os.pipe()  # kept: a reactor, and so its alarm, lives as long as the process
        os.set_blocking(self._tells, False)

    def ring_by(self, time: float) -> None:
        """Ring when this time has come, or before.

        :raises RuntimeError: the system gives no thread.
        """
        if time >= self._time or os.getpid() != self._process:  # the former: it rings, and is told this time again
            return
        with self._lock:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="pyshard timers", daemon=True)
                thread.start()
                self._thread = thread
            else:
                self._wake()
            self._time = time

    def stop(self) -> None:
        """Ring for no time that was set before."""
        if os.getpid() != self._process:  # whose thread may have held the lock
            return
        with self._lock:
            self._time = _NEVER
            self._wake()

    def _wake(self) -> None:
        if self._thread is not None:
            with suppress(BlockingIOError):  # it has been told, many times, and wasn't run yet
                os.write(self._tells, b"\0")

    def _run(self) -> None:
        poll = select.poll()
        poll.register(self._hears, select.POLLIN)
        while True:
            with self._lock:
                left = self._time - self._seconds()
                if left <= 0:
                    self._time = _NEVER
            if left <= 0:
                self._ring()
            elif poll.poll(math.ceil(1000 * min(left, _LONGEST if left < _NEVER else _LINGER))):
                os.read(self._hears, 4096)
            elif left == _NEVER and self._ends():
                return

    def _ends(self) -> bool:
        with self._lock:
            if self._time == _NEVER:
                self._thread = None
            return self._thread is None
