"""Threads beside the test's own, and their outcomes."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pyshard.blocking.leader_followers import ReactorRunner

_T = TypeVar("_T")


class Thread(threading.Thread):
    """A thread that keeps its outcome; blocking calls work in it, unlike in the test's, where a reactor runs."""

    def __init__(self, function: Callable[[], Any]) -> None:
        super().__init__(daemon=True)
        self._function = function
        self._outcome: list[Any] = []
        self.start()

    def run(self) -> None:
        """Call the function."""
        try:
            self._outcome.append((True, self._function()))
        except BaseException as error:  # noqa: BLE001  # it is raised where the outcome is asked for
            self._outcome.append((False, error))

    def outcome(self) -> Any:
        """What the function returned, or raised."""
        self.join(10)
        assert self._outcome, "the thread hangs"
        worked, found = self._outcome[0]
        if not worked:
            raise found
        return found


def apart(function: Callable[[], _T]) -> _T:
    """Call a function in another thread; its outcome."""
    found: _T = Thread(function).outcome()
    return found


def later(runner: ReactorRunner, seconds: float, value: _T) -> Callable[[], Deferred[_T]]:
    """A function for a runner, whose Deferred fires after some seconds."""
    return lambda: deferLater(runner.reactor, seconds, lambda: value)


def until(holds: Callable[[], object]) -> None:
    """Wait until a condition holds, at most a few seconds."""
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end, "it never comes"
        time.sleep(0.001)
