"""Answers that wait until all members of the group have what they saw.

Rules:

- an answer saw all groups up to a number, its own included. It is given when these are committed;
- one that has no group of its own is given only while the primary may answer by leases that are looked at then, after
  what it read was taken: else another primary could have changed that already;
- one that has a group of its own is given only while the group has members enough: else it could be lost with fewer
  machines than was promised;
- a gate goes on under the next ballot, where the same process still leads. Else it ends, and those that wait fail. What
  came of a change is not known then.

So whoever does something takes the gate first, and asks that gate when it is done: a later one is of another primary's
place, and knows nothing of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

from twisted.internet.defer import Deferred, fail, succeed

from pyshard.errors import OutcomeUnknown, PyshardError
from pyshard.replication.primary_term import PrimaryTerm


class AnswerGate:
    """Answers that wait.

    :param term: what the primary knows.
    :param now: seconds of the clock that the term goes by.
    :param advance: lets the term, and the store, know what is committed by now.
    """

    def __init__(self, term: PrimaryTerm, now: Callable[[], float], advance: Callable[[], object]) -> None:
        self._term = term
        self._now = now
        self._advance = advance
        self._count = count()
        self._uncommitted: list[tuple[int, int, bool, Deferred[None]]] = []  # a heap: by number, then as they came
        self._unleased: deque[Deferred[None]] = deque()
        self._too_few: deque[Deferred[None]] = deque()
        self._ended: PyshardError | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._uncommitted) + len(self._unleased) + len(self._too_few)

    def passed(self, seen: int, changed: bool) -> Deferred[None]:
        """Fires when an answer may be given.

        :param seen: the number of the last group that it saw; 0: it saw nothing but what is committed.
        :param changed: whether that is a group of its own.
        :raises OutcomeUnknown: (in the Deferred) it has a group of its own, and the gate has ended.
        :raises PyshardError: (in the Deferred) it has none, and the gate has ended; nothing was changed.
        """
        if self._ended is not None:
            return fail(_why(self._ended, changed))
        if seen > self._term.committed:
            self._advance()
            self.look()  # others may wait for that, and where no replica asks nobody else looks
        if seen <= self._term.committed and (self._term.has_enough if changed else self._may_answer()):
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        heappush(self._uncommitted, (seen, next(self._count), changed, waiter))
        self.look()
        return waiter

    def look(self) -> None:
        """Let those pass that may by now: more is committed, or a lease is longer."""
        while self._uncommitted and self._uncommitted[0][0] <= self._term.committed:
            _, _, changed, waiter = heappop(self._uncommitted)
            (self._too_few if changed else self._unleased).append(waiter)
        while self._too_few and self._term.has_enough:
            self._too_few.popleft().callback(None)
        while self._unleased and self._may_answer():
            self._unleased.popleft().callback(None)

    def go_on(self, term: PrimaryTerm) -> None:
        """Go on under the next ballot, where this process still leads."""
        self._term = term

    def end(self, why: PyshardError) -> None:
        """Fail all that wait, and all that come."""
        self._ended = why
        waiting = [(changed, waiter) for _, _, changed, waiter in sorted(self._uncommitted, key=_place)]
        waiting += [(True, waiter) for waiter in self._too_few] + [(False, waiter) for waiter in self._unleased]
        self._uncommitted = []
        self._too_few.clear()
        self._unleased.clear()
        for changed, waiter in waiting:
            waiter.errback(_why(why, changed))

    def _may_answer(self) -> bool:
        return self._term.may_answer(self._now())


def _place(waiting: tuple[int, int, bool, Deferred[None]]) -> tuple[int, int]:
    return waiting[:2]


def _why(error: PyshardError, changed: bool) -> PyshardError:
    return OutcomeUnknown(f"it was done, but not all replicas may have it: {error}") if changed else error
