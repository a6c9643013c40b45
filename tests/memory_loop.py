"""An event loop of asyncio in memory: its time is that of a cluster in memory, and its connections go to that cluster.

So programs on `pyshard.aio` run beside the cluster's other clients, with the faults of its network, and a run with the
same seed is the same run. Of a loop's methods those are here that `asyncio` itself and `pyshard.aio` need.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine
from contextvars import Context
from functools import partial
from typing import Any, TypeVar, cast

from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IDelayedCall, ITCPTransport
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.testing import MemoryNetwork

_T = TypeVar("_T")


class MemoryLoop(asyncio.AbstractEventLoop):
    """An event loop whose turns are calls of a clock.

    :param network: where its connections go, and whose clock it goes by.
    :ivar reported: what callbacks raised, and what else a loop reports.
    """

    def __init__(self, network: MemoryNetwork) -> None:
        self._network = network
        self._clock: Clock = network.clock
        self._ready: list[asyncio.Handle] = []
        self._later: dict[asyncio.TimerHandle, IDelayedCall] = {}
        self.reported: list[dict[str, Any]] = []

    def enter(self, function: Callable[[], _T]) -> _T:
        """Call a function as code that runs on this loop."""
        asyncio._set_running_loop(self)
        try:
            return function()
        finally:
            asyncio._set_running_loop(None)

    def _turn(self) -> None:
        ready, self._ready = self._ready, []
        for handle in ready:
            if not handle.cancelled():
                self.enter(handle._run)

    # ------------------------------------------------------------------ calls

    def time(self) -> float:
        """See `AbstractEventLoop`."""
        return self._clock.seconds()

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]  # typeshed has it with a TypeVarTuple
        """See `AbstractEventLoop`."""
        handle = asyncio.Handle(callback, args, self, context)
        if not self._ready:
            self._clock.callLater(0, self._turn)
        self._ready.append(handle)
        return handle

    def call_later(  # type: ignore[override]  # as above
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See `AbstractEventLoop`."""
        handle = asyncio.TimerHandle(self.time() + delay, callback, args, self, context)
        handle._scheduled = True  # type: ignore[attr-defined]  # so that its cancellation is told
        self._later[handle] = self._clock.callLater(max(0.0, delay), self._call, handle)
        return handle

    def _call(self, handle: asyncio.TimerHandle) -> None:
        del self._later[handle]
        self.enter(handle._run)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        call = self._later.pop(handle, None)
        if call is not None:
            call.cancel()

    # ------------------------------------------------------------------ futures and tasks

    def create_future(self) -> asyncio.Future[Any]:
        """See `AbstractEventLoop`."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, _T], **options: Any) -> asyncio.Task[_T]:  # type: ignore[override]  # as above
        """See `AbstractEventLoop`."""
        return asyncio.Task(coro, loop=self, **options)

    def get_debug(self) -> bool:
        """See `AbstractEventLoop`."""
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """See `AbstractEventLoop`."""
        self.reported.append(context)

    # ------------------------------------------------------------------ the network

    async def getaddrinfo(self, host: Any, port: Any, **options: Any) -> list[Any]:
        """See `AbstractEventLoop`: a name of the network stands for itself."""
        return [(0, 0, 0, "", (host, port))]

    async def create_connection(self, protocol_factory: Any, host: Any, port: Any) -> Any:  # type: ignore[override]  # as above
        """See `AbstractEventLoop`."""
        protocol: asyncio.BufferedProtocol = protocol_factory()
        found: list[object] = []
        factory = Factory.forProtocol(lambda: _End(self, protocol))
        self._network.connect((host, port), factory).addBoth(found.append)
        end = found[0]
        if not isinstance(end, _End):
            assert isinstance(end, Failure)
            end.trap(ConnectionRefusedError)
            raise OSError(errno.ECONNREFUSED, "Connection refused")
        transport = MemoryTransport(self, end, (host, port))
        end.open(transport)
        try:
            await asyncio.sleep(0)
        except BaseException:
            transport.close()
            raise
        return transport, protocol


class _End(Protocol):
    """The client's end of a connection, as the network has it."""

    def __init__(self, loop: MemoryLoop, protocol: asyncio.BufferedProtocol) -> None:
        self._loop = loop
        self._protocol = protocol
        self._opened: MemoryTransport | None = None
        self._kept: list[bytes] = []
        self._lost = False
        self.reading = True

    def open(self, transport: MemoryTransport) -> None:
        """Tell the protocol of the connection."""
        self._opened = transport
        self._protocol.connection_made(transport)

    def dataReceived(self, data: bytes) -> None:
        self._kept.append(data)
        self._loop.call_soon(self.hand_over)

    def hand_over(self) -> None:
        """Give the protocol what has come, if it takes something."""
        while self._kept and self.reading and not self._lost and self._opened and not self._opened.is_closing():
            data = self._kept.pop(0)
            buffer = memoryview(self._protocol.get_buffer(-1))
            taken = min(len(data), len(buffer))
            if taken < len(data):
                self._kept.insert(0, data[taken:])
            buffer[:taken] = data[:taken]
            self._protocol.buffer_updated(taken)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._loop.call_soon(self.lose)

    def lose(self) -> None:
        """Tell the protocol that the connection has ended."""
        if not self._lost:
            self._lost = True
            if self._opened is not None:
                self._opened.ended()
            self._protocol.connection_lost(None)


class MemoryTransport(asyncio.Transport):
    """What asyncio's protocols write to."""

    def __init__(self, loop: MemoryLoop, end: _End, address: tuple[str, int]) -> None:
        super().__init__({"peername": address, "socket": _NoSocket()})
        self._loop = loop
        self._end = end
        self._closing = False

    def write(self, data: Any) -> None:
        """See `asyncio.WriteTransport`."""
        if not self._closing:
            cast(ITCPTransport, self._end.transport).write(bytes(data))

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport`."""
        return self._closing

    def ended(self) -> None:
        """The connection has ended."""
        self._closing = True

    def close(self) -> None:
        """See `asyncio.BaseTransport`."""
        if not self._closing:
            self._closing = True
            cast(ITCPTransport, self._end.transport).loseConnection()
            self._loop.call_soon(self._end.lose)

    def abort(self) -> None:
        """See `asyncio.WriteTransport`."""
        self.close()

    def pause_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._end.reading = False

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport`."""
        self._end.reading = True
        self._loop.call_soon(self._end.hand_over)

    def can_write_eof(self) -> bool:
        """See `asyncio.WriteTransport`."""
        return False


class _NoSocket:
    """Takes the options of a socket."""

    def setsockopt(self, *options: object) -> None:
        pass


def started(loop: MemoryLoop, work: Callable[[], Coroutine[Any, Any, _T]]) -> asyncio.Task[_T]:
    """A coroutine that a loop runs."""
    return loop.enter(partial(_task, loop, work))


def _task(loop: MemoryLoop, work: Callable[[], Coroutine[Any, Any, _T]]) -> asyncio.Task[_T]:
    return loop.create_task(work())
