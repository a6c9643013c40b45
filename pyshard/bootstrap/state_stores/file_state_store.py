"""A state store in a file of this machine, for one bootstrap at a time (`pyshard.bootstrap.state_file`).

Rules:

- the lock of the file is held, so nobody else changes it: what is there is what was found, or was put there last;
- what is found when it is opened is written and synced again before anybody hears of it;
- once the reactor runs, a thread reads and writes, since a disk may take long to sync. One write is over before the
  next one begins, also where nobody waits for it any more;
- a state whose directory couldn't be synced is there only once a later one could be.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf
from typing import Protocol, TypeVar

from twisted.internet.defer import Deferred, execute

from pyshard.bootstrap import state_file
from pyshard.bootstrap.state_file import StateLock
from pyshard.bootstrap.state_stores.state_store import (
    NOTHING,
    Revision,
    StoredState,
    SwapApplied,
    SwapOutcome,
    SwapRefused,
)
from pyshard.model.cluster_state import ClusterState
from pyshard.settings import settings

_T = TypeVar("_T")


class RunIn(Protocol):
    """Has a function called somewhere."""

    def __call__(self, function: Callable[[], _T], /) -> Deferred[_T]:
        """A Deferred of what the function gives, or raises."""
        ...


class FileStateStore:
    """Keeps a state in a file.

    :param lock: of the file; it is held as long as the store is there.
    """

    kind = "file"
    shared = False
    most_bytes = settings.MAX_STATE_BYTES

    def __init__(self, lock: StateLock) -> None:
        self._lock = lock
        self.name = str(lock.path)
        self._opened = False
        self._durable: StoredState | None = None
        self._last = 0
        self._run: RunIn = execute
        self._one_at_a_time = threading.RLock()

    def work_in(self, run: RunIn) -> None:
        """Read and write elsewhere from now on, such as in a thread."""
        self._run = run

    def get(self, end: float = inf) -> Deferred[StoredState | None]:
        """See `StateStore`."""
        return self._run(self.read)

    def swap(self, state: ClusterState, expected: Revision, write: str, end: float = inf) -> Deferred[SwapOutcome]:
        """See `StateStore`."""
        return self._run(lambda: self.write(state, expected, write))

    def wait(self, after: Revision) -> Deferred[None]:
        """See `StateStore`: nobody else changes it."""
        return Deferred()

    def close(self) -> None:
        """Let go of the lock."""
        self._lock.close()

    def read(self) -> StoredState | None:
        """What is there for good.

        :raises ConfigError: it can't be read or written.
        :raises OutcomeUnknown: as `state_file.save`.
        """
        with self._one_at_a_time:
            if not self._opened:
                found = state_file.load(self._lock.path)
                if found is not None:
                    self._save(found, "")
                self._opened = True
            return self._durable

    def write(self, state: ClusterState, expected: Revision, write: str) -> SwapOutcome:
        """See `swap`.

        :raises ConfigError: it can't be written; the old file stands.
        :raises OutcomeUnknown: as `state_file.save`.
        """
        with self._one_at_a_time:
            there = self.read()
            if there is not None and there.write == write:
                return SwapApplied(there.revision)
            if expected != (NOTHING if there is None else there.revision):
                return SwapRefused(there)
            return SwapApplied(self._save(state, write).revision)

    def _save(self, state: ClusterState, write: str) -> StoredState:
        self._lock.save(state)
        self._last += 1
        self._durable = StoredState(state, Revision(self._last), write)
        return self._durable
