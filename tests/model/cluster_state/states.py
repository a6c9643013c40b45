"""A state of a cluster, and its text."""

from __future__ import annotations

from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap

HALF = SLOTS // 2
LOW = MapShard("low", ((0, HALF),), 1024, "127.0.0.1", 5050, "1d", True)
HIGH = MapShard("high", ((HALF, SLOTS),), 2048, "127.0.0.1", 5051)
STATE = ClusterState("c1", 7, ShardMap([LOW, HIGH]), {"pages": 2}, 3)

#: `STATE`, as every peer of format 2 reads and writes it.
TEXT = (
    b'{"format":2,"cluster":"c1","epoch":7,"shards":['
    b'{"name":"low","ranges":[[0,5000000]],"size":1024,"host":"127.0.0.1","port":5050,"identity":"1d","durable":true},'
    b'{"name":"high","ranges":[[5000000,10000000]],"size":2048,"host":"127.0.0.1","port":5051,"identity":"",'
    b'"durable":false}],"indexes":{"pages":2},"next_index":3}'
)
