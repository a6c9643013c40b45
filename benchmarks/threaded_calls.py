"""Runs loops of blocking calls in many threads at the same time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from peers.interface import Timed

from pyshard import Document


def in_threads(loop: Callable[[int], Timed], threads: int) -> Timed:
    """Run a loop in many threads at the same time.

    :param loop: given a thread's number, from 0.
    :return: the time from the start of all threads to the end of the last one; the values in the threads' order.
    """
    outcomes: list[Timed | BaseException | None] = [None] * threads
    barrier = threading.Barrier(threads + 1)

    def run(place: int) -> None:
        barrier.wait()
        try:
            outcomes[place] = loop(place)
        except BaseException as error:  # noqa: BLE001  # raised below
            outcomes[place] = error

    running = [threading.Thread(target=run, args=(place,), daemon=True) for place in range(threads)]
    for thread in running:
        thread.start()
    barrier.wait()
    begin = time.perf_counter()
    for thread in running:
        thread.join()
    seconds = time.perf_counter() - begin
    values: list[Document | None] = []
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
        assert outcome is not None
        values += outcome.values
    return Timed(seconds, values)
