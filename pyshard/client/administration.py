"""What a client asks about the cluster as a whole: its indexes, how it fares, how ready its shards are."""

from __future__ import annotations

from typing import TypeVar

import msgspec
from twisted.internet.defer import DeferredList, inlineCallbacks
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from pyshard.client.router import Routing
from pyshard.errors import BadRequest, PyshardError
from pyshard.model import cluster_state
from pyshard.model.cluster_state import check_index_name
from pyshard.model.keyspace import slot_to_hash
from pyshard.model.shard_map import ShardRange
from pyshard.protocol import commands
from pyshard.steps import Steps

_T = TypeVar("_T")


@inlineCallbacks
def indexes(routing: Routing, seconds: float) -> Steps[list[str]]:
    """See `Client.indexes`."""
    routing.check_open()
    answer = yield routing.bootstrap.call(commands.GetMap, seconds)
    routing.adopt(cluster_state.from_json(answer["state"]))
    return sorted(cluster_state.from_json(answer["state"]).indexes)


@inlineCallbacks
def change_indexes(
    routing: Routing,
    clock: IReactorTime,
    command: type[commands.CreateIndex] | type[commands.DropIndex],
    name: str,
    seconds: float,
) -> Steps[None]:
    """See `Client.create_index` and `Client.drop_index`."""
    routing.check_open()
    check_index_name(name)
    bootstrap, end = routing.bootstrap, clock.seconds() + seconds
    yield bootstrap.call(command, seconds, changes=True, name=name)
    try:
        answer = yield bootstrap.call(commands.GetMap, max(0.0, end - clock.seconds()))
    except PyshardError:
        return  # the change is done all the same; a map without it is found out when the index is used
    routing.adopt(cluster_state.from_json(answer["state"]))


@inlineCallbacks
def stat(routing: Routing, seconds: float) -> Steps[dict[str, object]]:
    """See `Client.stat`."""
    routing.check_open()
    state = routing.state
    asked = [link.rpc.call(commands.Stat, seconds) for link in routing.links]
    outcomes = yield DeferredList(asked, consumeErrors=True)
    shards = [_stat_of(own, outcome) for own, (_, outcome) in zip(state.map.ranges, outcomes, strict=True)]
    return {"cluster": state.cluster, "epoch": state.epoch, "indexes": sorted(state.indexes), "shards": shards}


@inlineCallbacks
def readiness(routing: Routing, seconds: float) -> Steps[list[dict[str, str]]]:
    """See `Client.readiness`."""
    routing.check_open()
    answer = yield routing.bootstrap.call(commands.Readiness, seconds)
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
