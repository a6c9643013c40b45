"""MapServers: from which of the addresses that a client was given it gets the map.

An address may lead to a bootstrap or to a shard. Both have the map; only a bootstrap creates and drops indexes.

Rules:

- Who answers at an address is known when it has said so, and may be another daemon the next time.
- A connection to a shard is closed when nothing is called over it, since the client's links have connections of
  their own.
- What only a bootstrap can do is called at one address, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from pyshard.client.hedged_request import HedgedRequest
from pyshard.client.rpc_channel import RpcChannel
from pyshard.client_core import map_fetching
from pyshard.errors import PyshardError
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.net.dialed_connection import DialedConnection
from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol import commands
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.greeting import Greeting
from pyshard.settings import settings


class Server:
    """One address that a client was given, and the connection to it.

    :param clock: times everything.
    :param endpoint: leads there.
    :param name: the address, for messages.
    :param check: given the `Greeting` of whoever answers; raises when it isn't of the client's cluster.
    :param random: jitter, and the id of the session.
    :param alone: no other address was given.
    :ivar role: of whoever answered there last, as `Hello` says it; empty: nobody has.
    :ivar rpc: calls it.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoint: IStreamClientEndpoint,
        name: str,
        check: Callable[[Greeting], None],
        random: Random,
        alone: bool,
    ) -> None:
        self.name = name
        self.role = ""
        self._alone = alone
        self._check = check
        self._closed = False
        self.rpc = RpcChannel(clock, self, settings.TIMEOUT)
        self.dialer = Dialer(clock, endpoint, self, random, random.randbytes(commands.OWN_SESSION_ID))

    def release(self) -> None:
        """Close a connection to a shard over which nothing is called."""
        connection = self.dialer.connection
        if connection is not None and self.role == map_fetching.SHARD and not self.rpc.pending:
            connection.leave()

    def close(self) -> Deferred[None]:
        """End everything; the Deferred fires when the connection is closed."""
        self._closed = True
        closed = self.dialer.close()
        self.rpc.close()
        return closed

    def peer_name(self) -> str:
        """See `RpcOwner`."""
        return map_fetching.server_name(self.role, self.name, self._alone)

    def wants_connection(self) -> bool:
        """See `DialerOwner`."""
        return self.rpc.pending and not self._closed

    def approve(self, connection: DialedConnection, greeting: Greeting) -> None:
        """See `DialerOwner`."""
        self.role = greeting.role
        self._check(greeting)

    def connected(self, connection: DialedConnection) -> None:
        """See `DialerOwner`."""
        self.rpc.connected(connection)
        self.release()

    def disconnected(self, reason: str) -> None:
        """See `DialerOwner`."""
        self.rpc.disconnected(reason)

    def refused(self, error: PyshardError) -> None:
        """See `DialerOwner`."""
        self.rpc.refused(error)


class MapServers:
    """All addresses that a client was given.

    :param clock: times everything.
    :param endpoints: each address, for messages, and the endpoint that leads there; at least one.
    :param check: given the `Greeting` of whoever answers; raises when it isn't of the client's cluster.
    :param random: jitter, and the ids of sessions.
    :ivar in_vain: how often a newer map was asked for, and there was none.
    """

    def __init__(
        self,
        clock: IReactorTime,
        endpoints: Sequence[tuple[str, IStreamClientEndpoint]],
        check: Callable[[Greeting], None],
        random: Random,
    ) -> None:
        self._clock = clock
        alone = len(endpoints) == 1
        self.in_vain = 0
        self._servers = [Server(clock, endpoint, name, check, random, alone) for name, endpoint in endpoints]

    def first_map(self, seconds: float) -> Deferred[tuple[ClusterState, bool]]:
        """The map, from the first address that has it.

        :param seconds: the deadline, from now.
        :return: a Deferred of the cluster state, and of whether a bootstrap gave it.
        :raises PyshardError: (in the Deferred) what each address failed with.
        """
        return Deferred.fromCoroutine(self._first_map(seconds))

    def by_preference(self, shards: Sequence[RpcChannel]) -> list[RpcChannel]:
        """Whom to call for a newer map: addresses that may be a bootstrap's, then shards.

        :param shards: the client's connected links to shards; where there is none, the addresses of shards are called.
        """
        return map_fetching.by_preference(self._channels(), shards, in_vain=self.in_vain)

    def call(
        self, command: type[Command], seconds: float, changes: bool = False, **arguments: object
    ) -> Deferred[dict[str, Any]]:
        """Call the bootstrap; see `RpcChannel.call`.

        :raises ConfigError: (in the Deferred) none of the addresses is a bootstrap's.
        """
        return Deferred.fromCoroutine(self._call(command, seconds, changes, arguments))

    def close(self) -> Deferred[None]:
        """End everything; the Deferred fires when all connections are closed."""
        return gatherResults([server.close() for server in self._servers]).addCallback(lambda _: None)

    def perhaps_bootstraps(self) -> list[RpcChannel]:
        """Those addresses that may be a bootstrap's."""
        return map_fetching.perhaps_bootstraps(self._channels())

    def is_bootstrap(self, peer: RpcChannel) -> bool:
        """Whether it leads to an address that the client was given, and a bootstrap has answered there."""
        return any(peer is channel and role == map_fetching.BOOTSTRAP for role, channel in self._channels())

    async def _first_map(self, seconds: float) -> tuple[ClusterState, bool]:
        def accept(peer: RpcChannel, answer: dict[str, Any], _: float) -> tuple[ClusterState, bool]:
            return cluster_state_json.from_json(answer["state"]), self.is_bootstrap(peer)

        peers = [server.rpc for server in self._servers]
        first = await HedgedRequest(self._clock, peers, commands.GetMap, accept, seconds).start()
        self._release()
        return first

    async def _call(
        self, command: type[Command], seconds: float, changes: bool, arguments: dict[str, object]
    ) -> dict[str, Any]:
        deadline = self._clock.seconds() + seconds
        first, *others = self._servers
        bootstrap = first.rpc if not others and first.role != map_fetching.SHARD else await self._bootstrap(seconds)
        left = max(0.0, round(deadline - self._clock.seconds(), 2))
        answer: dict[str, Any] = await bootstrap.call(command, left, changes, **arguments)
        return answer

    async def _bootstrap(self, seconds: float) -> RpcChannel:
        """The address at which a bootstrap is."""
        server_of = {server.rpc: server for server in self._servers}

        def accept(peer: RpcChannel, *_: object) -> RpcChannel:
            server = server_of[peer]
            map_fetching.check_bootstrap(server.role, server.name)
            return peer

        peers = map_fetching.bootstraps_first(self._channels())
        try:
            return await HedgedRequest(self._clock, peers, commands.Ping, accept, seconds).start()
        finally:
            self._release()

    def _channels(self) -> list[tuple[str, RpcChannel]]:
        return [(server.role, server.rpc) for server in self._servers]

    def _release(self) -> None:
        for server in self._servers:
            server.release()
