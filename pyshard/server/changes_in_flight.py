"""The changes that came over one connection and aren't done yet; a session fence waits for them (`session_fence`).

Each connection of a session may wait for the one before it. A chain of hundreds ends in a loop: within one another they
would take more calls than Python allows.
"""

from __future__ import annotations

from collections import deque
from typing import TypeVar

from twisted.internet.defer import Deferred, succeed

_T = TypeVar("_T")

_due: deque[Deferred[None]] = deque()  # what is to fire, in order, while something of any connection fires


class ChangesInFlight:
    """The changes of one connection that are in flight."""

    __slots__ = ("_in_flight", "_waiting")

    def __init__(self) -> None:
        self._in_flight = 0
        self._waiting: tuple[Deferred[None], ...] = ()

    def add(self, change: Deferred[_T]) -> Deferred[_T]:
        """Count a change until it is done.

        :return: the same Deferred.
        """
        if change.called and not change.paused:  # it is done already
            return change
        self._in_flight += 1

        def done(outcome: _T) -> _T:
            self._in_flight -= 1
            self._fire()
            return outcome

        return change.addBoth(done)

    def done(self) -> Deferred[None]:
        """A Deferred that fires when none is in flight any more."""
        if not self._in_flight:
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self._waiting = *self._waiting, waiting
        return waiting

    def _fire(self) -> None:
        if not self._in_flight:
            waiting, self._waiting = self._waiting, ()
            fires_already = bool(_due)
            _due.extend(waiting)
            while _due and not fires_already:
                _due[0].callback(None)
                _due.popleft()
