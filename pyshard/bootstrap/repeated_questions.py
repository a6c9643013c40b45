"""Asks about some things again and again, while there are any: moves of ranges, groups of replicas.

Rules:

- one question about a thing at a time; a slow answer to one holds up no other;
- a question that fails is told of, and asked again like any other;
- while there is nothing to ask about, nothing is done until `wake`.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Hashable, Mapping
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
    """

    def __init__(
        self,
        clock: IReactorTime,
        every: float,
        due: Callable[[], Mapping[_K, Question]],
        failed: Callable[[Failure], None],
    ) -> None:
        self._clock = clock
        self._every = every
        self._due = due
        self._failed = failed
        self._running = False
        self._next: IDelayedCall | None = None
        self._asking: set[_K] = set()

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
        for about, question in self._due().items():
            if about not in self._asking:
                self._asking.add(about)
                asked = Deferred.fromCoroutine(question()).addErrback(self._failed)
                asked.addBoth(self._asked, about)
        self.wake()

    def _asked(self, _: object, about: _K) -> None:
        self._asking.discard(about)
