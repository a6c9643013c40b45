"""Copies of everything: another replica of the shard gets one, and nobody else, since changes are kept for it."""

from __future__ import annotations

from random import Random

import attrs
import pytest
from deferreds import result
from shard.states import LOW, STATE
from twisted.internet.task import Clock

from pyshard.errors import BadRequest, NotConfigured
from pyshard.model.cluster_state import ClusterState
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import SlotRanges
from pyshard.shard.replica_responders import ReplicaResponders
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.shard import Shard
from pyshard.shard.shard_replica import ShardReplica
from pyshard.testing import MemoryNetwork

ME, OTHER = MapReplica("127.0.0.1", 5050, StoreId("1d", "1d")), MapReplica("127.0.0.1", 6050, StoreId("9x", "9x"))


class Owner:
    """A connection."""

    replicates = False


def grouped(epoch: int, *replicas: MapReplica) -> ClusterState:
    """A state in which this replica leads low, with these replicas."""
    group = ReplicaGroup(epoch, ME.address, frozenset({ME.address}), replicas, 1, 1.0)
    shards = ShardMap([LOW.led_by_group(group), *STATE.map.shards[1:]])
    return attrs.evolve(STATE, epoch=epoch, map=shards)


@pytest.fixture
def leader(new: Shard, clock: Clock) -> Shard:
    """A shard that leads a group with another replica."""
    new.replica = ShardReplica(new.store, clock, MemoryNetwork(clock).dial, Random(1))
    result(new.configure("low", grouped(7, ME, OTHER)))
    return new


def test_another_replica(leader: Shard, clock: Clock) -> None:
    """It gets a copy, and what changes from then on is kept for it."""
    responders = ReplicaResponders(leader, ServedFollowers(leader.store, clock), Owner())
    for _ in range(2):
        assert result(responders.open_replica_copy(OTHER.address))["copy"]
    assert list(leader.store.followers) == [f"replica {OTHER.address}"]


@pytest.mark.parametrize("address", ["", "x" * 300, ME.address, "127.0.0.1:6051"])
def test_nobody_else(leader: Shard, clock: Clock, address: str) -> None:
    """Whoever isn't of the group gets none, and nothing is kept for it."""
    responders = ReplicaResponders(leader, ServedFollowers(leader.store, clock), Owner())
    with pytest.raises(BadRequest, match="expected the address of another replica of this shard"):
        responders.open_replica_copy(address)
    assert list(leader.store.followers) == []


def test_a_shard_without_replicas(shard: Shard, clock: Clock) -> None:
    """It gives no such copy to anybody."""
    shard.replica = ShardReplica(shard.store, clock, MemoryNetwork(clock).dial, Random(1))
    responders = ReplicaResponders(shard, ServedFollowers(shard.store, clock), Owner())
    with pytest.raises(NotConfigured, match="no replicas"):
        responders.open_replica_copy(OTHER.address)
    assert list(shard.store.followers) == []


def test_a_replica_that_leaves_meanwhile(leader: Shard, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its copy is closed at once, and nothing is kept for it."""
    followers, copy = ServedFollowers(leader.store, clock), leader.store.copy

    def leaves(name: str | None, ranges: SlotRanges | None) -> object:
        copied = copy(name, ranges)
        result(leader.configure("low", grouped(8, ME)))
        return copied

    monkeypatch.setattr(leader.store, "copy", leaves)
    with pytest.raises(BadRequest):
        result(ReplicaResponders(leader, followers, Owner()).open_replica_copy(OTHER.address))
    assert list(leader.store.followers) == []
    assert not followers._copies
