"""A shard that has taken a state on rests before the next one, unless that concerns it."""

from __future__ import annotations

import pytest
from bootstrap.push_bench import Bench

from pyshard.bootstrap.push_turns import Lane

ONE = range(1)


def told(bench: Bench, took: float) -> None:
    """The shard is told a state, and takes it on."""
    bench.add(ONE, Lane.OTHERS)
    assert bench.all_turns() == [0]
    bench.clock.rightNow += took
    bench.answer(0)


@pytest.mark.parametrize(("took", "rest"), [(0.02, 0.08), (0.05, 0.2), (0.5, 0.25)])
def test_it_rests(took: float, rest: float) -> None:
    """Four times as long as it took, 0.25 s at the most; then it gets the newest state, once."""
    bench = Bench(1000)
    told(bench, took)
    for _ in range(10):
        bench.add(ONE, Lane.OTHERS)
        bench.clock.rightNow += (rest - 0.001) / 10
        assert bench.all_turns() == []
    bench.clock.rightNow += 0.002
    assert bench.turn() + bench.all_turns() == [0]
    bench.answer(0)
    assert bench.all_turns() == []


def test_what_changes_while_it_is_told() -> None:
    """It comes behind the rest, too."""
    bench = Bench(1000)
    bench.add(ONE, Lane.OTHERS)
    bench.all_turns()
    bench.add(ONE, Lane.OTHERS)
    bench.clock.rightNow += 0.05
    bench.answer(0)
    bench.clock.rightNow += 0.19
    assert bench.all_turns() == []
    bench.clock.rightNow += 0.02
    assert bench.turn() + bench.all_turns() == [0]


@pytest.mark.parametrize("lane", [Lane.CONCERNED, Lane.COMING])
def test_what_concerns_it(lane: Lane) -> None:
    """It is told at once, and not again behind the rest."""
    bench = Bench(1000)
    told(bench, 0.05)
    bench.add(ONE, Lane.OTHERS)
    bench.add(ONE, lane)
    assert bench.all_turns() == [0]
    bench.answer(0)
    assert not bench.clock.getDelayedCalls()


def test_a_shard_that_leaves() -> None:
    """It isn't told anything any more."""
    bench = Bench(1000)
    told(bench, 0.05)
    bench.add(ONE, Lane.OTHERS)
    bench.turns.remove(bench.shards[0])
    assert not bench.clock.getDelayedCalls()


def test_a_slow_shard() -> None:
    """It has its own place behind the others, and no rest besides."""
    bench = Bench(1000)
    told(bench, 1.0)
    bench.add(ONE, Lane.OTHERS)
    assert bench.all_turns() == [0]
