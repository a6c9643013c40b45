"""Shards that are killed while a range moves: sealed stays sealed, and nothing is lost, until the state has decided."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from deferreds import change_state, watch
from moving import (
    DOCS,
    MOVING,
    QUARTER,
    STAYING,
    DurableStores,
    cancel,
    check_clean,
    filled,
    owner,
    plan,
    state_of,
    until,
)
from stores import folder

from pyshard.client import Client
from pyshard.errors import Unavailable
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase
from pyshard.model.range_plan import Transfer
from pyshard.storage import Durability
from pyshard.testing import MemoryCluster


@pytest.fixture
def stores() -> Iterator[DurableStores]:
    """Where durable shards have their data."""
    with folder() as path:
        yield DurableStores(path)


@pytest.fixture
def durable(stores: DurableStores) -> Iterator[MemoryCluster]:
    """Two durable shards with some documents."""
    with filled(stores.open) as made:
        yield made


def client_of(cluster: MemoryCluster) -> Client:
    """A client that knows both shards."""
    client = cluster.connect()
    cluster.run(client.get_many(list(DOCS)))
    return client


def seal(cluster: MemoryCluster) -> None:
    """A move is sealed, and its target has all; the bootstrap ends before it has committed that."""
    plan(cluster)
    until(cluster, Phase.SEALING)
    cluster.stop_bootstrap()
    cluster.advance(0.5)
    assert [one.attempt for one in cluster.services["shard0"].shard.store.ranges.sealed.values()] == [1]
    assert [one.sealed for one in cluster.services["shard1"].shard.store.ranges.staged.values()] == [1]


def check_sealed(cluster: MemoryCluster, client: Client) -> None:
    """The source serves nothing of what is sealed, but all else."""
    with pytest.raises(Unavailable):
        cluster.run(client.read(MOVING[0], deadline=2))
    with pytest.raises(Unavailable):
        cluster.run(client.write(MOVING[0], "lost?", deadline=2))
    assert cluster.run(client.get(STAYING[0])) == DOCS[STAYING[0]]
    assert cluster.run(client.write(STAYING[0], DOCS[STAYING[0]])) > 0
    assert [one.ranges for one in cluster.services["shard0"].shard.store.ranges.sealed.values()] == [QUARTER]


def check_whole(cluster: MemoryCluster, client: Client) -> None:
    """Nothing is lost, and all can be changed."""
    assert cluster.run(client.get_many(list(DOCS))) == list(DOCS.values())
    assert cluster.run(client.count()) == len(DOCS)
    cluster.run(client.write_many(dict.fromkeys(DOCS, "new")))
    assert cluster.run(client.get_many(list(DOCS))) == ["new"] * len(DOCS)
    check_clean(cluster)


@pytest.mark.parametrize("decided", [Phase.COMMITTED, Phase.CANCELLED])
def test_sealed_and_killed(durable: MemoryCluster, stores: DurableStores, decided: Phase) -> None:
    """A source that is killed between its seal and the commit stays sealed until the state has decided."""
    client = client_of(durable)
    seal(durable)
    check_sealed(durable, client)
    stores.kill(durable, "shard0")
    durable.start_shard("shard0")
    for _ in range(3):
        durable.advance(200)
        check_sealed(durable, client)
    waiting = client.write(MOVING[0], DOCS[MOVING[0]], deadline=30)
    durable.start_bootstrap()
    if decided is Phase.CANCELLED:
        cancel(durable)
    until(durable)
    assert durable.run(waiting) > 0
    assert owner(durable) == ("shard1" if decided is Phase.COMMITTED else "shard0")
    check_whole(durable, client)


@pytest.mark.parametrize("lost", ["shard0", "shard1"])
@pytest.mark.parametrize("decided", [Phase.COMMITTED, Phase.CANCELLED])
def test_killed_when_it_is_decided(durable: MemoryCluster, stores: DurableStores, decided: Phase, lost: str) -> None:
    """Whoever wasn't there when it was decided does its part when it is back; nobody else does it before."""
    client = client_of(durable)
    seal(durable)
    stores.kill(durable, lost)
    durable.start_bootstrap()
    if decided is Phase.CANCELLED:
        cancel(durable)
    elif lost == "shard1":  # only it can say that it has all
        durable.advance(20)
        assert state_of(durable).moves[0].phase is Phase.COPYING
    durable.advance(20)
    assert [move.phase for move in state_of(durable).moves] == [
        Phase.COPYING if lost == "shard1" and decided is Phase.COMMITTED else decided
    ]
    durable.start_shard(lost)
    until(durable)
    assert owner(durable) == ("shard1" if decided is Phase.COMMITTED else "shard0")
    check_whole(durable, client)


