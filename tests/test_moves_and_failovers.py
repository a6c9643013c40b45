"""Ranges that move between shards with replicas, while primaries are lost: moves go on, and nothing is lost.

Either side's primary is killed in each phase. The next one takes the move up, by what the log has brought it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from moving import (
    DOCS,
    DurableStores,
    owner,
    plan,
    slow_down,
    until,
)
from moving_replicas import (
    LED,
    check_members,
    primary,
    replicated,
)
from stores import folder

from pyshard.client import Client
from pyshard.model.range_moves import Phase
from pyshard.testing import MemoryCluster

SIDES = {"source": "shard0", "target": "shard1"}


@pytest.fixture(params=["memory", "durable"])
def cluster(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """Two shards with two replicas each, in memory, or durable."""
    with folder() as path:
        store = None if request.param == "memory" else DurableStores(path).open
        with replicated(store) as made:
            yield made


@pytest.fixture
def durable() -> Iterator[MemoryCluster]:
    """Durable ones."""
    with folder() as path, replicated(DurableStores(path).open) as made:
        yield made


def fail_over(cluster: MemoryCluster, shard: str) -> str:
    """Kill a shard's primary, and wait until another one leads; the name of who was killed."""
    killed = primary(cluster, shard)
    cluster.kill_shard(killed)
    wait_led(cluster, shard, killed)
    return killed


def wait_led(cluster: MemoryCluster, shard: str, former: str) -> None:
    """Wait until another one leads."""
    for _ in range(round(LED / 0.05)):
        if primary(cluster, shard) != former:
            return
        cluster.advance(0.05)
    raise AssertionError(f"nobody leads {shard} in place of {former}")


def check_whole(cluster: MemoryCluster, client: Client) -> None:
    """Nothing is lost or doubled, all can be changed, and all members have the same."""
    keys = list(DOCS)
    assert cluster.run(client.get_many(keys, deadline=30)) == list(DOCS.values())
    assert cluster.run(client.count()) == len(DOCS)
    cluster.run(client.write_many(dict.fromkeys(DOCS, "new"), deadline=30))
    assert cluster.run(client.get_many(keys, deadline=30)) == ["new"] * len(DOCS)
    cluster.run(client.write_many(DOCS))
    check_members(cluster)


def test_a_range_moves(cluster: MemoryCluster) -> None:
    """All members of the target have it, and none of the source; and back."""
    client = cluster.connect()
    plan(cluster)
    until(cluster)
    assert owner(cluster) == "shard1"
    check_whole(cluster, client)
    plan(cluster, "shard1", "shard0")
    until(cluster)
    assert owner(cluster) == "shard0"
    check_whole(cluster, client)


@pytest.mark.parametrize("phase", [Phase.COPYING, Phase.SEALING, Phase.COMMITTED])
@pytest.mark.parametrize("side", SIDES)
def test_a_primary_is_lost(cluster: MemoryCluster, side: str, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever phase, the move comes to its end all the same, and isn't cancelled."""
    client = cluster.connect()
    slow_down(cluster, monkeypatch)
    plan(cluster)
    until(cluster, phase)
    killed = fail_over(cluster, SIDES[side])
    until(cluster, Phase.COMMITTED)
    cluster.start_shard(killed)
    until(cluster)
    assert owner(cluster) == "shard1"
    check_whole(cluster, client)
