"""Reads of one key, one behind the other, by a client that never writes.

So it stays with a primary that answers it, also with one that has been replaced: what that one answers would be stale.
"""

from __future__ import annotations

import threading
import time

from pyshard import Pyshard
from pyshard.errors import Unavailable

_DEADLINE = 30.0  # seconds of a read: it waits for whoever leads next
_PAUSE = 0.02


class SteadyReader:
    """Reads with a client of its own while it is entered as a context.

    :param server: the bootstraps' addresses.
    :ivar found: when each read began, in seconds of the monotonic clock, and what it gave.
    """

    def __init__(self, server: str, key: str) -> None:
        self._server = server
        self._key = key
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._read)
        self.found: list[tuple[float, object]] = []

    def __enter__(self) -> SteadyReader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def after(self, moment: float) -> list[object]:
        """What those reads gave that began after a moment."""
        return [value for began, value in list(self.found) if began > moment]

    def _read(self) -> None:
        with Pyshard(self._server) as app:
            while not self._over.is_set():
                began = time.monotonic()
                try:
                    value = app.get(self._key, deadline=_DEADLINE)
                except Unavailable:
                    continue
                self.found.append((began, value))
                self._over.wait(_PAUSE)
