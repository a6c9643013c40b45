"""Waits for what the primary of a shard owes, and looks whether another replica leads while it is silent.

A machine that is frozen, or behind a cut network, closes no connection. So without this a call would find the next
primary only when its own deadline is over.

Rules:

- A primary may be silent for one and a half leases: then another one leads, if this one doesn't.
- From then on the newest map is asked for again and again, while nothing comes. When it names another replica, the
  connection is given up: what was asked goes the way of every lost answer.
- A shard without replicas has no lease, and is waited for until the deadline.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from pyshard.blocking.address_race import TooLate
from pyshard.blocking.calling_thread_tasks import Steps, run
from pyshard.blocking.pooled_connection import PooledConnection
from pyshard.client_core.conversation import Broken, Reply
from pyshard.net.backoff import longest_between_looks
from pyshard.settings import settings

if TYPE_CHECKING:
    from pyshard.blocking.shard_pool import ShardPool

_SILENT = 1.5  # times a lease


def answer(pool: ShardPool, connection: PooledConnection, tag: bytes, until: float) -> Reply:
    """Wait for an answer, in the quick way of a call that waits for nothing else.

    :raises TooLate: it didn't come in time.
    :raises Broken: the connection ended, or another replica leads.
    """
    if pool.own.lease is not None:
        for pause in _looks(pool, until):
            try:
                return connection.answer_at_once(tag, pause)
            except TooLate:
                run(pool.network, _look(pool, connection, until))
    return connection.answer_at_once(tag, until)


def any_answer(pool: ShardPool, connection: PooledConnection, until: float) -> Steps[None]:
    """Send what is to be sent, and wait until some answer is there, while the thread waits for other things, too.

    :raises TooLate: none came in time.
    :raises Broken: the connection ended, or another replica leads.
    """
    for pause in _looks(pool, until):
        try:
            yield from connection.any_answer(pause)
        except TooLate:
            yield from _look(pool, connection, until)
        else:
            return
    yield from connection.any_answer(until)


def within(pool: ShardPool, until: float) -> float:
    """Until when a connection is to be ready: behind that time a newer map may lead elsewhere."""
    lease = pool.own.lease
    longest = math.inf if lease is None else max(settings.TIMEOUT / 2, _SILENT * lease)
    return min(until, pool.network.now() + longest)


def _looks(pool: ShardPool, until: float) -> Iterator[float]:
    """The times before another one at which to look, if nothing has come."""
    lease = pool.own.lease
    if lease is None:
        return
    longest = _SILENT * lease
    while (pause := pool.network.now() + longest) < until:
        yield pause
        longest = longest_between_looks(lease)  # the next primary may be there soon


def _look(pool: ShardPool, connection: PooledConnection, until: float) -> Steps[None]:
    """Fetch the newest map, for a lease at the most.

    :raises Broken: another replica leads.
    """
    yield from pool.looking(min(until, pool.network.now() + (pool.own.lease or 0.0)))
    if connection.target is not pool.target:
        raise Broken("it is silent, and another replica leads its shard")
