"""A cluster on the event loop of a test: real shards, a real bootstrap and real sockets, without processes.

The daemons are Twisted's services, on the clock and the transports of `pyshard.aio`.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from itertools import count, pairwise
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar

import pytest
from ports import free_port
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IStreamServerEndpoint
from zope.interface import implementer

from pyshard import Tls
from pyshard.aio.loop_clock import LoopClock
from pyshard.aio.loop_connections import LoopConnections
from pyshard.aio.stream_transport import StreamProtocol
from pyshard.aio.verb_futures import future_of
from pyshard.bootstrap.bootstrap import Bootstrap, first_state
from pyshard.bootstrap.service import BootstrapService
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.model.slot_ranges import in_ranges
from pyshard.net.authenticating_endpoint import authenticated_dial
from pyshard.net.client_endpoints import Dial
from pyshard.security import tls as tls_package
from pyshard.security.tls.ssl_context import SslContext
from pyshard.security.tokens_and_roles import Role, Tokens
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore

HOST = "127.0.0.1"
PATIENCE = 20.0  # seconds after which a wait has failed

_T = TypeVar("_T")


def run(work: Callable[[], Awaitable[_T]], loop: str = "asyncio") -> _T:
    """Run a coroutine on a new loop, as `asyncio.run` does; it fails when the loop reports an error."""
    made: Callable[[], asyncio.AbstractEventLoop] | None = None
    if loop == "uvloop":
        made = pytest.importorskip("uvloop", reason="uvloop isn't installed").new_event_loop
    reported: list[dict[str, Any]] = []

    async def main() -> _T:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
        return await asyncio.wait_for(work(), PATIENCE)

    with asyncio.Runner(loop_factory=made) as runner:
        found = runner.run(main())
    assert reported == []
    return found


async def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    end = asyncio.get_running_loop().time() + PATIENCE
    while not holds():
        assert asyncio.get_running_loop().time() < end, f"waited in vain: {what}"
        await asyncio.sleep(0.005)


class LoopCluster:
    """Some shards with equal parts of the keyspace, called ``shard0``, …, and a bootstrap; for ``async with``.

    :param tokens: the valid tokens, one of them of an admin.
    :param tls: the daemons' files of TLS; None: plain TCP.
    :param host: how the map names the shards' machine.
    """

    def __init__(
        self, shards: int = 2, *, tokens: Tokens | None = None, tls: Tls | None = None, host: str = HOST
    ) -> None:
        self.clock = LoopClock(asyncio.get_running_loop())
        self._tls = tls
        self._tokens = None if tokens is None else lambda: tokens
        self.connections = LoopConnections(self.clock, None if tls is None else SslContext(tls))
        bounds = [SLOTS * number // shards for number in range(shards + 1)]
        self.map = ShardMap(
            MapShard(f"shard{number}", ((start, end),), 1 << 30, host, free_port())
            for number, (start, end) in enumerate(pairwise(bounds))
        )
        self.port = free_port()
        self.endpoints: dict[str, ListeningEndpoint] = {}
        self.services: dict[str, ShardService] = {}
        self._ids = count()
        self.bootstrap_endpoint = ListeningEndpoint(self.clock.loop, self.port)
        dial: Dial = self.connections.dial
        if tokens is not None:
            admin = tokens.first(Role.ADMIN)
            assert admin is not None
            dial = authenticated_dial(dial, lambda: admin.secret)
        store = MemoryStateStore(first_state("c" * 32, self.map))
        self.bootstrap = BootstrapService(
            Bootstrap(store, self.clock, "b1", store.stored),
            self.clock,
            self._listening(self.bootstrap_endpoint),
            dial,
            Random(1),
            self._tokens,
        )

    @property
    def server(self) -> str:
        """The bootstrap's address."""
        return f"{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        for one in self.map.shards:
            self.start_shard(one.name)
        self.bootstrap.startService()
        await self.ready()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for endpoint in [self.bootstrap_endpoint, *self.endpoints.values()]:
            endpoint.abort()
        await self._stopped(self.bootstrap)
        for name in list(self.services):
            await self._stopped(self.services.pop(name))
        self.connections.abort()
        await self.connections.closed()

    def start_shard(self, name: str) -> None:
        """Start a shard that isn't running; it is empty."""
        own = self.map.named(name)
        assert own is not None
        self.endpoints[name] = endpoint = ListeningEndpoint(self.clock.loop, own.port)
        store = MemoryStore(f"{next(self._ids):032}", self.clock.seconds)
        shard = Shard(store, self.clock.seconds)
        service = ShardService(lambda: shard, self.clock, self._listening(endpoint), self._tokens)
        self.services[name] = service
        service.startService()

    async def kill_shard(self, name: str) -> None:
        """End a shard abruptly: its connections break."""
        endpoint = self.endpoints.pop(name)
        endpoint.deaf = False
        endpoint.stop()
        endpoint.abort()
        await self._stopped(self.services.pop(name))

    async def ready(self) -> None:
        """Wait until the bootstrap calls every shard ready."""

        def all_ready() -> bool:
            return all(one.described()["state"] == "ready" for one in self.bootstrap.bootstrap.readiness())

        await until(all_ready, "the shards are ready")

    def keys(self, name: str, amount: int) -> list[str]:
        """Some keys that a shard owns."""
        own = self.map.named(name)
        assert own is not None
        texts = (f"key{number}" for number in count())
        owned = (text for text in texts if in_ranges(slot_of(text.encode()), own.ranges))
        return [next(owned) for _ in range(amount)]

    def _listening(self, endpoint: ListeningEndpoint) -> IStreamServerEndpoint:
        if self._tls is None:
            return endpoint
        return tls_package.listening(endpoint, self._tls, False, self.clock)

    async def _stopped(self, service: Any) -> None:
        await future_of(self.clock.loop, maybeDeferred(service.stopService))


