"""Asks about some things again and again, while there are any: moves of ranges, groups of replicas.

Rules:

- one question about a thing at a time; a slow answer to one holds up no other;
- a question that fails is told of, and asked again like any other;
- there may be a bound on how many are asked in one turn: urgent ones, and as many others. Of each those come first that
  were asked the longest time ago;
- while there is nothing to ask about, nothing is done until `wake`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Coroutine, Hashable, Mapping
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

_K = TypeVar("_K", bound=Hashable)

#: Asks about one thing.
Question = Callable[[], Coroutine[Deferred[Any], Any, None]]


class RepeatedQuestions(Generic[_K]):
    """What is asked again and again.

    :param clock: times questions.
    :param every: seconds between two questions about a thing, at the least.
    :param due: gives what there is to ask about now, and how.
    :param failed: is told of a question that failed.
    :param at_once: urgent questions in one turn, and others, at the most; None: all that there are.
    :param urgent: whether a question is.
    """

    def __init__(
        self,
        clock: IReactorTime,
        every: float,
        due: Callable[[], Mapping[_K, Question]],
        failed: Callable[[Failure], None],
        at_once: int | None = None,
        urgent: Callable[[_K], bool] = lambda _: False,
    ) -> None:
        self._clock = clock
        self._every = every
        self._due = due
        self._failed = failed
        self._running = False
        self._next: IDelayedCall | None = None
        self._asking: set[_K] = set()
        self._at_once = at_once
        self._urgent = urgent
        self._turns: dict[_K, int] = {}  # the number of the turn in which each was asked last
        self._turn = 0

    def start(self) -> None:
        """Begin, if there is something to ask about."""
        self._running = True
        self.wake()

    def stop(self) -> None:
        """Begin no question any more."""
        self._running = False
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def wake(self) -> None:
        """There may be something to ask about."""
        if self._running and self._next is None and self._due():
            self._next = self._clock.callLater(self._every, self._ask)

    # ------------------------------------------------------------------ inside

    def _ask(self) -> None:
        self._next = None
        due = self._due()
        for about in self._next_ones(due):
            self._asking.add(about)
            asked = Deferred.fromCoroutine(due[about]()).addErrback(self._failed)
            asked.addBoth(self._asked, about)
        self.wake()

    def _next_ones(self, due: Collection[_K]) -> list[_K]:
        waiting = [about for about in due if about not in self._asking]
        if self._at_once is None:
            return waiting
        self._turn += 1
        self._turns = {about: self._turns.get(about, 0) for about in due}
        waiting.sort(key=self._turns.__getitem__)
        urgent = [about for about in waiting if self._urgent(about)][: self._at_once]
        others = [about for about in waiting if not self._urgent(about)][: self._at_once]
        self._turns |= dict.fromkeys([*urgent, *others], self._turn)
        return urgent + others

    def _asked(self, _: object, about: _K) -> None:
        self._asking.discard(about)
