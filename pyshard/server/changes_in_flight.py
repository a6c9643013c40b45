"""The changes that came over one connection and aren't done yet; a session fence waits for them (`session_fence`)."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred

_T = TypeVar("_T")


class ChangesInFlight:
    """The changes of one connection that are in flight."""

    def __init__(self) -> None:
        self._in_flight = 0
        self._waiting: list[Deferred[None]] = []

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
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        self._fire()
        return waiting

    def _fire(self) -> None:
        if not self._in_flight:
            waiting, self._waiting = self._waiting, []
            for deferred in waiting:
                deferred.callback(None)
