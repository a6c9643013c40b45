"""A real writer's thread with a queue for a reactor, and a disk that commits numbers, for tests of group commit."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.storage.durable.group_commit import Committed


class Reactor:
    """As much of a reactor as a writer uses: what its thread hands over is called by `turn`."""

    def __init__(self) -> None:
        self._calls: queue.Queue[tuple[Callable[..., Any], tuple[Any, ...]]] = queue.Queue()

    def call_from_thread(self, function: Callable[..., Any], *arguments: Any) -> None:
        """What the writer is given."""
        self._calls.put((function, arguments))

    def until(self, deferred: Deferred[Any]) -> Any:
        """Call what is handed over until a Deferred has fired; its result, a Failure as it is."""
        outcome: list[Any] = []
        deferred.addBoth(outcome.append)
        while not outcome:
            self.turn()
        return outcome[0]

    def turn(self) -> None:
        """Call the next thing that is handed over."""
        function, arguments = self._calls.get(timeout=10)
        function(*arguments)


class Disk:
    """Commits numbers, while it isn't blocked.

    :param size: bytes that the outcomes of each commit keep.
    """

    def __init__(self, size: int = 0) -> None:
        self._size = size
        self.commits: list[list[int]] = []
        self.unblocked = threading.Event()
        self.unblocked.set()
        self.begun = threading.Event()  # since it was cleared last, a commit

    def commit(self, updates: Sequence[int]) -> Committed:
        """Each update's outcome is its double; a negative one fails."""
        self.begun.set()
        self.unblocked.wait(10)
        self.commits.append(list(updates))
        outcomes: list[object] = [Failure(ValueError(update)) if update < 0 else update * 2 for update in updates]
        return Committed(outcomes, self._size)
