"""What a verb gives on an event loop: a future, made of the Deferred that the work has.

Rules:

- A future that is cancelled cancels its Deferred: nothing waits any more, and what comes late is dropped.
- A failure that nobody asks for is reported as asyncio reports it, when the future is forgotten.
"""

from __future__ import annotations

import asyncio
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

_T = TypeVar("_T")


def future_of(loop: asyncio.AbstractEventLoop, deferred: Deferred[_T]) -> asyncio.Future[_T]:
    """A future of a loop, of what a Deferred fires with."""
    future: asyncio.Future[_T] = loop.create_future()

    def fired(result: _T) -> None:
        if not future.done():
            future.set_result(result)

    def failed(failure: Failure) -> None:
        if not future.done():
            assert failure.value is not None
            future.set_exception(failure.value)

    def ended(future: asyncio.Future[_T]) -> None:
        if future.cancelled():
            deferred.cancel()

    deferred.addCallbacks(fired, failed)
    if not future.done():
        future.add_done_callback(ended)
    return future
