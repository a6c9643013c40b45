"""What a shard does for moves, and when."""

from __future__ import annotations

from random import Random

import attrs
import pytest
from deferreds import result
from shard.states import HALF, NEXT
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.model.range_moves import RangeMove, StoreId
from pyshard.shard.served_followers import ServedFollowers
from pyshard.shard.shard import Shard
from pyshard.shard.shard_moves import ShardMoves

MOVE = RangeMove(1, "low", "high", ((0, HALF),)).begun(StoreId("1d", "a"), StoreId("2e", "b")).sealing()


def test_sealed_when_it_is_remembered_why(shard: Shard, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that is killed once it is sealed knows so after its restart, and stays sealed until it is told more."""
    ShardMoves(shard, ServedFollowers(shard.store, clock), clock, None, Random(1))
    remembered: Deferred[None] = Deferred()
    monkeypatch.setattr(shard.store, "remember", lambda _: remembered)
    configured = shard.configure("low", attrs.evolve(NEXT, moves=(MOVE,), next_move=2))
    assert not shard.store.ranges.sealed
    remembered.callback(None)
    result(configured)
    assert shard.store.ranges.sealed["move 1"].attempt == 1