@pytest.mark.parametrize("lost", ["shard0", "shard1"])
def test_killed_in_a_weaker_mode(lost: str) -> None:
    """Nobody knows what such a store has lost. So the move is cancelled, and what is there is served by the source."""
    with folder() as path:
        stores = DurableStores(path, Durability.NONE)
        with filled(stores.open) as cluster:
            client = client_of(cluster)
            seal(cluster)
            stores.kill(cluster, lost)
            cluster.start_shard(lost)
            cluster.start_bootstrap()
            until(cluster, Phase.CANCELLED)
            until(cluster)
            assert owner(cluster) == "shard0"
            cluster.advance(5)  # records that were copied are removed
            check_whole(cluster, client)


def test_a_memory_target_that_was_ready() -> None:
    """One that restarts after it had all is empty: the move is cancelled, and the source serves again."""
    with filled() as cluster:
        client = client_of(cluster)
        cluster.run(client.remove_many([key for key in DOCS if key not in (*MOVING, *STAYING)]))
        kept = {key: DOCS[key] for key in (*MOVING, *STAYING)}  # of the first shard
        seal(cluster)
        cluster.kill_shard("shard1")
        cluster.start_shard("shard1")
        waiting = client.write(MOVING[0], DOCS[MOVING[0]], deadline=30)
        cluster.start_bootstrap()
        until(cluster, Phase.CANCELLED)
        assert "store of shard 'shard1'" in state_of(cluster).moves[0].why
        until(cluster)
        assert cluster.run(waiting) > 0
        assert owner(cluster) == "shard0"
        assert cluster.run(client.get_many(list(kept))) == list(kept.values())
        assert cluster.run(client.count()) == len(kept)
        check_clean(cluster)
        plan(cluster)
        until(cluster)
        assert owner(cluster) == "shard1"
        assert cluster.run(client.get_many(list(kept))) == list(kept.values())


def test_a_memory_source_that_was_sealed() -> None:
    """One that restarts is empty and open: the move is cancelled, and what its target has doesn't come back."""
    with filled() as cluster:
        client = client_of(cluster)
        seal(cluster)
        cluster.kill_shard("shard0")
        cluster.start_shard("shard0")
        cluster.start_bootstrap()
        until(cluster)
        assert owner(cluster) == "shard0"
        check_clean(cluster)
        assert cluster.run(client.write(MOVING[0], "new")) > 0
        assert cluster.run(client.get_many(MOVING)) == ["new", *[None] * (len(MOVING) - 1)]


def test_what_was_acknowledged_before_the_seal(durable: MemoryCluster, stores: DurableStores) -> None:
    """Changes go on up to the seal, and what waits at it is done once, on either side: both are killed, one by one."""
    client = client_of(durable)
    counts = []
    plan(durable)
    while state_of(durable).moves[0].phase is not Phase.SEALING:
        counts += [watch(client.increment("counter " + key, deadline=60)) for key in MOVING[:20]]
        durable.advance(0.01)
    durable.stop_bootstrap()
    counts += [watch(client.increment("counter " + key, deadline=60)) for key in MOVING[:20]]
    durable.advance(0.5)
    for name in ("shard0", "shard1"):
        stores.kill(durable, name)
        durable.advance(1)
        durable.start_shard(name)
        durable.advance(1)
    durable.start_bootstrap()
    until(durable)
    durable.advance(5)
    done = sum(len(each) for each in counts if each and isinstance(each[0], int))
    found = [durable.run(client.get("counter " + key, 0, type=int)) for key in MOVING[:20]]
    unknown = len(counts) - done
    assert done <= sum(found) <= done + unknown
    assert done > 20


def test_a_drained_source_whose_disk_is_lost(durable: MemoryCluster, stores: DurableStores) -> None:
    """It had given all away. The move waits for it to say that it is clean; a new store in its place ends the move."""
    client = client_of(durable)
    assert durable.bootstrap is not None
    state = state_of(durable)
    change_state(durable.bootstrap.bootstrap, state.with_moves([Transfer("shard0", "shard1", ((0, SLOTS // 2),))]))
    until(durable, Phase.SEALING)
    durable.stop_bootstrap()
    durable.advance(0.5)
    stores.lose(durable, "shard0")
    durable.start_bootstrap()
    until(durable, Phase.COMMITTED)
    durable.advance(20)
    assert [move.phase for move in state_of(durable).moves] == [Phase.COMMITTED]
    durable.start_shard("shard0")
    until(durable)
    check_whole(durable, client)
