"""Watches a state store that several bootstraps share, and takes on what another one has put there.

Rules:

- It is read again every few seconds. A hint of the state store only has that happen sooner: it may be late, or lost.
- A watch that told of nothing new isn't begun again before the next read, so that a broken one costs little.
- As long as there is no state, a new cluster's is put there, if the store can be reached and has none.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.bootstrap.state_changes import StateChanges
from pyshard.bootstrap.state_stores.state_store import NOTHING, Revision, StateStore
from pyshard.model.cluster_state import ClusterState

EVERY = 5.0  # seconds between two reads
TROUBLED = 1.0  # the same while the state store isn't of use
SOON = 0.05  # seconds from a hint to the read


class StateWatch(Service):
    """Watches while it runs.

    :param store: what is watched.
    :param changes: take on what is found.
    :param clock: times the reads.
    :param first: gives the state of a new cluster.
    """

    _log = Logger()

    def __init__(
        self, store: StateStore, changes: StateChanges, clock: IReactorTime, first: Callable[[], ClusterState]
    ) -> None:
        self._store = store
        self._changes = changes
        self._clock = clock
        self._first = first
        self._next: IDelayedCall | None = None
        self._waiting: Deferred[None] | None = None
        self._watched = NOTHING  # the revision after which the last watch began
        self._hinted = False

    def startService(self) -> None:
        super().startService()
        self._look()

    def stopService(self) -> None:
        super().stopService()
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._waiting is not None:
            self._waiting.cancel()

    # ------------------------------------------------------------------ inside

    def _look(self) -> None:
        self._next = None
        self._changes.open(self._first).addErrback(self._failed).addCallback(self._looked)

    def _failed(self, failure: Failure) -> None:
        self._log.failure("the state store can't be read", failure)

    def _looked(self, _: None) -> None:
        if not self.running:
            return
        useless, self._hinted = self._hinted and self._revision() == self._watched, False
        if not self._changes.trouble and not useless and self._waiting is None:
            self._watched = self._revision()
            self._waiting = waiting = self._store.wait(self._watched)
            waiting.addErrback(lambda _: None).addCallback(self._told)
        pause = TROUBLED if self._changes.trouble else SOON if self._hinted else EVERY
        self._next = self._clock.callLater(pause, self._look)

    def _revision(self) -> Revision:
        known = self._changes.known
        return NOTHING if known is None else known.revision

    def _told(self, _: None) -> None:
        """Something may be there, or the watch has ended."""
        self._waiting = None
        self._hinted = True
        if self._next is not None:
            self._next.reset(SOON)
