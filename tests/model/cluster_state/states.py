"""A state of a cluster, and its text."""

from __future__ import annotations

import attrs

from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase, RangeMove, StoreId
from pyshard.model.shard_map import MapShard, ShardMap

HALF = SLOTS // 2
LOW = MapShard("low", ((0, HALF),), 1024, "127.0.0.1", 5050, "1d", True)
HIGH = MapShard("high", ((HALF, SLOTS),), 2048, "127.0.0.1", 5051)
STATE = ClusterState("c1", 7, ShardMap([LOW, HIGH]), {"pages": 2}, 3)

#: `STATE`, as every peer of format 4 reads and writes it.
TEXT = (
    b'{"format":4,"cluster":"c1","epoch":7,"shards":['
    b'{"name":"low","ranges":[[0,5000000]],"size":1024,"host":"127.0.0.1","port":5050,"identity":"1d","durable":true},'
    b'{"name":"high","ranges":[[5000000,10000000]],"size":2048,"host":"127.0.0.1","port":5051,"identity":"",'
    b'"durable":false}],"indexes":{"pages":2},"next_index":3,"step":0,"moves":[],"next_move":1,"since":[]}'
)

#: `STATE` while ranges move, and what of its text is other.
MOVING = attrs.evolve(
    STATE,
    step=4,
    moves=(
        RangeMove(5, "low", "high", ((0, 10), (20, 30)), StoreId("1d", "a"), StoreId("2e", "b"), Phase.SEALING, 2),
        RangeMove(6, "high", "low", ((HALF, HALF + 1),), why="because", paused=True),
    ),
    next_move=7,
    since=((0, 10, 6), (20, 30, 7)),
)
MOVES_TEXT = (
    b'"step":4,"moves":['
    b'{"number":5,"source":"low","target":"high","ranges":[[0,10],[20,30]],"source_store":["1d","a"],'
    b'"target_store":["2e","b"],"phase":"sealing","attempt":2,"why":"","paused":false},'
    b'{"number":6,"source":"high","target":"low","ranges":[[5000000,5000001]],"source_store":null,'
    b'"target_store":null,"phase":"planned","attempt":0,"why":"because","paused":true}],'
    b'"next_move":7,"since":[[0,10,6],[20,30,7]]}'
)
