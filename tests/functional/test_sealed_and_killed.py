"""Who is killed between a move's seal and its commit: nothing is lost, and nobody opens by himself what was sealed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest
from functional.cluster import Cluster, NewCluster, until
from functional.cluster_operator import NoAnswer, Operator, check_full_count
from functional.failpoints_of_moves import Failpoints

from pyshard import Pyshard
from pyshard.errors import PyshardError
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.slot_ranges import in_ranges

pytestmark = pytest.mark.functional

MOVING = ((0, SLOTS // 2),)  # all that shard a has
DOCS = {f"key {number}": number for number in range(200)}


def _prepared(cluster: Cluster) -> Operator:
    cluster.start()
    with Pyshard(cluster.server) as app:
        app.write_many(DOCS)
    return Operator(cluster)


def _move(operator: Operator) -> RangeMove | None:
    with suppress(NoAnswer):
        return next(iter(operator.state().moves), None)
    return None


@pytest.fixture
def failpoints(tmp_path: Path) -> Failpoints:
    """Those of a cluster."""
    folder = tmp_path / "failpoints"
    folder.mkdir()
    return Failpoints(folder)


def test_source_is_killed_once_it_is_sealed(
    new_cluster: NewCluster, environment: Mapping[str, str], failpoints: Failpoints
) -> None:
    """Its seal is taken back by the state while it is away, and by itself only when it is told so."""
    cluster = new_cluster(2, durable=True, environment=failpoints.environment(environment))
    operator, source = _prepared(cluster), cluster.shards[0]
    failpoints.arm(source, "after log of seal")
    operator.move("a", "b", MOVING)
    until(lambda: not source.running, "the source is killed")
    until(lambda: (move := _move(operator)) is not None and move.phase is Phase.COPYING, "the seal is taken back")
    cluster.bootstrap.end()
    source.start()
    source.wait_listening()
    with Pyshard(f"127.0.0.1:{source.port}", deadline=1.0) as app:  # a shard gives the map, too
        key = next(key for key in DOCS if in_ranges(slot_of(key.encode()), MOVING))
        with pytest.raises(PyshardError):
            app.read(key)
    cluster.start()
    operator.wait_over()
    owned = {shard.name: shard.ranges for shard in operator.state().map.shards}
    assert owned == {"a": (), "b": ((0, SLOTS),)}
    with Pyshard(cluster.server) as app:
        assert check_full_count(app) == len(DOCS)
        assert app.get_many(list(DOCS)) == list(DOCS.values())


def test_target_in_memory_is_lost_once_it_was_ready(
    new_cluster: NewCluster, environment: Mapping[str, str], failpoints: Failpoints
) -> None:
    """It has another store then: the move is cancelled, and its source has all, and serves it again."""
    cluster = new_cluster(2, environment=failpoints.environment(environment))
    operator, target = _prepared(cluster), cluster.shards[1]
    failpoints.arm(target, "before report that it is ready")
    operator.move("a", "b", MOVING)
    until(lambda: not target.running, "the target is killed")
    target.start()
    target.wait_listening()
    operator.wait_over()
    assert [(move.phase, move.why) for move in operator.moves()] == [
        (Phase.CANCELLED, "the store of shard 'b' isn't the one with which the move began")
    ]
    with Pyshard(cluster.server) as app:
        expected = {key: value for key, value in DOCS.items() if in_ranges(slot_of(key.encode()), MOVING)}
        assert dict(app.items()) == expected
        assert check_full_count(app) == len(expected)
        assert app.write(next(iter(expected)), "later") > 0
