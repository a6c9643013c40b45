"""Questions about the cluster as a whole: its indexes, how it fares, how ready its shards are.

The functions are coroutines; `pyshard.client.client.Client` has a verb for each, which says what it gives.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec
from twisted.internet.defer import DeferredList
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pyshard.client.router import Router
from pyshard.errors import BadRequest, PyshardError
from pyshard.model import cluster_state
from pyshard.model.cluster_state import check_index_name
from pyshard.model.keyspace import slot_to_hash
from pyshard.model.shard_map import ShardRange
from pyshard.protocol import commands

_T = TypeVar("_T")


async def indexes(router: Router, seconds: float) -> list[str]:
    """See `Client.indexes`."""
    router.check_open()
    answer = await router.bootstrap.call(commands.GetMap, seconds)
    router.adopt(cluster_state.from_json(answer["state"]))
    return sorted(cluster_state.from_json(answer["state"]).indexes)


async def change_indexes(
    router: Router,
    clock: IReactorTime,
    command: type[commands.CreateIndex] | type[commands.DropIndex],
    name: str,
    seconds: float,
) -> None:
    """See `Client.create_index` and `Client.drop_index`."""
    router.check_open()
    check_index_name(name)
    bootstrap, end = router.bootstrap, clock.seconds() + seconds
    await bootstrap.call(command, seconds, changes=True, name=name)
    try:
        answer = await bootstrap.call(commands.GetMap, max(0.0, end - clock.seconds()))
    except PyshardError:
        return  # the change is done all the same; a map without it is found out when the index is used
    router.adopt(cluster_state.from_json(answer["state"]))


async def stat(router: Router, seconds: float) -> dict[str, object]:
    """See `Client.stat`."""
    router.check_open()
    state = router.state
    asked = [link.rpc.call(commands.Stat, seconds) for link in router.links]
    outcomes = await DeferredList(asked, consumeErrors=True)
    shards = [_stat_of(own, outcome) for own, (_, outcome) in zip(state.map.ranges, outcomes, strict=True)]
    return {"cluster": state.cluster, "epoch": state.epoch, "indexes": sorted(state.indexes), "shards": shards}


async def readiness(router: Router, seconds: float) -> list[dict[str, str]]:
    """See `Client.readiness`."""
    router.check_open()
    answer = await router.bootstrap.call(commands.Readiness, seconds)
    return _from_json(answer["shards"], list[dict[str, str]], "readiness")


def _stat_of(own: ShardRange, outcome: dict[str, bytes] | Failure) -> dict[str, object]:
    """What `stat` tells of one shard, by what it answered."""
    shard: dict[str, object] = {
        "name": own.name,
        "address": own.address,
        "range": [slot_to_hash(own.start), slot_to_hash(own.end)],
        "limit": own.limit,
    }
    if isinstance(outcome, Failure):
        return shard | {"error": outcome.getErrorMessage()}
    try:
        return shard | _from_json(outcome["stat"], dict[str, object], "statistics")
    except BadRequest as error:
        return shard | {"error": str(error)}


def _from_json(text: bytes, kind: type[_T], what: str) -> _T:
    """What a daemon answered in JSON."""
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the {what} that the daemon answered can't be read: {error}") from None
