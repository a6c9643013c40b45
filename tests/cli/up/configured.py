"""The clusters of the tests of `up`."""

from __future__ import annotations

from pyshard.model.config_file import ClusterConfig
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap

HOST = "127.0.0.1"


def cluster(*ports: int, bootstrap: int, host: str = HOST) -> ClusterConfig:
    """A cluster with a shard at each of these ports, called a, b, …"""
    bounds = [SLOTS * number // len(ports) for number in range(len(ports) + 1)]
    shards = [
        MapShard("abcdef"[number], ((bounds[number], bounds[number + 1]),), 2**20, host, port)
        for number, port in enumerate(ports)
    ]
    return ClusterConfig(ShardMap(shards), HOST, bootstrap)
