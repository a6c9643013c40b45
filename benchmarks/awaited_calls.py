"""Keeps many calls of an asyncio client in flight: an event loop in a thread of its own, and tasks that call."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from peers.interface import Awaiting, Timed

from pyshard import Document

_T = TypeVar("_T")


class LoopThread:
    """An event loop of asyncio, run by a thread until the process ends; the thread begins with the first call."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None

    def call(self, function: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Run a coroutine on the loop, and wait for its end."""
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            threading.Thread(target=self._loop.run_forever, name="event loop", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result()

    def write(self, client: Awaiting, pairs: Sequence[tuple[str, Document]], width: int) -> Timed:
        """Store documents; `width` calls are in flight."""
        return self.call(lambda: write_awaited(client, pairs, width))

    def read(self, client: Awaiting, keys: Sequence[str], width: int) -> Timed:
        """Look documents up."""
        return self.call(lambda: read_awaited(client, keys, width))


async def _in_tasks(call: Callable[[int], Awaitable[None]], count: int, width: int) -> float:
    """Make so many calls from `width` tasks, each of which awaits one at a time; the seconds that it took."""
    numbers = iter(range(count))

    async def work() -> None:
        for number in numbers:
            await call(number)

    begin = time.perf_counter()
    await asyncio.gather(*(work() for _ in range(width)))
    return time.perf_counter() - begin


async def write_awaited(client: Awaiting, pairs: Sequence[tuple[str, Document]], width: int) -> Timed:
    """Store documents with single calls.

    :param width: how many are in flight.
    """

    async def write(number: int) -> None:
        await client.write(*pairs[number])

    return Timed(await _in_tasks(write, len(pairs), width), [])


async def read_awaited(client: Awaiting, keys: Sequence[str], width: int) -> Timed:
    """Look documents up with single calls.

    :param width: how many are in flight.
    """
    values: list[Document | None] = [None] * len(keys)

    async def read(number: int) -> None:
        values[number] = client.value(await client.read(keys[number]))

    return Timed(await _in_tasks(read, len(keys), width), values)
