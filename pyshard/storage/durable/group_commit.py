"""Group commit: one thread takes every job that waits, does them in one transaction, and answers them together.

Knows nothing of databases: it is given the function that does a group of jobs and says how each one went. Rules
kept here: jobs are done in the order in which they were given; a job's Deferred fires in the reactor's thread, when
the whole group is committed; what waits is bounded (`Overloaded`), for clients that are gone leave their jobs behind;
closing does what still waits.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from pyshard.errors import Overloaded
from pyshard.settings import settings

_J = TypeVar("_J")
_T = TypeVar("_T")

#: How many jobs go into one group at the most.
GROUP = 1000


class GroupCommit(Generic[_J]):
    """A queue of jobs and the thread that does them.

    :param commit: does a group of jobs, in order, and gives the outcome of each: a result, or a Failure.
    :param call_from_thread: has a function called in the reactor's thread; None: there is no thread, and each job is
        done at once where it is given, as a group of its own (for tests and tools).
    :param finish: done once behind the last job, in the same thread.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[_J]], Sequence[object]],
        call_from_thread: Callable[..., Any] | None,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        self._commit = commit
        self._finish = finish
        self._call_from_thread = call_from_thread
        self._waiting: deque[tuple[_J, Deferred[Any]]] = deque()
        self._weight = 0  # of the jobs that aren't done; known to the reactor's thread alone
        self._changed = threading.Condition()
        self._closed: Deferred[None] | None = None
        self._thread: threading.Thread | None = None

    def submit(self, job: _J, weight: int = 0) -> Deferred[Any]:
        """Have a job done.

        :param weight: bytes that it holds while it waits.
        :return: a Deferred of its result, fired when it is committed.
        :raises Overloaded: (in the Deferred) too much waits already.
        """
        if weight and self._weight and self._weight + weight > settings.MAX_COMMIT_BYTES:
            return fail(
                Overloaded(f"changes of {self._weight:,} bytes wait for this shard's disk already; try again later")
            )
        done: Deferred[Any] = Deferred()
        if self._call_from_thread is None:
            _fire([done], self._outcomes([job]))
            return done
        self._weight += weight
        done.addBoth(self._done, weight)
        with self._changed:
            self._waiting.append((job, done))
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pyshard-writer", daemon=True)
            self._thread.start()
        return done

    def _done(self, outcome: _T, weight: int) -> _T:
        self._weight -= weight
        return outcome

    def close(self) -> Deferred[None]:
        """Do what waits, and end the thread.

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
                while not self._waiting and self._closed is None:
                    self._changed.wait()
                group = [self._waiting.popleft() for _ in range(min(GROUP, len(self._waiting)))]
                closed = self._closed
            if not group and closed is not None:
                self._finish()
                self._call_from_thread(closed.callback, None)
                return
            outcomes = self._outcomes([job for job, _ in group])
            self._call_from_thread(_fire, [done for _, done in group], outcomes)

    def _outcomes(self, jobs: Sequence[_J]) -> Sequence[object]:
        try:
            return self._commit(jobs)
        except Exception:  # noqa: BLE001  # else nobody would answer these jobs, nor do any other
            return [Failure()] * len(jobs)


def _fire(deferreds: Sequence[Deferred[Any]], outcomes: Sequence[object]) -> None:
    for done, outcome in zip(deferreds, outcomes, strict=True):
        if isinstance(outcome, Failure):
            done.errback(outcome)
        else:
            done.callback(outcome)
