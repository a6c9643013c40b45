"""Clusters with TLS on the reactor of the tests themselves: real sockets, without the time that processes take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import TypeAlias

import attrs
from functional.cluster import HOST
from ports import free_port
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.endpoints import TCP4ServerEndpoint
from twisted.internet.interfaces import (
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
    IStreamServerEndpoint,
)
from twisted.internet.task import deferLater
from zope.interface import implementer

from pyshard import Tls
from pyshard.bootstrap.bootstrap import Bootstrap, first_state
from pyshard.bootstrap.service import BootstrapService
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.net import client_endpoints
from pyshard.security import tls
from pyshard.server.connection import ServerConnection
from pyshard.server.listener import Listener
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore

_Waits: TypeAlias = Callable[[], bool]


@attrs.define
class Side:
    """How a daemon takes part in TLS.

    :param listen: its files for listening; None: plain TCP.
    :param any_client: whether its clients need no certificate.
    """

    listen: Tls | None
    any_client: bool = False


class SecuredCluster:
    """A bootstrap and one shard.

    :param shard: how the shard listens.
    :param bootstrap: how the bootstrap listens.
    :param dials: the bootstrap's files for dialing the shard.
    :param host: what the map says of the shard.
    :ivar dialed: how often the bootstrap has dialed the shard.
    """

    def __init__(self, shard: Side, bootstrap: Side, dials: Tls | None, host: str = HOST) -> None:
        from twisted.internet import reactor

        assert IReactorTime.providedBy(reactor)
        self.reactor = reactor
        self.shard_port, self.port = free_port(), free_port()
        shard_map = ShardMap([MapShard("a", ((0, SLOTS),), 1 << 30, host, self.shard_port)])
        made = Shard(MemoryStore("1" * 32, reactor.seconds), reactor.seconds)
        self.shard = ShardService(lambda: made, reactor, self._listening(self.shard_port, shard))
        store = MemoryStateStore(first_state("c" * 32, shard_map))
        keeper = Bootstrap(store, reactor, "b1", store.stored)
        plain = client_endpoints.dial_with(reactor, reactor)
        dial = plain if dials is None else tls.dialing(plain, dials, reactor, yesterday)
        self.dialed = 0

        def counting(host: str, port: int) -> IStreamClientEndpoint:
            return _Counting(self, dial(host, port))

        endpoint = self._listening(self.port, bootstrap)
        self.bootstrap = BootstrapService(keeper, reactor, endpoint, counting, Random(1))

    @property
    def server(self) -> str:
        """The bootstrap's address."""
        return f"{HOST}:{self.port}"

    def start(self) -> None:
        """Start both."""
        self.shard.startService()
        self.bootstrap.startService()

    async def stop(self) -> None:
        """Stop both."""
        await maybeDeferred(self.bootstrap.stopService)
        await maybeDeferred(self.shard.stopService)

    def connections(self) -> list[ServerConnection]:
        """The connections that the shard serves."""
        (listener,) = [one for one in self.shard if isinstance(one, Listener)]
        return [*listener._factory.connections]

    async def pause(self, seconds: float) -> None:
        """Let some time pass."""
        await deferLater(self.reactor, seconds)

    async def wait(self, holds: _Waits, what: str) -> None:
        """Wait until something holds."""
        for _ in range(1500):
            if holds():
                return
            await deferLater(self.reactor, 0.01)
        raise AssertionError(f"waited in vain: {what}")

    async def ready(self) -> None:
        """Wait until the bootstrap has configured the shard."""
        await self.wait(lambda: self.condition()[0] == "ready", "the shard is ready")

    async def until_unreachable(self, reason: str) -> None:
        """Wait until the bootstrap can't reach the shard for that reason."""
        await self.wait(lambda: self.condition() == ("unreachable", reason), reason)

    def condition(self) -> tuple[str, str]:
        """The shard's state, and why, as the bootstrap sees it."""
        (one,) = [found.described() for found in self.bootstrap.bootstrap.readiness()]
        return one["state"], one["detail"]

    def _listening(self, port: int, side: Side) -> IStreamServerEndpoint:
        plain = TCP4ServerEndpoint(self.reactor, port, interface=HOST)
        return (
            plain
            if side.listen is None
            else tls.listening(plain, side.listen, side.any_client, self.reactor, yesterday)
        )


@implementer(IStreamClientEndpoint)
@attrs.frozen
class _Counting:
    cluster: SecuredCluster
    endpoint: IStreamClientEndpoint

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:  # noqa: N803  # the interface's
        """See `IStreamClientEndpoint`."""
        self.cluster.dialed += 1
        connecting: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)
        return connecting


def yesterday() -> datetime:
    """When certificates that have expired since were still good, so that their owners use them."""
    return datetime.now(UTC) - timedelta(hours=12)
