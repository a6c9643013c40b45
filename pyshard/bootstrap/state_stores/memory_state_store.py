"""A state store in memory, for tests: deterministic, shared by as many bootstraps as like, and faulty on demand.

Faults are those of a store behind a network: it can't be reached, or a swap's outcome stays unknown. An unknown swap
was applied, or never will be, or is applied later: after whoever sent it has read the old state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum
from math import inf

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from pyshard.bootstrap.state_stores.state_store import (
    NOTHING,
    Revision,
    StoredState,
    SwapApplied,
    SwapOutcome,
    SwapRefused,
)
from pyshard.errors import OutcomeUnknown, PyshardError
from pyshard.model.cluster_state import ClusterState
from pyshard.settings import settings


class SwapFault(Enum):
    """What becomes of a swap whose outcome isn't told."""

    LOST = "it is never applied"
    UNTOLD = "it is applied, and the answer is lost"
    LATE = "it is applied later, with `MemoryStateStore.land`"


@attrs.frozen
class _SentSwap:
    """A swap on its way."""

    state: ClusterState
    expected: Revision
    write: str


class MemoryStateStore:
    """Keeps a state as long as the process runs.

    :param state: what is there at first; None: nothing.
    :ivar stored: what is there now.
    :ivar swaps: the states that swaps have put there, in order.
    :ivar away: why it isn't of use just now; None: it is.
    :ivar deaf: whether it tells nobody of changes.
    :ivar fault: tells what becomes of a swap, given its state; None: nothing is wrong with it.
    """

    kind = name = "memory"
    shared = True
    most_bytes = settings.MAX_STATE_BYTES

    def __init__(self, state: ClusterState | None = None) -> None:
        self.stored = None if state is None else StoredState(state, Revision(1))
        self._last = 0 if state is None else 1
        self.swaps: list[ClusterState] = []
        self.deaf = False
        self.away: PyshardError | None = None
        self.fault: Callable[[ClusterState], SwapFault | None] = lambda _: None
        self._late: deque[_SentSwap] = deque()
        self._waiters: list[Deferred[None]] = []

    def get(self, end: float = inf) -> Deferred[StoredState | None]:
        """See `StateStore`."""
        return succeed(self.stored) if self.away is None else fail(self.away)

    def swap(self, state: ClusterState, expected: Revision, write: str, end: float = inf) -> Deferred[SwapOutcome]:
        """See `StateStore`."""
        if self.away is not None:
            return fail(self.away)
        sent, fault = _SentSwap(state, expected, write), self.fault(state)
        if fault is None:
            return succeed(self._swapped(sent))
        if fault is SwapFault.UNTOLD:
            self._swapped(sent)
        elif fault is SwapFault.LATE:
            self._late.append(sent)
        return fail(OutcomeUnknown("the state store may have it"))

    def wait(self, after: Revision) -> Deferred[None]:
        """See `StateStore`."""
        if not self.deaf and after != (NOTHING if self.stored is None else self.stored.revision):
            return succeed(None)
        waiter: Deferred[None] = Deferred(self._waiters.remove)
        self._waiters.append(waiter)
        return waiter

    def land(self) -> list[SwapOutcome]:
        """Have all late swaps arrive now.

        :return: what became of each.
        """
        late, self._late = self._late, deque()
        return [self._swapped(sent) for sent in late]

    def _swapped(self, sent: _SentSwap) -> SwapOutcome:
        found = self.stored
        if found is not None and found.write == sent.write:
            return SwapApplied(found.revision)
        if sent.expected != (NOTHING if found is None else found.revision):
            return SwapRefused(found)
        self._last += 1
        self.stored = StoredState(sent.state, Revision(self._last), sent.write)
        self.swaps.append(sent.state)
        if self.deaf:
            return SwapApplied(self.stored.revision)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            waiter.callback(None)
        return SwapApplied(self.stored.revision)
