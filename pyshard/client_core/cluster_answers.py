"""What daemons answer about the cluster as a whole: how each shard fares, and how ready it is. Pure.

Rules:

- an answer is read within bounds (`pyshard.model.bounded_json`), and each text in it is taken as one of a peer;
- what people are shown of it is checked: a shard whose statistics have something else there is one that gave none;
- no daemon's answer takes the place of what the map says, or fills the terminal of whoever asked.
"""

from __future__ import annotations

from typing import TypedDict

import msgspec

from pyshard.errors import BadRequest, of_peer
from pyshard.model.bounded_json import decode_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import slot_to_hash
from pyshard.model.range_moves import Amount, Count
from pyshard.model.shard_map import MapShard
from pyshard.settings import settings

#: Shards that are asked for their statistics at a time: each is a connection, and an answer.
ASKED_AT_ONCE = 200

_MOST_STAT = 256 * 1024  # bytes of one shard's statistics; its 100 connections take 20 kB

_NO_STAT = "the statistics that the daemon answered can't be read"
_NO_READINESS = "the readiness that the daemon answered can't be read"


def seconds_each(seconds: float, shards: int) -> float:
    """How long each of so many shards has to answer, so that some that are silent leave time to those behind them.

    :param seconds: the deadline for all.
    """
    return seconds / max(1, -(-shards // ASKED_AT_ONCE))


class _ShownOther(msgspec.Struct):
    """What a primary's statistics have of another replica, of that what people are shown."""

    address: str
    needs_copy: bool = False
    silent: Amount = 0.0
    groups_behind: Count = 0
    stale: Amount | None = None


class _ShownReplica(msgspec.Struct):
    """The same of a shard with replicas, as one of these."""

    waits: str = ""
    most_stale: Amount | None = None
    others: list[_ShownOther] = []


class _ShownStatistics(msgspec.Struct):
    """What every shard's statistics have, of those that people are shown."""

    documents: Count
    bytes: Count
    uptime: Amount
    replica: _ShownReplica | None = None


class _ShownReadiness(TypedDict):
    name: str
    address: str
    state: str
    detail: str


def stat_of_all(state: ClusterState, shards: list[dict[str, object]]) -> dict[str, object]:
    """What `stat` tells of the cluster.

    :param shards: `stat_of` each shard, in slot order.
    """
    return {"cluster": state.cluster, "epoch": state.epoch, "indexes": sorted(state.indexes), "shards": shards}


def stat_of(own: MapShard, given: bytes | str) -> dict[str, object]:
    """What `stat` tells of one shard.

    :param given: what it answered, in JSON (docs/protocol.md, "Stat"); or, in text, why it gave no answer.
    """
    shard: dict[str, object] = {
        "name": own.name,
        "address": own.address,
        "ranges": [[slot_to_hash(start), slot_to_hash(end)] for start, end in own.ranges],
        "limit": own.limit,
    }
    if own.group is not None:
        shard["replicas"] = [
            {"address": replica.address, "role": own.group.role_of(replica.address)} for replica in own.group.replicas
        ]
    if isinstance(given, str):
        return shard | {"error": given}
    try:
        found = daemon_stat_of(given)
        decode_json(given, _ShownStatistics, _NO_STAT, _MOST_STAT)
    except BadRequest as error:
        return shard | {"error": str(error)}
    found.pop("error", None)  # it is this side's word for a shard that gave no answer
    return shard | found | shard


def daemon_stat_of(given: bytes) -> dict[str, object]:
    """What a daemon tells of itself that isn't a shard of the map.

    :raises BadRequest: it can't be read.
    """
    found = decode_json(given, dict[str, object], _NO_STAT, _MOST_STAT)
    try:
        return {of_peer(name): _with_bounded_texts(value) for name, value in found.items()}
    except RecursionError:
        raise BadRequest(f"{_NO_STAT}: found lists or objects that nest too deep") from None


def readiness_of(answer: bytes) -> list[dict[str, str]]:
    """What `readiness` tells, out of what the bootstrap answered in JSON.

    :raises BadRequest: it can't be read.
    """
    shards = decode_json(answer, list[_ShownReadiness], _NO_READINESS)
    if len(shards) > settings.MAX_SHARDS:
        raise BadRequest(f"{_NO_READINESS}: found {len(shards):,} shards, expected at most {settings.MAX_SHARDS:,}")
    return [{name: of_peer(str(text)) for name, text in shard.items()} for shard in shards]


def _with_bounded_texts(value: object) -> object:
    """A value of JSON with each text in it as it is taken of a peer."""
    if isinstance(value, str):
        return of_peer(value)
    if isinstance(value, list):
        return [_with_bounded_texts(element) for element in value]
    if isinstance(value, dict):
        return {of_peer(name): _with_bounded_texts(element) for name, element in value.items()}
    return value
