"""How many connections to shards a blocking client may have: which one is closed for a new one.

A map may name thousands of shards, and a process has few files. Rules:

- connections that nobody uses are closed, those first that were heard of the longest time ago;
- some more are closed than must be, so that this isn't looked at for each new one;
- one that a thread uses stays: a thread uses one, or one for each shard that a call of many keys has work at.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable

from pyshard.blocking.connection_pool import ConnectionPool
from pyshard.blocking.pooled_connection import PooledConnection

_MORE = 8  # the part of all connections that is closed besides: an eighth


class ConnectionLimit:
    """The limit of one client.

    :param most: connections that it may have.
    :param pools: gives all pools to whose connections it applies.
    """

    def __init__(self, most: float, pools: Callable[[], Iterable[ConnectionPool]]) -> None:
        self.most = most
        self._pools = pools
        self._made: set[weakref.ref[PooledConnection]] = set()

    def made(self, connection: weakref.ref[PooledConnection]) -> None:
        """Take down a new connection; if there are too many, some that nobody uses are closed."""
        self._made.add(connection)
        if len(self._made) <= self.most:
            return
        self._made.difference_update([one for one in self._made.copy() if one() is None])
        excess = len(self._made) - self.most
        if excess <= 0:
            return
        pools = list(self._pools())
        idle = sorted((heard, number) for number, pool in enumerate(pools) for heard in pool.idle())
        for _, number in idle[: int(excess + self.most / _MORE)]:
            pools[number].close_idle()
