"""The addresses that a blocking client was given: where it gets the map, and which of them is a bootstrap's.

Rules:

- An address may lead to a bootstrap or to a shard. Both have the map; only a bootstrap creates and drops indexes.
- A question that any of several can answer is a hedged request: the next one is asked too when the one before it is
  silent for a little, and the first answer counts.
- What only a bootstrap can do is asked at one address, once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, TypeVar

from pyshard.blocking.calling_thread_tasks import Interest, Network, Steps, run, together
from pyshard.blocking.connection_pool import ConnectionPool
from pyshard.blocking.connection_target import ConnectionTarget
from pyshard.client_core import map_fetching
from pyshard.client_core.combined_error import error_of_all
from pyshard.errors import NotConfigured, PyshardError
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import StateReader
from pyshard.protocol import commands
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.greeting import Greeting

_T = TypeVar("_T")


class MapServerPool(ConnectionPool):
    """Connections to one address that the client was given.

    :param address: as it was given, for messages.
    :param alone: no other address was given.
    :param cluster: the id of the client's cluster, once it is known.
    """

    def __init__(
        self, network: Network, random: Random, target: ConnectionTarget, address: str, alone: bool, cluster: list[str]
    ) -> None:
        super().__init__(network, random, target)
        self.address = address
        self._alone = alone
        self._cluster = cluster

    def peer_name(self) -> str:
        """See `ConnectionPool`."""
        return map_fetching.server_name(self.role, self.address, self._alone)

    def check(self, greeting: Greeting) -> None:
        """See `ConnectionPool`."""
        map_fetching.check_cluster("".join(self._cluster[:1]), greeting.cluster)


class MapServerPools:
    """All addresses that the client was given.

    :param servers: each address, for messages, and where it leads.
    :ivar pools: that of each address.
    :ivar in_vain: how often a newer map was asked for, and there was none.
    :ivar states: reads the maps that come.
    """

    def __init__(self, network: Network, random: Random, servers: Sequence[tuple[str, ConnectionTarget]]) -> None:
        self._network = network
        self._cluster: list[str] = []  # its id, once it is known
        alone = len(servers) == 1
        self.in_vain = 0
        self.states = StateReader()
        self.pools = [
            MapServerPool(network, random, target, address, alone, self._cluster) for address, target in servers
        ]

    def check_cluster(self, given: str) -> None:
        """Make sure that a map is this cluster's.

        :raises ForeignCluster: it is another one's.
        """
        map_fetching.check_cluster("".join(self._cluster[:1]), given)

    def first_map(self, until: float, seconds: float) -> tuple[ClusterState, bool]:
        """The map, from the first address that has it.

        :param until: the end of the deadline.
        :param seconds: the whole deadline, for messages.
        :return: the cluster state, and whether a bootstrap gave it.
        :raises PyshardError: what each address failed with.
        """
        asking = ask_first(self._network, self.pools, commands.GetMap, _first, until, seconds)
        state, by_bootstrap = run(self._network, asking)
        self._cluster.append(state.cluster)
        return state, by_bootstrap

    def perhaps_bootstraps(self) -> list[ConnectionPool]:
        """Those addresses that may be a bootstrap's."""
        return map_fetching.perhaps_bootstraps(self._by_role())

    def by_preference(self, shards: Sequence[ConnectionPool]) -> list[ConnectionPool]:
        """Whom to ask for a newer map: addresses that may be a bootstrap's, then shards."""
        connected = [pool for pool in shards if pool.connected]
        return map_fetching.by_preference(self._by_role(), connected, shards, self.in_vain)

    def call(
        self, command: type[Command], until: float, seconds: float, changes: bool = False, **arguments: object
    ) -> dict[str, Any]:
        """Call the bootstrap; see `ConnectionPool.call`.

        :raises ConfigError: none of the addresses is a bootstrap's.
        """
        return run(self._network, self._call(command, until, seconds, changes, arguments))

    def _call(
        self, command: type[Command], until: float, seconds: float, changes: bool, arguments: dict[str, object]
    ) -> Steps[dict[str, Any]]:
        first = self.pools[0]
        pool: ConnectionPool = first
        if len(self.pools) > 1 or first.role == map_fetching.SHARD:
            ranked = map_fetching.bootstraps_first(self._by_role())
            pool = yield from ask_first(self._network, ranked, commands.Ping, _bootstrap, until, seconds)
        return (yield from pool.call(command, until, seconds, changes, arguments))

    def _by_role(self) -> list[tuple[str, ConnectionPool]]:
        return [(pool.role, pool) for pool in self.pools]


def ask_first(
    network: Network,
    pools: Sequence[ConnectionPool],
    command: type[Command],
    accept: Callable[[ConnectionPool, dict[str, Any]], _T],
    until: float,
    seconds: float,
) -> Steps[_T]:
    """Ask several daemons the same, of whom one answer is enough.

    :param pools: whom to ask, in this order; at least one.
    :param command: it changes nothing.
    :param accept: given who answered and the answer, gives the result, or raises `PyshardError`.
    :param until: the end of the deadline.
    :param seconds: the whole deadline, for messages.
    :raises PyshardError: what all of them failed with, if that was the same error, else `Unavailable`.
    """

    def ask(pool: ConnectionPool) -> Steps[_T]:
        while True:
            try:
                answer = yield from pool.call(command, until, seconds)
                return accept(pool, answer)
            except NotConfigured:
                if network.now() + map_fetching.ASK_AGAIN >= until:
                    raise
            yield from Interest((), min(until, network.now() + map_fetching.ASK_AGAIN))

    stagger = map_fetching.head_start(pools[0].connected)
    outcomes = yield from together(network, [ask(pool) for pool in pools], stagger, one_is_enough=True)
    errors: list[PyshardError] = []
    for outcome in outcomes:
        if not isinstance(outcome, Exception):
            return outcome
        if not isinstance(outcome, PyshardError):
            raise outcome
        errors.append(outcome)
    raise error_of_all(errors)


def is_bootstrap(pool: ConnectionPool) -> bool:
    """Whether it leads to an address that the client was given, and a bootstrap has answered there."""
    return isinstance(pool, MapServerPool) and pool.role == map_fetching.BOOTSTRAP


def _first(pool: ConnectionPool, answer: dict[str, Any]) -> tuple[ClusterState, bool]:
    return cluster_state_json.from_json(answer["state"]), is_bootstrap(pool)


def _bootstrap(pool: ConnectionPool, _: dict[str, Any]) -> ConnectionPool:
    map_fetching.check_bootstrap(pool.role, pool.peer_name().rpartition(" ")[2])
    return pool
