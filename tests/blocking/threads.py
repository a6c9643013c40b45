"""Threads beside the test's own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


def in_threads(functions: list[Callable[[], _T]]) -> list[_T]:
    """The outcomes of functions that run at the same time, each in a thread of its own."""
    found: dict[int, _T] = {}
    threads = [
        threading.Thread(target=lambda number=number, one=one: found.__setitem__(number, one()), daemon=True)
        for number, one in enumerate(functions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(found) == list(range(len(functions))), "a thread failed or hangs"
    return [found[number] for number in range(len(functions))]
