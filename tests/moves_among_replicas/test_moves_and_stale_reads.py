"""Reads at replicas while ranges move: a member answers for what its shard serves, and for nothing else."""

from __future__ import annotations

from moving import DOCS, MOVING, STAYING, owner, plan, state_of
from moving_replicas import LEASE, others, store_of, until_so

from pyshard.errors import ShardBehind, WrongShard
from pyshard.model.range_moves import Phase
from pyshard.protocol.batch_operations import Read
from pyshard.replication.group_times import of_lease
from pyshard.testing import MemoryCluster

BOUND = of_lease(LEASE).staleness


def test_sealed_ranges(cluster: MemoryCluster) -> None:
    """A member reads nothing of a sealed range: it may be another shard's by now, which takes changes."""
    (member,) = others(cluster, "shard0")
    plan(cluster)
    until_so(cluster, lambda: state_of(cluster).moves[0].phase is Phase.SEALING)
    epoch = state_of(cluster).epoch
    cluster.stop_bootstrap()
    cluster.advance(LEASE)
    assert store_of(cluster, member).ranges.sealed
    shard = cluster.services[member].shard
    (found,) = cluster.run(shard.apply_stale(epoch, [Read("", [STAYING[0].encode()])]))
    assert not found.errors
    (refused,) = cluster.run(shard.apply_stale(epoch, [Read("", [MOVING[0].encode()])]))
    assert refused.errors[0][0] in (WrongShard.code, ShardBehind.code)


def test_ranges_that_have_moved(cluster: MemoryCluster) -> None:
    """What is read of a range that has moved isn't older than the bound, whatever map the reader had."""
    reader, writer = cluster.connect(read_from="nearest"), cluster.connect()
    assert cluster.run(reader.get_many(list(DOCS))) == list(DOCS.values())
    plan(cluster)
    until_so(cluster, lambda: owner(cluster) == "shard1", 60)
    cluster.run(writer.write_many(dict.fromkeys(MOVING, "new"), deadline=30))
    cluster.advance(BOUND)
    assert cluster.run(reader.get_many(MOVING, deadline=30)) == ["new"] * len(MOVING)
