"""Threads that make recorded calls with one blocking client, and the check of what came of them."""

from __future__ import annotations

import threading
import time
from random import Random
from types import TracebackType
from typing import Self

from histories import Recorder, Tally
from history_calls import FLEETING, PAGES, Call, invoke

from pyshard import Pyshard
from pyshard.errors import PyshardError

_THREADS = 3
_PAUSE = 0.02  # seconds between two calls of a thread, at the most
_CALM = 20.0  # seconds that a call may take when nothing happens any more


class BlockingLoad:
    """Calls as long as it is entered; for ``with``.

    :param app: the cluster has the index `PAGES`.
    :param keys: of each index; nobody else calls them.
    """

    def __init__(self, app: Pyshard, keys: list[str], seed: str) -> None:
        self._app = app
        self._recorder = Recorder(keys, Random(seed), time.monotonic_ns)
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._call, args=(number, Random(f"{seed} {number}")))
            for number in range(1, _THREADS + 1)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def check(self) -> Tally:
        """Read every key, and check all; the index that comes and goes is gone then.

        :raises AssertionError: what the calls came to can't be.
        """
        for index in ("", PAGES):
            for key in self._recorder.keys:
                self._make(Call(0, -1, "read", index, [key], deadline=_CALM))
        if FLEETING in self._app.indexes(deadline=_CALM):
            self._app.drop_index(FLEETING, deadline=_CALM)
        return self._recorder.check()

    def _call(self, number: int, random: Random) -> None:
        while not self._over.is_set():
            self._make(self._recorder.plan(number, random))
            time.sleep(random.random() * _PAUSE)

    def _make(self, call: Call) -> None:
        self._recorder.began(call)
        try:
            outcome: object = invoke(self._app, call)
        except PyshardError as error:
            outcome = error
        self._recorder.ended(call, outcome)
