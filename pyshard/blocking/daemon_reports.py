"""What each daemon of a cluster tells of itself, and when: for the `pyshard` command; no part of the public API.

Rules:

- all daemons are asked, some hundred at a time; one that gives no answer has the reason in place of its figures;
- it is noted for each when it was asked and when it answered, so that its own clock can be compared with that.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from pyshard.blocking.calling_thread_tasks import Steps, run, together
from pyshard.blocking.connection_pool import ConnectionPool
from pyshard.blocking.pyshard import Pyshard
from pyshard.client_core.cluster_answers import ASKED_AT_ONCE, daemon_stat_of, seconds_each, stat_of
from pyshard.errors import BadRequest, PyshardError
from pyshard.model.cluster_state import ClusterState
from pyshard.model.shard_map import MapShard
from pyshard.protocol import commands
from pyshard.protocol.listed_moves import ListedMove, decode_listed_moves


@attrs.frozen
class DaemonReport:
    """What a daemon tells.

    :param name: the daemon, as messages call it.
    :param own: its place in the map; None: it is at an address that the client was given.
    :param host: where it is dialed.
    :param port: where it is dialed.
    :param stat: what it tells (docs/protocol.md, "Stat"), or ``{"error": why}``.
    :param asked: when it was asked, in seconds.
    :param answered: when its answer was there.
    """

    name: str
    own: MapShard | None
    host: str
    port: int
    stat: dict[str, object]
    asked: float
    answered: float


def daemon_reports(app: Pyshard, seconds: float, now: Callable[[], float]) -> tuple[ClusterState, list[DaemonReport]]:
    """Ask the daemons at the addresses that the client was given, and all shards.

    :param seconds: the deadline.
    :param now: the clock by which it is noted when they were asked and answered.
    :return: the cluster's state, and what each of them told; a daemon at such an address may be a shard, too.
    """
    cluster, until = app._begun(seconds)
    network, shards = cluster.network, cluster.view.pools
    pools: list[ConnectionPool] = [*cluster.servers.pools, *shards]
    each = seconds_each(seconds, len(pools))

    def ask(pool: ConnectionPool) -> Steps[tuple[float, float, bytes | str]]:
        asked = now()
        try:
            answer = yield from pool.call(commands.Stat, min(until, network.now() + each), each)
            return asked, now(), bytes(answer["stat"])
        except PyshardError as error:
            return asked, now(), str(error)

    reports = []
    owners: list[MapShard | None] = [*(None for _ in cluster.servers.pools), *(pool.own for pool in shards)]
    outcomes = run(network, together(network, [ask(pool) for pool in pools], most=ASKED_AT_ONCE))
    for pool, own, outcome in zip(pools, owners, outcomes, strict=True):
        if isinstance(outcome, Exception):
            raise outcome
        asked, answered, given = outcome
        target = pool.target
        stat = _stat(own, given)
        reports.append(DaemonReport(pool.peer_name(), own, target.host, target.port, stat, asked, answered))
    return cluster.state, reports


def listed_moves(app: Pyshard, seconds: float) -> list[ListedMove]:
    """All moves that are planned or under way, and those that ended of late.

    :raises PyshardError: the bootstrap can't be reached, or refuses.
    """
    cluster, until = app._begun(seconds)
    return decode_listed_moves(cluster.servers.call(commands.ListMoves, until, seconds)["moves"])


def _stat(own: MapShard | None, given: bytes | str) -> dict[str, object]:
    if own is not None:
        return stat_of(own, given)
    if isinstance(given, str):
        return {"error": given}
    try:
        return daemon_stat_of(given)
    except BadRequest as error:
        return {"error": str(error)}
