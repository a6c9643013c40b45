"""The config file of the original pyshard's example, and variants of it."""

from __future__ import annotations

import json
from typing import Any

from pyshard.model.shard_map import MapShard, ShardMap

#: The original pyshard's example.
SHARDS: list[dict[str, Any]] = [
    {"name": "shard0-0.5", "start": 0.0, "end": 0.5, "size": 1024, "host": "127.0.0.1", "port": 5050},
    {"name": "shard0.5-1", "start": 0.5, "end": 1.0, "size": 1024, "host": "127.0.0.1", "port": 5051},
]
MAP = ShardMap(
    [
        MapShard("shard0-0.5", ((0, 5_000_000),), 1024, "127.0.0.1", 5050),
        MapShard("shard0.5-1", ((5_000_000, 10_000_000),), 1024, "127.0.0.1", 5051),
    ]
)


def file_with(number: int = 0, **changes: object) -> bytes:
    """The original pyshard's example with other values in some fields of one shard; `...` takes a field away."""
    shards = [dict(shard) for shard in SHARDS]
    shards[number] = {name: value for name, value in {**shards[number], **changes}.items() if value is not ...}
    return json.dumps({"shards": shards}).encode()


def file_and(**fields: object) -> bytes:
    """The original pyshard's example with other values in some fields of the file itself."""
    return json.dumps({"shards": SHARDS, **fields}).encode()
