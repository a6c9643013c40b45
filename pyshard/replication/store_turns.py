"""What a replica does with its store: one thing after the other, each to its end.

A term can end while its member takes groups. What the store was told goes on all the same, and what the next term does
comes behind it: groups that are on their way to the disk aren't on it yet.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred, DeferredLock, maybeDeferred
from twisted.python.failure import Failure

_T = TypeVar("_T")


class StoreTurns:
    """Turns at one store."""

    def __init__(self) -> None:
        self._lock = DeferredLock()

    def run(self, work: Callable[[], Deferred[_T]]) -> Deferred[_T]:
        """Do something when all before it is done.

        :param work: is called then, unless the Deferred that is given here was cancelled meanwhile.
        :return: it gives what the work gives. To cancel it stops no work that has begun.
        """
        given: Deferred[_T] = Deferred()
        turn = self._lock.acquire()

        def begin(lock: DeferredLock) -> None:
            if given.called:  # cancelled
                lock.release()
                return
            maybeDeferred(work).addBoth(end, lock)

        def end(outcome: _T | Failure, lock: DeferredLock) -> None:
            lock.release()
            if not given.called:
                given.callback(outcome)  # a Failure makes it fail

        turn.addCallback(begin)
        return given
