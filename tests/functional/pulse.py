"""A pulse of writes, one behind the other: when each was acknowledged tells for how long a shard stood still."""

from __future__ import annotations

import threading
import time
from itertools import pairwise

from pyshard import Pyshard
from pyshard.errors import OutcomeUnknown, Unavailable

_DEADLINE = 30.0  # seconds of a write: it waits for whoever leads next
_PAUSE = 0.005


class Pulse:
    """Writes with a client of its own while it is entered as a context.

    :param server: the bootstrap's address.
    :ivar acknowledged: when each write that was acknowledged began and ended, in seconds of the monotonic clock.
    :ivar last: the number that the last of them wrote.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self.acknowledged: list[tuple[float, float]] = []
        self.last = 0

    def __enter__(self) -> Pulse:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def first_after(self, moment: float) -> float | None:
        """When the first write ended that began after a moment; None: none has yet."""
        return next((ended for began, ended in list(self.acknowledged) if began >= moment), None)

    def longest(self) -> float:
        """The longest time without an acknowledged write."""
        return max((second - first for (_, first), (_, second) in pairwise(self.acknowledged)), default=0.0)

    def _write(self) -> None:
        number = 0
        with Pyshard(self._server) as app:
            while not self._over.is_set():
                began, number = time.monotonic(), number + 1
                try:
                    app.write("pulse", number, deadline=_DEADLINE)
                except (OutcomeUnknown, Unavailable):
                    continue
                self.last = number
                self.acknowledged.append((began, time.monotonic()))
                self._over.wait(_PAUSE)
