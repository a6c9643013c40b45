"""What daemons answer about the cluster as a whole: how each shard fares, and how ready it is. Pure.

Rules:

- an answer with more elements than a document may have is refused before it is decoded, since an element can take
  50 times its bytes;
- no daemon's answer takes the place of what the map says, or fills the terminal of whoever asked.
"""

from __future__ import annotations

from typing import TypedDict, TypeVar

import msgspec

from pyshard.errors import BadRequest, of_peer
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import slot_to_hash
from pyshard.model.shard_map import MapShard
from pyshard.settings import settings

_T = TypeVar("_T")

_MOST_STAT = 256 * 1024  # bytes of one shard's statistics; its 100 connections take 20 kB


class _ShownStatistics(msgspec.Struct):
    """What every shard's statistics have, of those that people are shown."""

    documents: int
    bytes: int
    uptime: float


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
        found = _from_json(given, dict[str, object], "statistics", _MOST_STAT)
        _from_json(given, _ShownStatistics, "statistics")
    except BadRequest as error:
        return shard | {"error": str(error)}
    found.pop("error", None)  # it is this side's word for a shard that gave no answer
    return shard | found | shard


def daemon_stat_of(given: bytes) -> dict[str, object]:
    """What a daemon tells of itself that isn't a shard of the map.

    :raises BadRequest: it can't be read.
    """
    return _from_json(given, dict[str, object], "statistics", _MOST_STAT)


def readiness_of(answer: bytes) -> list[dict[str, str]]:
    """What `readiness` tells, out of what the bootstrap answered in JSON.

    :raises BadRequest: it can't be read.
    """
    shards = _from_json(answer, list[_ShownReadiness], "readiness")
    if len(shards) > settings.MAX_SHARDS:
        raise BadRequest(
            f"the readiness that the daemon answered can't be read: found {len(shards):,} shards, expected at most "
            f"{settings.MAX_SHARDS:,}"
        )
    return [{name: of_peer(str(text)) for name, text in shard.items()} for shard in shards]


def _from_json(text: bytes, kind: type[_T], what: str, most: int = settings.MAX_BOX_BYTES) -> _T:
    """What a daemon answered in JSON.

    :param most: bytes that it may have.
    """
    if len(text) > most:
        raise BadRequest(
            f"the {what} that the daemon answered can't be read: found {len(text):,} bytes, expected at most {most:,}"
        )
    elements = sum(map(text.count, (b",", b"[", b"{")))  # at the least; in texts there may be some that are none
    if elements > settings.MAX_ELEMENTS:
        raise BadRequest(
            f"the {what} that the daemon answered can't be read: found about {elements:,} elements, expected at most "
            f"{settings.MAX_ELEMENTS:,}"
        )
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the {what} that the daemon answered can't be read: {of_peer(str(error))}") from None
