"""A shard gets another address while it gives a range away."""

from __future__ import annotations

from collections.abc import Iterator

import attrs
import pytest
from deferreds import change_state
from moving import DOCS, check_clean, filled, owner, plan, slow_down, state_of, until

from pyshard.model.range_moves import Phase
from pyshard.shard.move_pull import MovePull
from pyshard.testing import MemoryCluster

OLD, NEW = 5050, 6050  # the source's port


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """Two shards with some documents."""
    with filled() as made:
        yield made


def announce(cluster: MemoryCluster, port: int) -> None:
    """Have the source's address be another one in the map, as a changed config has it."""
    assert cluster.bootstrap is not None
    bootstrap = cluster.bootstrap.bootstrap
    moved = attrs.evolve(state_of(cluster).map.shards[0], port=port)
    change_state(bootstrap, bootstrap.state.with_shards([], [moved], []))


def pulling_of(cluster: MemoryCluster) -> MovePull:
    """The only pull."""
    (pulling,) = cluster.services["shard1"].moves._pulling.values()
    return pulling


def peer(pulling: MovePull) -> tuple[str, int]:
    """Whom the target is connected to."""
    assert pulling._dialer is not None
    assert pulling._dialer.connection is not None
    assert pulling._dialer.connection.transport is not None
    found = pulling._dialer.connection.transport.getPeer()
    return found.host, found.port


@pytest.mark.parametrize("gone", [True, False], ids=["gone", "still there"])
@pytest.mark.parametrize("complete", [False, True], ids=["while it is copied", "when it was"])
def test_the_source_gets_another_address(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, complete: bool, gone: bool
) -> None:
    """The target dials the new one, whatever answers at the old one, and goes on from what it has."""
    first, network = cluster.map.shards[0], cluster.network
    slow_down(cluster, monkeypatch, page=200)
    plan(cluster)
    until(cluster, Phase.COPYING)
    while not cluster.services["shard1"].moves._pulling:
        cluster.advance(0.001)
    pulling = pulling_of(cluster)
    progress = pulling.pull.progress
    while progress.sequence == 0 if complete else progress.rows == 0:
        cluster.advance(0.001)
    assert (progress.sequence > 0, progress.copies, peer(pulling)) == (complete, 1, (first.host, OLD))
    network.listeners[first.host, NEW] = network.listeners[first.host, OLD]
    if gone:
        del network.listeners[first.host, OLD]
        network.strand(first.host, OLD)  # nobody is told, as when a machine loses its power
    announce(cluster, NEW)
    cluster.advance(0.04)  # it is told, and dials
    assert pulling_of(cluster) is pulling
    assert peer(pulling) == (first.host, NEW)
    until(cluster)
    assert owner(cluster) == "shard1"
    assert progress.copies == (1 if complete else 2)
    client = cluster.connect()
    assert cluster.run(client.get_many(list(DOCS))) == list(DOCS.values())
    check_clean(cluster)


def test_nobody_is_there_yet(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is wrong at the new address is told, and no more what was at the old one; it is dialed until it is there."""
    first, network = cluster.map.shards[0], cluster.network
    slow_down(cluster, monkeypatch, page=200)
    move = plan(cluster)
    until(cluster, Phase.COPYING)
    cluster.advance(0.1)
    moves = cluster.services["shard1"].moves
    listener = network.listeners.pop((first.host, OLD))
    network.cut(first.host, OLD)
    cluster.advance(0.1)
    assert moves.reports().taken[move.number].error
    network.silence(first.host, NEW)
    network.listeners[first.host, NEW] = listener
    announce(cluster, NEW)
    cluster.advance(0.1)
    assert moves.reports().taken[move.number].error == ""
    cluster.advance(10)
    assert moves.reports().taken[move.number].error == "no answer to Hello within 5 s"
    network.unsilence(first.host, NEW)
    until(cluster)
    assert owner(cluster) == "shard1"
    check_clean(cluster)
