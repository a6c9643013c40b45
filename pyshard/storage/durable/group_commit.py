"""Group commit: one thread takes all updates that wait, and commits and answers together as many as may be.

One sync of the disk serves all of these, however many they are.

Rules:

- updates are committed in the order in which they were submitted;
- the Deferred of an update fires in the reactor's thread, after all updates that were committed with it;
- what was committed is handed out before anything else is; the rest waits on, in its place;
- the bytes of outcomes that are handed out and not taken yet are bounded: the thread may be quicker than the reactor;
- the bytes that wait are bounded (`Overloaded`), since the updates of clients that are gone wait on;
- so are the changes and the bytes that are committed together, but for an update that has more by itself;
- closing commits what still waits;
- this module knows nothing of databases: it is given the function that commits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from pyshard.errors import Overloaded
from pyshard.settings import settings

_U = TypeVar("_U")
_T = TypeVar("_T")

#: How many updates are committed together at the most.
MOST_UPDATES = 1000


#: An update that waits, its answer, its weight and its changes.
_Waiting: TypeAlias = tuple[_U, Deferred[Any], int, int]


class Committed(NamedTuple):
    """What became of some updates.

    :param outcomes: of each that was committed, from the front on; one at the least: a result, or a Failure.
    :param size: bytes that these outcomes keep.
    """

    outcomes: list[object]
    size: int = 0


class GroupCommit(Generic[_U]):
    """A queue of updates, and the thread that commits them.

    :param commit: commits updates, in order, as many from the front on as may be.
    :param call_from_thread: has a function called in the reactor's thread; None: there is no thread, and each update
        is committed alone and at once where it is submitted (for tests and tools).
    :param finish: called once after the last update, in the same thread.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[_U]], Committed],
        call_from_thread: Callable[..., Any] | None,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        self._commit = commit
        self._finish = finish
        self._call_from_thread = call_from_thread
        self._waiting: deque[_Waiting[_U]] = deque()
        self._weight = 0  # of the updates that aren't answered; only the reactor's thread uses it
        self._handed = 0  # bytes of outcomes that were handed out and aren't taken yet
        self._changed = threading.Condition()
        self._closed: Deferred[None] | None = None
        self._thread: threading.Thread | None = None

    def submit(self, update: _U, weight: int = 0, changes: int = 0) -> Deferred[Any]:
        """Have an update committed.

        :param weight: bytes that it takes while it waits; with 0 it is never refused.
        :param changes: how many records it may change.
        :return: a Deferred of its result, fired when it is committed.
        :raises Overloaded: (in the Deferred) too many bytes wait already.
        """
        if weight and self._weight and self._weight + weight > settings.MAX_COMMIT_BYTES:
            return fail(
                Overloaded(f"changes of {self._weight:,} bytes wait for this shard's disk already; try again later")
            )
        answered: Deferred[Any] = Deferred()
        if self._call_from_thread is None:
            _fire([answered], self._committed([update]).outcomes)
            return answered
        self._weight += weight
        answered.addBoth(self._subtract_weight, weight)
        with self._changed:
            self._waiting.append((update, answered, weight, changes))
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pyshard-writer", daemon=True)
            self._thread.start()
        return answered

    def _subtract_weight(self, outcome: _T, weight: int) -> _T:
        self._weight -= weight
        return outcome

    def close(self) -> Deferred[None]:
        """Commit what waits, and end the thread.

        :return: a Deferred that fires when it has ended.
        """
        closed: Deferred[None] = Deferred()
        if self._thread is None:
            self._finish()
            closed.callback(None)
            return closed
        with self._changed:
            self._closed = closed
            self._changed.notify()
        return closed

    def _run(self) -> None:
        assert self._call_from_thread is not None
        while True:
            with self._changed:
                while (not self._waiting and self._closed is None) or self._handed > settings.MAX_GROUP_BYTES:
                    self._changed.wait()
                taken = self._take()
                closed = self._closed
            if not taken and closed is not None:
                self._finish()
                self._call_from_thread(closed.callback, None)
                return
            outcomes, size = self._committed([waiting[0] for waiting in taken])
            done = taken[: len(outcomes)]
            with self._changed:
                self._waiting.extendleft(reversed(taken[len(done) :]))
                self._handed += size
            self._call_from_thread(self._hand_out, [waiting[1] for waiting in done], outcomes, size)
            del outcomes, taken, done  # they may be large, and are the reactor's now

    def _hand_out(self, deferreds: Sequence[Deferred[Any]], outcomes: list[object], size: int) -> None:
        """Answer updates; in the reactor's thread."""
        _fire(deferreds, outcomes)
        with self._changed:
            self._handed -= size
            self._changed.notify()

    def _take(self) -> list[_Waiting[_U]]:
        """Take what is committed together next. The caller holds the lock."""
        waiting = self._waiting
        taken: list[_Waiting[_U]] = []
        changes, weight = settings.MAX_GROUP_CHANGES, settings.MAX_GROUP_BYTES
        while waiting and len(taken) < MOST_UPDATES:
            changes -= waiting[0][3]
            weight -= waiting[0][2]
            if taken and (changes < 0 or weight < 0):
                break
            taken.append(waiting.popleft())
        return taken

    def _committed(self, updates: Sequence[_U]) -> Committed:
        try:
            return self._commit(updates)
        except Exception:  # noqa: BLE001  # else the thread would end, and no update would be answered any more
            return Committed([Failure()] * len(updates))


def _fire(deferreds: Sequence[Deferred[Any]], outcomes: list[object]) -> None:
    """Give each Deferred its outcome. The list is empty then: what was answered isn't kept for those behind it."""
    outcomes.reverse()
    for answered in deferreds:
        outcome = outcomes.pop()
        if isinstance(outcome, Failure):
            answered.errback(outcome)
        else:
            answered.callback(outcome)
