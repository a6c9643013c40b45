"""How long Python's garbage collector takes. It stops the whole process, in the middle of whatever was being done.

Who is being served in that moment hasn't asked for it. So where time is counted against somebody, this is taken off.

Rules:

- collections of the youngest objects don't count: there is one all the time, and none takes long;
- one collection is over before the next one begins, whichever thread it is in;
- nothing is noted before `begin`, so that a program that uses pyshard's clients has no callback of ours.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from threading import get_ident

from pyshard.clocks import steady_seconds


class CollectorTime:
    """The time of collections in this process.

    :param seconds: a clock.
    :param processor: seconds of a processor that the calling thread has had.
    :ivar seconds: that collections took, by that clock, in whatever thread.
    """

    def __init__(
        self, seconds: Callable[[], float] = steady_seconds, processor: Callable[[], float] = time.thread_time
    ) -> None:
        self.seconds = 0.0
        self._clock = seconds
        self._processor = processor
        self._began: tuple[float, float] | None = None
        self._of_thread: dict[int, float] = {}  # seconds of a processor, by the thread's id

    def begin(self) -> None:
        """Note collections from now on; nothing changes if that has begun."""
        if self.note not in gc.callbacks:
            gc.callbacks.append(self.note)

    def end(self) -> None:
        """Note none any more."""
        if self.note in gc.callbacks:
            gc.callbacks.remove(self.note)

    def note(self, phase: str, info: dict[str, int]) -> None:
        """What Python calls before and after each collection; see `gc.callbacks`."""
        if not info["generation"]:
            return
        if phase == "start":
            self._began = self._clock(), self._processor()
        elif self._began is not None:
            (began, had), self._began, thread = self._began, None, get_ident()
            self.seconds += max(0.0, self._clock() - began)
            self._of_thread[thread] = self._of_thread.get(thread, 0.0) + max(0.0, self._processor() - had)

    def processor(self) -> float:
        """Seconds of a processor that the calling thread has had for anything but collections."""
        return self._processor() - self._of_thread.get(get_ident(), 0.0)


#: The time of this process's collections, which its daemon begins to note.
COLLECTOR_TIME = CollectorTime()
