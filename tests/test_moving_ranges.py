"""Ranges move from shard to shard while clients write, in a cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import SlotRanges
from pyshard.testing import MemoryCluster

QUARTER: SlotRanges = ((SLOTS // 4, SLOTS // 2),)


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """Two shards."""
    with MemoryCluster() as made:
        yield made


def plan(cluster: MemoryCluster, source: str, target: str, ranges: SlotRanges) -> None:
    """Have a move planned."""
    assert cluster.bootstrap is not None
    bootstrap = cluster.bootstrap.bootstrap
    bootstrap.change(bootstrap.state.with_moves([Transfer(source, target, ranges)]))


def phases(cluster: MemoryCluster) -> list[Phase]:
    """Those of the moves that there are."""
    assert cluster.bootstrap is not None
    return [move.phase for move in cluster.bootstrap.bootstrap.state.moves]


def test_a_range_moves(cluster: MemoryCluster) -> None:
    """All documents are there, before, while and after."""
    client = cluster.connect()
    docs = {f"key {number}": number for number in range(500)}
    cluster.run(client.write_many(docs))
    plan(cluster, "shard0", "shard1", QUARTER)
    for _ in range(200):
        cluster.advance(0.05)
        found = cluster.run(client.read("key 7"))
        assert found is not None
        if not phases(cluster):
            break
    else:
        raise AssertionError(cluster.bootstrap.bootstrap.state.moves)
    state = cluster.bootstrap.bootstrap.state
    assert state.map.named("shard0").ranges == ((0, SLOTS // 4),)
    assert state.map.named("shard1").ranges == ((SLOTS // 4, SLOTS),)
    found = cluster.run(client.read_many(list(docs)))
    assert [one["record"] for one in found] == list(docs.values())
    assert cluster.run(client.count()) == 500
