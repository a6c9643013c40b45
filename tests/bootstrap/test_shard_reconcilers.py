"""Which shards have a reconciler, and how those of a large cluster begin."""

from __future__ import annotations

from typing import cast

import pytest
from twisted.application.service import Service
from twisted.internet.task import Clock
from work import steps

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.reconciler import ShardReconciler
from pyshard.bootstrap.shard_reconcilers import _AT_ONCE, _BETWEEN, _DIALS, ShardReconcilers
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.settings import settings


class Held:
    """As much of a bootstrap as is asked: its state."""

    has_state = True

    def __init__(self, shards: int) -> None:
        self.told: list[object] = []
        self.set(range(shards))

    def set(self, numbers: range) -> None:
        """Have shards of these numbers; the first one has all slots."""
        ranges = {numbers[0]: ((0, SLOTS),)}
        shards = [MapShard(f"s{number}", ranges.get(number, ()), 1, "h", 1000 + number) for number in numbers]
        self.state = ClusterState("c", 1, ShardMap(shards))

    def on_change(self, told: object) -> None:
        """Who is to be told of changes."""
        self.told.append(told)


class Running:
    """Reconcilers that do nothing."""

    def __init__(self, shards: int) -> None:
        self.held, self.clock, self.pauses = Held(shards), Clock(), list[float]()
        self.made: dict[int, Service] = {}
        self.service = ShardReconcilers(cast(Bootstrap, self.held), self._make, self.clock)

    def _make(self, name: str, host: str, port: int, longest: float) -> ShardReconciler:
        self.pauses.append(longest)
        made = self.made[port - 1000] = Service()
        return cast(ShardReconciler, made)

    @property
    def begun(self) -> set[int]:
        """The numbers of those that run."""
        return {number for number, one in self.made.items() if one.running}


def test_a_few_begin_at_a_time() -> None:
    """All of a small cluster at once; of a large one so many, and the others a little later."""
    running = Running(_AT_ONCE)
    assert not running.begun
    running.service.startService()
    assert running.begun == set(range(_AT_ONCE))
    assert not running.clock.getDelayedCalls()
    running = Running(3 * _AT_ONCE + 1)
    running.service.startService()
    for number in range(1, 4):
        assert len(running.begun) == number * _AT_ONCE
        running.clock.advance(_BETWEEN)
    assert len(running.begun) == 3 * _AT_ONCE + 1
    assert not running.clock.getDelayedCalls()


def test_shards_that_go_before_they_began() -> None:
    """They never begin; the others do, and those that come meanwhile, once each."""
    running = Running(3 * _AT_ONCE)
    running.service.startService()
    running.held.set(range(_AT_ONCE - 1, 2 * _AT_ONCE))
    running.service._follow_map()
    gone = dict(running.made)
    running.held.set(range(_AT_ONCE - 1, 3 * _AT_ONCE))
    running.service._follow_map()
    for _ in range(10):
        running.clock.advance(_BETWEEN)
    assert running.begun == set(range(_AT_ONCE - 1, 3 * _AT_ONCE))
    assert not any(gone[number].running for number in (*range(_AT_ONCE - 1), *range(2 * _AT_ONCE, 3 * _AT_ONCE)))
    assert len(running.service.services) == 2 * _AT_ONCE + 1


def test_none_begins_behind_the_end() -> None:
    """Who waited still when all ended doesn't begin any more."""
    running = Running(3 * _AT_ONCE)
    running.service.startService()
    running.service.stopService()
    running.clock.advance(10)
    assert not running.begun
    assert not running.clock.getDelayedCalls()


@pytest.mark.parametrize(("shards", "longest"), [(3, settings.RETRY_LONGEST), (2000, 2000 / _DIALS)])
def test_many_dial_seldom(shards: int, longest: float) -> None:
    """So that all together dial so often at the most."""
    assert set(Running(shards).pauses) == {longest}


def test_change_that_leaves_the_map() -> None:
    """It costs no look at the shards, such as one of an index: there may be thousands of both."""
    running = Running(400)
    running.held.state = running.held.state.with_index("pages")
    assert steps(running.service._follow_map) < 100
