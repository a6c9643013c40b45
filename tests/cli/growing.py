"""A cluster of two shards in memory that is to have a third one, and the command on it."""

from __future__ import annotations

import attrs
from deferreds import change_state
from in_process_command import Commands

from pyshard.model.cluster_state import ClusterState
from pyshard.model.shard_map import MapShard, ShardMap

THIRD = MapShard("third", (), 1024**3, "127.0.0.1", 5052)

#: As `--add` takes it.
ADDED = "third=127.0.0.1:5052"


def start_third(pyshard: Commands) -> None:
    """Start the shard; the cluster doesn't know of it yet."""
    cluster = pyshard.cluster
    known = cluster.map
    cluster.map = ShardMap([*known.shards, attrs.evolve(THIRD)])
    cluster.start_shard("third")


def grown(pyshard: Commands) -> Commands:
    """The command on a cluster whose third shard has no ranges yet, with 300 documents."""
    pyshard.cluster.run(pyshard.cluster.connect().write_many({f"key {number}": number for number in range(300)}))
    start_third(pyshard)
    state = state_of(pyshard)
    assert pyshard.cluster.bootstrap is not None
    change_state(pyshard.cluster.bootstrap.bootstrap, state.with_shards([THIRD], [], []))
    pyshard.cluster.advance(2)
    return pyshard


def state_of(pyshard: Commands) -> ClusterState:
    """The cluster's state."""
    assert pyshard.cluster.bootstrap is not None
    return pyshard.cluster.bootstrap.bootstrap.state


def ranges(pyshard: Commands) -> dict[str, list[float]]:
    """The bounds of each shard, as hashes, one after the other."""
    return {
        shard.name: [bound / 10**7 for one in shard.ranges for bound in one] for shard in state_of(pyshard).map.shards
    }
