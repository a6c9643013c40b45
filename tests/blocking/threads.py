"""Threads apart from the test's own, and what they come to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pyshard.blocking.reactor_runner import ReactorRunner

_T = TypeVar("_T")


class Thread(threading.Thread):
    """A thread, apart from the test's own (in which pytest-twisted runs a reactor), whose outcome can be had."""

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
    """The outcome of a function that was called in another thread."""
    found: _T = Thread(function).outcome()
    return found


def later(runner: ReactorRunner, seconds: float, value: _T) -> Callable[[], Deferred[_T]]:
    """A function to run: its Deferred fires after so many seconds."""
    return lambda: deferLater(runner.reactor, seconds, lambda: value)


def until(holds: Callable[[], object]) -> None:
    """Wait until something holds, for a few seconds at the most."""
    end = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < end, "it never comes"
        time.sleep(0.001)
