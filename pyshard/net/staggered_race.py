"""A staggered race: several candidates can give the same answer, and the first one that does wins.

Happy Eyeballs (a connection to one of several addresses) and hedged requests (an answer from one of several peers) are
races of this kind. To try one candidate after another is slow when the first is silent; to try all at once costs all of
them work. So each candidate gets a head start over the next.

Rules:

- The next candidate starts when the head start of the one before is over, or at once when an attempt fails.
- The first success ends the race; attempts still under way are cancelled.
- The race fails when all candidates have failed, with the failure of each (`RaceLost`).
- No candidate starts once the deadline has passed.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, Protocol, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

_C = TypeVar("_C")
_T = TypeVar("_T")
_C_contra = TypeVar("_C_contra", contravariant=True)


class RaceLost(Exception):
    """No candidate succeeded.

    :param failures: of all attempts, in the order in which they failed; at least one.
    """

    def __init__(self, failures: list[Failure]) -> None:
        super().__init__(failures)
        self.failures = failures


class RaceOwner(Protocol[_C_contra, _T]):
    """Makes the attempts of a race."""

    def attempt(self, candidate: _C_contra) -> Deferred[_T]:
        """Begin an attempt; its Deferred can be cancelled."""
        ...

    def head_start(self, candidate: _C_contra) -> float:
        """Seconds that a candidate has before the next one starts too; asked when it starts."""
        ...


class StaggeredRace(Generic[_C, _T]):
    """One race.

    :param clock: times the head starts.
    :param owner: makes the attempts.
    :param candidates: in the order in which they start; at least one.
    :param deadline: in the clock's seconds; None: there is none.
    """

    def __init__(
        self,
        clock: IReactorTime,
        owner: RaceOwner[_C, _T],
        candidates: Iterable[_C],
        deadline: float | None = None,
    ) -> None:
        self._clock = clock
        self._owner = owner
        self._waiting = list(candidates)
        self._deadline = deadline
        self._running: list[Deferred[_T]] = []
        self._failures: list[Failure] = []
        self._next_start: IDelayedCall | None = None
        self._winner: Deferred[_T] = Deferred(lambda _: self._stop())

    def start(self) -> Deferred[_T]:
        """Start the first candidate.

        :return: a Deferred of the first success; cancelled, it cancels all attempts.
        :raises RaceLost: (in the Deferred) all candidates failed.
        """
        self._start_next()
        return self._winner

    def _start_next(self) -> None:
        self._cancel_next_start()
        candidate = self._waiting.pop(0)
        if self._waiting:
            self._next_start = self._clock.callLater(self._owner.head_start(candidate), self._start_next)
        attempt = self._owner.attempt(candidate)
        self._running.append(attempt)
        attempt.addCallbacks(self._succeeded, self._failed, callbackArgs=(attempt,), errbackArgs=(attempt,))

    def _succeeded(self, result: _T, attempt: Deferred[_T]) -> None:
        if self._winner.called:
            return
        self._running.remove(attempt)
        self._stop()
        self._winner.callback(result)

    def _failed(self, failure: Failure, attempt: Deferred[_T]) -> None:
        if attempt not in self._running:
            return  # the race is over, and this attempt was cancelled
        self._running.remove(attempt)
        self._failures.append(failure)
        if self._waiting and (self._deadline is None or self._clock.seconds() < self._deadline):
            self._start_next()
        elif not self._running:
            self._stop()
            self._winner.errback(RaceLost(self._failures))

    def _stop(self) -> None:
        """Start nobody any more, and cancel all attempts."""
        self._cancel_next_start()
        self._waiting.clear()
        running, self._running = self._running, []
        for attempt in running:
            attempt.cancel()

    def _cancel_next_start(self) -> None:
        call, self._next_start = self._next_start, None
        if call is not None and call.active():
            call.cancel()
