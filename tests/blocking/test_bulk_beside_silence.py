"""Bulk verbs of the blocking client beside a shard that doesn't answer: the keys of the others are done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest
from clusters import announce, keys_on
from handover import hand_over
from twisted.internet.defer import Deferred, fail

from pyshard.errors import Overloaded, PartialFailure, PyshardError, ShardBehind
from pyshard.model.shard_map import ShardMap
from pyshard.testing import MemoryCluster


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryCluster]:
    """A cluster of three shards, of which shard0 answers nothing."""
    with MemoryCluster(3) as cluster:
        monkeypatch.setattr(cluster.services["shard0"].shard, "apply", lambda *_: Deferred())
        yield cluster


def failed_of(call: Callable[[], object]) -> set[object]:
    """The keys that failed."""
    with pytest.raises(PartialFailure) as failure:
        call()
    return {key for key, _ in failure.value.failed}


@pytest.mark.parametrize("error", [ShardBehind("for a moment"), Overloaded("for a moment")])
def test_a_shard_that_refuses_for_a_moment(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, error: PyshardError
) -> None:
    """It is asked again at once, not when the silent one's deadline is over."""
    keys = {name: keys_on(cluster, name, 20) for name in cluster.names}
    with cluster.blocking() as app:
        shard = cluster.services["shard1"].shard
        apply, asked = shard.apply, list[float]()

        def once(*arguments: Any) -> Any:
            asked.append(cluster.clock.seconds())
            return fail(error) if len(asked) == 1 else apply(*arguments)

        monkeypatch.setattr(shard, "apply", once)
        pairs = [(key, 1) for some in keys.values() for key in some]
        assert failed_of(lambda: app.write_many(pairs)) == set(keys["shard0"])
        assert len(asked) == 2
        assert asked[1] < asked[0] + 1
        assert app.read_many(keys["shard1"] + keys["shard2"]).count(None) == 0


def test_keys_that_have_moved(cluster: MemoryCluster) -> None:
    """They are written at the shard that has them by now, while the silent one is waited for."""
    keys = {name: keys_on(cluster, name, 20) for name in cluster.names}
    with cluster.blocking() as app:
        app.read_many(keys["shard1"] + keys["shard2"])
        first, second, third = cluster.state.map.shards
        swapped = [first, attrs.evolve(second, ranges=third.ranges), attrs.evolve(third, ranges=second.ranges)]
        state = attrs.evolve(cluster.state, epoch=cluster.state.epoch + 1, map=ShardMap(swapped))
        hand_over(cluster, state)
        announce(cluster, state)
        pairs = [(key, number) for some in keys.values() for number in (1, 2) for key in some]
        assert failed_of(lambda: app.write_many(pairs)) == set(keys["shard0"])
        assert app.get_many(keys["shard1"] + keys["shard2"]) == [2] * 40
        assert cluster.services["shard1"].shard.store.documents == 20
