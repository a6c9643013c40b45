"""Somebody else at a shard's address: he gets no operation."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from client.shard_link.shard0 import ADDRESS
from clusters import kinds
from deferreds import watch

from pyshard import Client
from pyshard.bootstrap.bootstrap import first_state
from pyshard.errors import Unavailable
from pyshard.shard.assignment import Assignment
from pyshard.shard.service import ShardService
from pyshard.shard.shard import Shard
from pyshard.storage import MemoryStore
from pyshard.testing import MemoryCluster


def stranger(cluster: MemoryCluster, identity: str, assigned_cluster: str) -> Shard:
    """Put another shard at shard0's address, configured by somebody."""
    shard = Shard(MemoryStore(identity, cluster.clock.seconds), cluster.clock.seconds)
    ranges = first_state(assigned_cluster, cluster.state.map)
    epoch = attrs.evolve(ranges, epoch=cluster.state.epoch)
    state = epoch.with_identity("shard0", identity, durable=False)
    shard.assignment = Assignment("shard0", attrs.evolve(state, epoch=cluster.state.epoch))
    ShardService(lambda: shard, cluster.clock, cluster.network.listen(*ADDRESS)).startService()
    return shard


@pytest.mark.parametrize(
    ("own_store", "own_cluster", "why"),
    [(False, True, "another store answers"), (True, False, "belongs to another cluster"), (False, False, "cluster")],
)
def test_a_stranger_at_the_address_is_not_used(
    cluster: MemoryCluster, client: Client, own_store: bool, own_cluster: bool, why: str
) -> None:
    """Who answers as another store, or for another cluster, gets no operation: better no data than wrong data."""
    cluster.stop_bootstrap()
    identity = cluster.services["shard0"].shard.store.identity
    cluster.kill_shard("shard0")
    other = stranger(
        cluster, identity if own_store else "f" * 32, cluster.state.cluster if own_cluster else "another cluster"
    )
    outcomes: list[list[Any]] = [
        watch(client.read("test")),
        watch(client.write("test", 1)),
        watch(client.keys().next_page()),
    ]
    cluster.advance(10)
    assert kinds(outcomes) == [[Unavailable]] * 3
    assert all(why in str(outcome[0]) for outcome in outcomes)
    assert other.operations == 0


def test_a_bootstrap_at_a_shards_address_is_not_used(cluster: MemoryCluster, client: Client) -> None:
    """A daemon of the other kind gets no operation."""
    cluster.kill_shard("shard0")
    bootstrap = cluster.network.listeners["localhost", 9192]
    cluster.network.listeners[ADDRESS] = bootstrap
    outcome = watch(client.read("test"))
    cluster.advance(10)
    assert kinds([outcome]) == [[Unavailable]]
    assert "a bootstrap answers at 127.0.0.1:5050" in str(outcome[0])
    del cluster.network.listeners[ADDRESS]
