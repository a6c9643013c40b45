"""What came over one connection, changes something and is under way: when all of it is done."""

from __future__ import annotations

from typing import TypeVar

from twisted.internet.defer import Deferred

_T = TypeVar("_T")


class Changes:
    """The changes that are under way."""

    def __init__(self) -> None:
        self._under_way = 0
        self._waiting: list[Deferred[None]] = []

    def add(self, change: Deferred[_T]) -> Deferred[_T]:
        """Have `done` wait for this one.

        :return: the same Deferred.
        """
        if change.called and not change.paused:  # it was done at once
            return change
        self._under_way += 1

        def done(outcome: _T) -> _T:
            self._under_way -= 1
            self._tell()
            return outcome

        return change.addBoth(done)

    def done(self) -> Deferred[None]:
        """A Deferred that fires when none is under way any more."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append(waiting)
        self._tell()
        return waiting

    def _tell(self) -> None:
        if not self._under_way:
            waiting, self._waiting = self._waiting, []
            for one in waiting:
                one.callback(None)
