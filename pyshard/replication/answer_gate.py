"""Answers that wait until all members of the group have what they saw.

Rules:

- an answer saw all groups up to a number, its own included. It is given when these are committed;
- one that has no group of its own is given only while the primary may answer by leases that are looked at then, after
  what it read was taken: else another primary could have changed that already;
- when the primary leads under the next ballot, too, those that wait go on waiting: its log stays as it is;
- else, when the term ends, those that wait fail. What came of a change is not known then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred, fail, succeed

from pyshard.errors import PyshardError
from pyshard.replication.primary_term import PrimaryTerm


class AnswerGate:
    """Answers of one term that wait.

    :param term: what the primary knows.
    :param now: seconds of the clock that the term goes by.
    """

    def __init__(self, term: PrimaryTerm, now: Callable[[], float]) -> None:
        self._term = term
        self._now = now
        self._waiting: deque[tuple[int, bool, Deferred[None]]] = deque()  # of numbers that hardly ever fall
        self._unleased: list[Deferred[None]] = []
        self._ended: PyshardError | None = None

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting) + len(self._unleased)

    def passed(self, seen: int, changed: bool) -> Deferred[None]:
        """Fires when an answer may be given.

        :param seen: the number of the last group that it saw; 0: it saw nothing but what is committed.
        :param changed: whether that is a group of its own.
        :raises PyshardError: (in the Deferred) the term has ended.
        """
        if self._ended is not None:
            return fail(self._ended)
        if seen <= self._term.committed and (changed or self._may_answer()):
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiting.append((seen, changed, waiter))
        self.look()
        return waiter

    def look(self) -> None:
        """Let those pass that may by now: more is committed, or a lease is longer."""
        while self._waiting and self._waiting[0][0] <= self._term.committed:
            _, changed, waiter = self._waiting.popleft()
            if changed:
                waiter.callback(None)
            else:
                self._unleased.append(waiter)
        while self._unleased and self._may_answer():
            self._unleased.pop(0).callback(None)

    def go_on(self, term: PrimaryTerm) -> None:
        """The primary leads under the next ballot: that term says from now on what may pass."""
        self._term = term

    def end(self, why: PyshardError) -> None:
        """Fail all that wait, and all that come."""
        self._ended = why
        waiting = [waiter for _, _, waiter in self._waiting] + self._unleased
        self._waiting.clear()
        self._unleased = []
        for waiter in waiting:
            waiter.errback(why)

    def _may_answer(self) -> bool:
        return self._term.may_answer(self._now())
