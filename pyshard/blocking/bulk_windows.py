"""Bulk verbs of the blocking client: they read the caller's iterable and send it, one window at a time.

Rules:

- the caller's iterable and ``progress`` run in the caller's thread, while no call is in flight;
- so both may take their time and make blocking calls of their own;
- an iterable that is slow is sent after half a second of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import TypeVar

from twisted.internet.defer import Deferred

from pyshard.client import Client
from pyshard.client.backup_client import BackupClient
from pyshard.client_core.bulk_input import BulkSlice
from pyshard.client_core.bulk_outcomes import Progress, partial_failure
from pyshard.errors import PartialFailure

_T = TypeVar("_T")

_WINDOW = 20_000  # keys that are read from the iterable before they are sent
_LONGEST = 0.5  # seconds for which a window is collected, if the iterable is slow


class BulkWindows:
    """One bulk verb of a blocking client.

    :param changes: whether the verb changes something.
    :param run: calls a function of the Deferred client, and waits for its Deferred (`Pyshard.run`).
    :param deadline: seconds that each operation may take; None is the client's own.
    :param progress: called after each window with the number of keys that are done so far.
    """

    def __init__(
        self,
        changes: bool,
        run: Callable[[Callable[[Client], Deferred[list[object]]]], list[object]],
        deadline: float | None,
        progress: Progress | None,
    ) -> None:
        self._changes = changes
        self._run = run
        self._deadline = deadline
        self._progress = progress
        self._away: set[str] = set()

    def all(
        self, source: Iterable[_T], steps: Callable[[list[_T], int], Iterator[BulkSlice]], key: Callable[[_T], object]
    ) -> list[object]:
        """Do the verb for all elements of an iterable.

        :param steps: gives the steps of a window, given how many keys each is to have.
        :param key: gives the key of one of the iterable's elements.
        :return: the outcomes, in order.
        :raises PartialFailure: there are errors among them.
        """
        keys: list[object] = []
        outcomes: list[object] = []
        failed = False
        for window in _windows(source):
            try:
                outcomes += self._run(partial(self._window, window, steps))
            except PartialFailure as failure:
                outcomes += [outcome for _, outcome in failure.outcomes]
                failed = True
            keys += map(key, window)
            if self._progress is not None:
                self._progress(len(keys))
        if failed:
            raise partial_failure(list(zip(keys, outcomes, strict=True)))
        return outcomes

    def _window(
        self, window: list[_T], steps: Callable[[list[_T], int], Iterator[BulkSlice]], client: Client
    ) -> Deferred[list[object]]:
        raw = BackupClient(client)
        return raw.bulk(steps(window, raw.slice_size(self._changes)), self._deadline, away=self._away)


def _windows(source: Iterable[_T]) -> Iterator[list[_T]]:
    if isinstance(source, list):  # it is all there
        for start in range(0, len(source), _WINDOW):
            yield source[start : start + _WINDOW]
        return
    window: list[_T] = []
    begun = time.monotonic()
    for element in source:
        if not window:
            begun = time.monotonic()
        window.append(element)
        if len(window) >= _WINDOW or time.monotonic() - begun >= _LONGEST:
            yield window
            window = []
    if window:
        yield window
