"""What ties a client to its event loop: its verbs give futures of that loop, and are refused elsewhere.

Rules:

- A verb is refused in another loop, in another thread and after a fork, by one error that says so (`WrongEventLoop`).
- A client that is left open is closed when its loop shuts down, with one `ResourceWarning`. `asyncio.run` and all else
  that calls the loop's `shutdown_asyncgens` does that.
"""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred

from pyshard.aio.future_operation import ChangeFuture, FutureOperation
from pyshard.aio.loop_connections import LoopConnections
from pyshard.aio.verb_futures import future_of
from pyshard.client.client import Client
from pyshard.client.router import Router
from pyshard.client_core.operation import NO_OPTIONS, VerbOptions
from pyshard.client_core.operation_maker import OperationMaker
from pyshard.errors import PyshardError, WrongEventLoop
from pyshard.model.key_slots import Key
from pyshard.protocol.batch_operations import READING_RUNS

_T = TypeVar("_T")


class LoopBound:
    """A Deferred client on its loop.

    :param client: the client.
    :param router: leads to the shards.
    :param connections: all of the client's connections.
    :param operations: makes the operations on single keys, which need no Deferred.
    """

    def __init__(
        self,
        client: Client,
        router: Router,
        connections: LoopConnections,
        operations: OperationMaker[FutureOperation],
    ) -> None:
        self._client = client
        self._router = router
        self._operations = operations
        self._connections = connections
        self._loop = connections.clock.loop
        connections.guard = self._guard = _ShutdownGuard(client, connections)

    async def start(self) -> None:
        """Have the loop close the client when it shuts down."""
        await self._guard.start()

    async def close(self) -> None:
        """End all connections, and wait until they are closed. Operations whose answer is still out fail."""
        self.here()
        await self._guard.close()

    def here(self) -> Client:
        """The client, for a verb that is called on its loop.

        :raises WrongEventLoop: it is called elsewhere.
        """
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            raise WrongEventLoop(f"found no running event loop in this thread; {_EXPECTED}") from None
        if running is not self._loop:
            raise WrongEventLoop(f"found another event loop; {_EXPECTED}")
        return self._client

    def future(self, deferred: Deferred[_T]) -> asyncio.Future[_T]:
        """What a verb of the client gives, as a future of the loop."""
        return future_of(self._loop, deferred)

    def operate(
        self,
        verb: str,
        key: Key,
        index: str | None,
        deadline: float | None,
        record: bytes = b"",
        size: int = 0,
        options: VerbOptions = NO_OPTIONS,
        convert: Callable[[Any], object] | None = None,
    ) -> asyncio.Future[Any]:  # of what the verb gives
        """Have an operation on one key done, without the cost of a Deferred; see `FutureOperation`."""
        self.here()
        try:
            operation = self._operations.operation(verb, key, index, deadline, record, size, options)
        except PyshardError as error:
            return self.failed(error)
        operation.convert = convert
        if verb in READING_RUNS:
            self._router.submit_read(operation)
        else:
            operation.future = changing = ChangeFuture(loop=self._loop)
            changing.verb, changing.key = verb, operation.key
            self._router.submit(operation)
        return operation.future

    def failed(self, error: PyshardError) -> asyncio.Future[Any]:
        """What a verb gives that was called with a wrong argument."""
        self.here()
        future = self._loop.create_future()
        future.set_exception(error)
        return future


_EXPECTED = (
    "an asyncio client is used on the loop, in the thread and in the process that connected it; "
    "connect() gives one for here"
)


class _ShutdownGuard:
    """Closes a client once: when it is told to, or else when the loop shuts down.

    A loop that shuts down ends the asynchronous generators that were begun on it. So one that waits for its end hears
    of it, while the loop still runs.
    """

    def __init__(self, client: Client, connections: LoopConnections) -> None:
        self._client = client
        self._connections = connections
        self._told = False
        self._generator = self._wait()

    async def start(self) -> None:
        await anext(self._generator)

    async def close(self) -> None:
        self._told = True
        await self._close()
        await self._generator.aclose()

    async def _wait(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            if not self._told:
                self._told = True
                warnings.warn("an asyncio client of pyshard was not closed", ResourceWarning, stacklevel=1)
                await self._close()

    async def _close(self) -> None:
        self._client.close()
        await self._connections.closed()
