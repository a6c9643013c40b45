"""A shard gets replicas by a config, while its cluster serves."""

from __future__ import annotations

import pytest

from pyshard.client.layout_client import LayoutClient
from pyshard.errors import BadRequest
from pyshard.model.config_file import ClusterConfig
from pyshard.model.replica_group import MapReplica, ReplicaGroup, new_group
from pyshard.model.shard_map import ShardMap
from pyshard.testing import MemoryCluster


def with_replicas(cluster: MemoryCluster, replicas: int) -> ClusterConfig:
    """The cluster's config, with so many replicas of its one shard."""
    (shard,) = cluster.map.shards
    places = [MapReplica(shard.host, 5050 + 100 * number) for number in range(replicas)]
    return ClusterConfig(ShardMap([shard.led_by_group(new_group(places, lease=1.0))]), "localhost", 9192)


def group_of(cluster: MemoryCluster) -> ReplicaGroup:
    """The replicas of the cluster's shard, by its state."""
    group = cluster.state.map.shards[0].group
    assert group is not None
    return group


def apply(cluster: MemoryCluster, layout: LayoutClient, config: ClusterConfig) -> None:
    """Bring the cluster to a config, in which no range moves."""
    assert cluster.run(layout.apply(config, cluster.run(layout.state()))) == []


def test_replicas_come_and_go() -> None:
    """They join when they have all documents; then the primary may go, and nothing is lost."""
    with MemoryCluster(1) as cluster:
        client = cluster.connect(deadline=20)
        layout = LayoutClient(client)
        for number in range(20):
            cluster.run(client.write(f"key {number}", {"number": number}))
        config = with_replicas(cluster, 3)
        cluster.map = config.map
        for name in ("shard0.2", "shard0.3"):
            cluster.start_shard(name)
        apply(cluster, layout, config)
        cluster.run(client.write("while they come", {}))
        cluster.advance(5)
        assert len(group_of(cluster).members) == 3
        cluster.kill_shard("shard0")
        cluster.run(client.write("with another primary", {}))
        assert cluster.run(client.count()) == 22
        assert group_of(cluster).primary != "127.0.0.1:5050"

        apply(cluster, layout, config)  # who leads doesn't count
        with pytest.raises(BadRequest, match=r"config: shard 'shard0': replicas: found that .* are to go"):
            apply(cluster, layout, with_replicas(cluster, 1))