@implementer(IStreamServerEndpoint)
class ListeningEndpoint:
    """Listens on a port of the loopback.

    :ivar deaf: whether what arrives is kept, and not given to the daemon.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, port: int) -> None:
        self._loop = loop
        self.port = port
        self.deaf = False
        self.streams: set[ListeningStream] = set()
        self._server: asyncio.Server | None = None
        self._starting: asyncio.Task[None] | None = None
        self._socket: socket.socket | None = None

    def listen(self, protocolFactory: IProtocolFactory) -> Deferred[IListeningPort]:  # noqa: N803  # the interface's
        """See `IStreamServerEndpoint`."""
        protocolFactory.doStart()
        self._socket = socket.create_server((HOST, self.port))
        self._starting = self._loop.create_task(self._start(protocolFactory, self._socket))
        return succeed(ListeningPort(self))

    async def _start(self, factory: IProtocolFactory, listening: socket.socket) -> None:
        self._server = await self._loop.create_server(lambda: ListeningStream(factory, self), sock=listening)

    def stop(self) -> None:
        """Take no more connections."""
        assert self._server is not None
        self._server.close()

    def abort(self) -> None:
        """Break every connection."""
        for stream in list(self.streams):
            if stream.transport is not None:
                stream.transport.abortConnection()

    def hear(self) -> None:
        """Hand over what was kept."""
        self.deaf = False
        for stream in list(self.streams):
            stream.hear()


class ListeningStream(StreamProtocol):
    """A connection that was dialed by the other side."""

    def __init__(self, factory: IProtocolFactory, endpoint: ListeningEndpoint) -> None:
        super().__init__(factory, lambda _: endpoint.streams.discard(self))
        self._endpoint = endpoint
        self._kept: list[bytes] = []
        endpoint.streams.add(self)

    def buffer_updated(self, nbytes: int) -> None:
        """See `asyncio.BufferedProtocol`."""
        self._kept.append(bytes(self.get_buffer(nbytes)[:nbytes]))
        if not self._endpoint.deaf:
            self.hear()

    def hear(self) -> None:
        """Hand over what was kept."""
        kept, self._kept = self._kept, []
        if kept and self.protocol is not None:
            self.protocol.dataReceived(b"".join(kept))


@implementer(IListeningPort)
class ListeningPort:
    """What an endpoint gives that listens."""

    def __init__(self, endpoint: ListeningEndpoint) -> None:
        self._endpoint = endpoint

    def startListening(self) -> None:
        """See `IListeningPort`."""

    def stopListening(self) -> Deferred[None] | None:
        """See `IListeningPort`."""
        self._endpoint.stop()
        return None

    def getHost(self) -> IPv4Address:
        """See `IListeningPort`."""
        return IPv4Address("TCP", HOST, self._endpoint.port)
