"""Reads at the nearest replica, of the blocking client.

Rules:

- a thread that reads measures all replicas of the shard when that is due, at once and for a moment. The others don't
  wait for it;
- whatever a member doesn't answer, the primary is asked, with what is left of the deadline;
- a read at a member is an operation of its own, so what comes of it late is nobody's.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from random import Random

import attrs

from pyshard.blocking.calling_thread_tasks import Network, Steps, run, together
from pyshard.blocking.connection_pool import ConnectionPool, NotSent
from pyshard.blocking.connection_target import ConnectionTarget
from pyshard.blocking.operation_waiting_for_thread import GatheredOperation
from pyshard.blocking.pooled_connection import PooledConnection
from pyshard.blocking.sessions_in_doubt import SessionsInDoubt
from pyshard.blocking.shard_pool import ShardPool
from pyshard.client_core.nearest_replica import NearestReplica, give_up_at, members_to_read_at
from pyshard.errors import PyshardError
from pyshard.model.shard_map import MapShard
from pyshard.protocol import commands

_MEASURING = 0.25  # seconds that it takes at the most


class ReplicaPool(ShardPool):
    """The pool of a member that doesn't lead; its `own` is the shard, at the member's address and with its store."""

    stale = True


@attrs.define(eq=False)
class _ShardReplicas:
    """One shard.

    :param own: its place in the map.
    :param pools: those of its members that don't lead, by their addresses.
    """

    own: MapShard
    pools: dict[str, ReplicaPool] = attrs.Factory(dict)
    nearest: NearestReplica = attrs.Factory(NearestReplica)


class ReplicaPools:
    """The members of all shards, as one process reads at them.

    :param network: gives sockets and the time.
    :param random: jitter, and which of several members is taken that are as near.
    :param cluster: gives the cluster's id.
    :param target_of: where a shard, or a member, is.
    :param on_new: see `ConnectionPool`.
    """

    def __init__(
        self,
        network: Network,
        random: Random,
        cluster: Callable[[], str],
        target_of: Callable[[MapShard], ConnectionTarget],
        on_new: Callable[[weakref.ref[PooledConnection]], object],
    ) -> None:
        self._network = network
        self._random = random
        self._cluster = cluster
        self._target_of = target_of
        self._on_new = on_new
        self._shards: dict[str, _ShardReplicas] = {}

    @property
    def pools(self) -> list[ReplicaPool]:
        """Those of all members."""
        return [pool for replicas in list(self._shards.values()) for pool in list(replicas.pools.values())]

    def read(self, operation: GatheredOperation, primary: ShardPool, nested: bool) -> GatheredOperation | None:
        """Do an operation that only reads at a member.

        :param primary: the pool of the primary.
        :param nested: see `ShardPool.apply`.
        :return: an operation that has the outcome; None: the primary is to be asked.
        """
        near = self.nearest(primary)
        if near is None:
            return None
        now = self._network.now()
        trial = GatheredOperation(
            operation.verb,
            operation.index,
            operation.key,
            operation.slot,
            give_up_at(operation.expires, now),
            operation.weight,
        )
        near.apply(trial, nested)
        if trial.attempt is None:
            if (replicas := self._shards.get(near.own.name)) is not None:
                replicas.nearest.read_took(near.own.address, self._network.now() - now)
            return trial
        self.lost(near)
        return None

    def nearest(self, primary: ShardPool) -> ReplicaPool | None:
        """The pool of the member that is the nearest; None: that is the primary, or nothing is known."""
        own = primary.own
        if own.group is None:
            return None
        replicas = self._shards.get(own.name)
        if replicas is None or replicas.own is not own:
            replicas = self._followed(own, replicas)
        if replicas.nearest.is_due(self._network.now()):
            self._measure(replicas, primary)
        chosen = replicas.nearest.choose([*replicas.pools, own.address])
        pool = None if chosen is None else replicas.pools.get(chosen)
        if pool is not None:
            pool.epoch = primary.epoch
        return pool

    def lost(self, pool: ShardPool) -> None:
        """A member, or the primary, has refused, or gives no answer: it isn't read at until it is measured again."""
        replicas = self._shards.get(pool.own.name)
        if replicas is not None:
            replicas.nearest.lost(pool.own.address)

    def close(self) -> None:
        """End all connections."""
        for pool in self.pools:
            pool.close()

    # ------------------------------------------------------------------ inside

    def _followed(self, own: MapShard, before: _ShardReplicas | None) -> _ShardReplicas:
        """The replicas by a newer map; pools of those that are the same go on."""
        pools = {} if before is None else before.pools
        if before is not None and before.own == own:
            before.own = own
            return before
        made = _ShardReplicas(own, nearest=NearestReplica() if before is None else before.nearest)
        members = members_to_read_at(own)
        self._random.shuffle(members)
        for place in members:
            pool = pools.get(place.address)
            if pool is None or pool.own.identity != place.identity:
                target, cluster = self._target_of(place), self._cluster()
                pool = ReplicaPool(self._network, self._random, target, place, cluster, SessionsInDoubt())
                pool.on_new = self._on_new
                made.nearest.lost(place.address)
            made.pools[place.address] = pool
        self._shards[own.name] = made
        for address, pool in pools.items():
            if made.pools.get(address) is not pool:
                made.nearest.lost(address)
                pool.close()  # who reads there is told so, and asks the primary
        return made

    def _measure(self, replicas: _ShardReplicas, primary: ShardPool) -> None:
        """See how long each replica takes to answer."""
        network, nearest = self._network, replicas.nearest
        now = network.now()
        nearest.begin(now)
        pools: dict[str, ConnectionPool] = {**replicas.pools, replicas.own.address: primary}
        pings = [self._ping(nearest, address, pool, now + _MEASURING) for address, pool in pools.items()]
        run(network, together(network, pings))

    def _ping(self, nearest: NearestReplica, address: str, pool: ConnectionPool, until: float) -> Steps[None]:
        try:
            yield from pool.attempt(commands.Ping, until, _MEASURING)  # with a connection, which may have to be made
            began = self._network.now()
            yield from pool.attempt(commands.Ping, until, _MEASURING)
        except (NotSent, PyshardError):
            nearest.lost(address)
        else:
            nearest.took(address, self._network.now() - began)
