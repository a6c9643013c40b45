"""What daemons answer about the cluster as a whole: how each shard fares, and how ready it is. Pure.

Rule: an answer with more elements than a document may have is refused before it is decoded, since an element can take
50 times its bytes.
"""

from __future__ import annotations

from typing import TypeVar

import msgspec

from pyshard.errors import BadRequest
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import slot_to_hash
from pyshard.model.shard_map import ShardRange
from pyshard.settings import settings

_T = TypeVar("_T")


def stat_of_all(state: ClusterState, shards: list[dict[str, object]]) -> dict[str, object]:
    """What `stat` tells of the cluster.

    :param shards: `stat_of` each shard, in slot order.
    """
    return {"cluster": state.cluster, "epoch": state.epoch, "indexes": sorted(state.indexes), "shards": shards}


def stat_of(own: ShardRange, given: bytes | str) -> dict[str, object]:
    """What `stat` tells of one shard.

    :param given: what it answered, in JSON (docs/protocol.md, "Stat"); or, in text, why it gave no answer.
    """
    shard: dict[str, object] = {
        "name": own.name,
        "address": own.address,
        "range": [slot_to_hash(own.start), slot_to_hash(own.end)],
        "limit": own.limit,
    }
    if isinstance(given, str):
        return shard | {"error": given}
    try:
        return shard | _from_json(given, dict[str, object], "statistics")
    except BadRequest as error:
        return shard | {"error": str(error)}


def readiness_of(answer: bytes) -> list[dict[str, str]]:
    """What `readiness` tells, out of what the bootstrap answered in JSON.

    :raises BadRequest: it can't be read.
    """
    return _from_json(answer, list[dict[str, str]], "readiness")


def _from_json(text: bytes, kind: type[_T], what: str) -> _T:
    """What a daemon answered in JSON."""
    elements = sum(map(text.count, (b",", b"[", b"{")))  # at the least; in texts there may be some that are none
    if elements > settings.MAX_ELEMENTS:
        raise BadRequest(
            f"the {what} that the daemon answered can't be read: found about {elements:,} elements, expected at most "
            f"{settings.MAX_ELEMENTS:,}"
        )
    try:
        return msgspec.json.decode(text, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BadRequest(f"the {what} that the daemon answered can't be read: {error}") from None
