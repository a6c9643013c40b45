"""Shards are told the state a few at a time: bytes under way, lanes, and turns of the reactor are bounded."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bootstrap.push_bench import MIB, Bench
from twisted.internet.defer import fail

from pyshard.bootstrap.push_turns import _BYTES_IN_TURN, _IN_TURN, _SHARDS_IN_TURN, _SLOW, Lane, level_after
from pyshard.settings import settings

MOST = settings.PUSHED_BYTES // MIB


def test_bytes_under_way() -> None:
    """Half as many as are allowed begin; when some have answered, as many others do, the first ones first."""
    bench = Bench(MIB)
    bench.add(range(100), Lane.OTHERS)
    assert bench.all_turns() == list(range(MOST // 2))
    bench.answer(1)
    bench.answer(3)
    assert bench.all_turns() == [MOST // 2, MOST // 2 + 1]
    while bench.under_way:
        assert len(bench.under_way) <= MOST // 2
        bench.answer(next(iter(bench.under_way)))
        bench.all_turns()
    assert bench.begun == list(range(100)), "each was told once"
    assert not bench.clock.getDelayedCalls()


def test_silent_shards() -> None:
    """Those that don't answer leave room to others after a second, whatever they still have under way."""
    bench = Bench(MIB)
    bench.add(range(100), Lane.OTHERS)
    bench.all_turns()
    for second in range(1, 6):
        bench.clock.advance(_SLOW * 0.9)
        assert len(bench.begun) == second * MOST // 2
        bench.clock.advance(_SLOW * 0.1)
        bench.all_turns()
        assert len(bench.begun) == (second + 1) * MOST // 2


def slow(bench: Bench, numbers: range, seconds: float = _SLOW) -> None:
    """Have shards answer late."""
    for number in numbers:
        bench.add(range(number, number + 1), Lane.COMING)
        bench.all_turns()
        bench.clock.advance(seconds)
        bench.answer(number)
    bench.begun.clear()


def silent(bench: Bench, numbers: range, times: int = 2) -> None:
    """Have shards leave in the middle of so many pushes."""
    for _ in range(times):
        bench.add(numbers, Lane.COMING)
        while bench.all_turns():
            for number in list(bench.under_way):
                bench.turns.remove(bench.shards[number])
                bench.answer(number)
    bench.begun.clear()


@pytest.mark.parametrize(
    ("level", "took", "left", "then"),
    [
        (0, 0.9, False, 0),
        (0, 1.0, False, 1),
        (0, 2.0, False, 2),
        (0, 0.1, True, 2),
        (1, 0.1, True, 2),
        (2, 0.1, True, 3),
        (3, 0.1, True, 4),
        (6, 5.0, True, 6),
        (6, 5.0, False, 2),
        (6, 0.1, False, 0),
    ],
)
def test_levels(level: int, took: float, left: bool, then: int) -> None:
    """Who answers is slow at the most; who leaves once, too; and who leaves again and again waits behind all others."""
    assert level_after(level, took, left) == then


def test_silent_shards_come_last() -> None:
    """Who has left in the middle of two pushes waits behind the others, and takes none of their room, in any lane."""
    bench = Bench(MIB)
    silent(bench, range(20))
    bench.add(range(20), Lane.COMING)
    bench.add(range(20, 60), Lane.COMING)
    assert sorted(bench.all_turns()) == [*range(MOST // 4), *range(20, 20 + MOST // 2)]
    bench.answer(0)
    assert bench.all_turns() == [MOST // 4]
    bench.begun.clear()
    for _ in range(5):
        bench.clock.advance(_SLOW)
        bench.all_turns()
    assert bench.begun == list(range(20 + MOST // 2, 20 + 3 * MOST)), "the silent ones have their part, and no more"


def test_slow_shards_wait_for_no_silent_ones() -> None:
    """Nor for slower ones: what these have under way leaves its room after a second."""
    bench = Bench(MOST * MIB)
    silent(bench, range(40), times=5)
    slow(bench, range(40, 60), 5.0)
    slow(bench, range(60, 61), 1.2)
    bench.add(range(60), Lane.CONCERNED)
    assert sorted(bench.all_turns()) == [0, 40]
    bench.add(range(60, 61), Lane.CONCERNED)
    assert not bench.all_turns()
    bench.clock.advance(_SLOW)
    bench.all_turns()
    assert bench.begun[2:] == [60]


def test_silent_ones_by_how_often_they_were_it() -> None:
    """Those come first that have left less often."""
    bench = Bench(MOST * MIB)
    silent(bench, range(9), times=4)
    silent(bench, range(9, 10), times=2)
    bench.add(range(10), Lane.OTHERS)
    assert bench.all_turns() == [9]


def test_shards_that_answer_in_time_again() -> None:
    """They are as others, and don't count as late."""
    bench, late = Bench(MIB), list[int]()
    bench.turns.was_late = lambda shard: late.append(shard.number)
    slow(bench, range(3))
    assert late == [0, 1, 2]
    bench.add(range(3), Lane.COMING)
    assert bench.all_turns() == [0, 1], "a quarter is for them"
    bench.answer(0)
    bench.turns.remove(bench.shards[1])
    bench.answer(1)
    assert bench.all_turns() == [2]
    bench.clock.advance(_SLOW)
    bench.answer(2)
    assert late == [0, 1, 2, 1, 2]
    bench.add(range(4), Lane.COMING)
    assert bench.all_turns() == [0, 3, 2, 1], "one was late again, and one left in the middle of it"


def test_place_of_a_late_shard() -> None:
    """It keeps it when it is added again, and waits in the best lane."""
    bench = Bench(MIB)
    slow(bench, range(12))
    bench.add(range(12), Lane.OTHERS)
    bench.add(range(2), Lane.OTHERS)
    assert bench.all_turns() == [0, 1]
    bench.add(range(10, 11), Lane.CONCERNED)
    assert bench.all_turns() == [10]
    bench.turns.remove(bench.shards[2])
    bench.answer(0)
    assert bench.all_turns() == [3]


def test_largest_state() -> None:
    """One that is larger than what is allowed can be told all the same, to one shard at a time, or to one a second."""
    bench = Bench(settings.PUSHED_BYTES + 1)
    bench.add(range(3), Lane.OTHERS)
    assert bench.all_turns() == [0]
    bench.answer(0)
    assert bench.all_turns() == [1]
    bench.clock.advance(_SLOW * 0.9)
    assert not bench.all_turns()
    bench.clock.advance(_SLOW * 0.1)
    bench.all_turns()
    assert bench.begun == [0, 1, 2]


def test_concerned_shards_first() -> None:
    """Who is concerned by a change waits for none of the thousands that are told besides."""
    bench = Bench(MIB)
    bench.add(range(5000), Lane.OTHERS)
    bench.add(range(5000, 6000), Lane.COMING)
    bench.all_turns()
    bench.add(range(7000, 7002), Lane.CONCERNED)
    assert bench.turn() == [7000, 7001]
    bench.add(range(4999, 5000), Lane.CONCERNED)
    bench.add(range(5999, 6000), Lane.CONCERNED)
    bench.add(range(5999, 6000), Lane.OTHERS)
    assert bench.turn() == [4999, 5999], "those that wait already go first, too"


def test_lanes_take_turns() -> None:
    """No lane waits for another one to be empty."""
    bench = Bench(1)
    for lane in Lane:
        bench.add(range(lane * 100, lane * 100 + 100), lane)
    assert bench.turn()[:6] == [0, 100, 200, 1, 101, 201]


@pytest.mark.parametrize(
    ("size", "takes", "begin"),
    [(1, 0.0, _SHARDS_IN_TURN), (_BYTES_IN_TURN // 4, 0.0, 4), (_BYTES_IN_TURN + 1, 0.0, 1), (1, _IN_TURN / 2, 2)],
)
def test_one_turn_of_the_reactor(size: int, takes: float, begin: int) -> None:
    """So many shards are told in it, so many bytes, and for so long; the others in the next ones."""
    bench = Bench(size)
    bench.takes = takes
    bench.add(range(100), Lane.OTHERS)
    assert not bench.begun, "nothing is told in the turn of the change"
    assert bench.turn() == list(range(begin))
    bench.answer(0)
    assert bench.turn()[0] == begin


@pytest.mark.parametrize(("asked", "takes"), [(False, 0.1), (True, 0.2)])
def test_others_keep_half_of_the_time(asked: bool, takes: float) -> None:
    """While they ask, all shards are told in twice the time, though their answers call for the next ones at once."""
    bench = Bench(1)
    bench.asked, bench.takes = asked, 0.001
    bench.add(range(100), Lane.OTHERS)
    while len(bench.begun) < 100:
        bench.all_turns()
        for number in list(bench.under_way):
            bench.answer(number)
        if calls := bench.clock.getDelayedCalls():
            bench.clock.rightNow = max(bench.clock.rightNow, calls[0].getTime())
    assert bench.clock.seconds() == pytest.approx(takes, rel=0.05)


def test_changes_during_a_push() -> None:
    """A shard whose state changes while it is told is told once more behind that, in the best of the lanes."""
    bench = Bench(MIB)
    bench.add(range(1), Lane.OTHERS)
    bench.all_turns()
    bench.add(range(1), Lane.OTHERS)
    bench.add(range(1), Lane.CONCERNED)
    bench.add(range(1), Lane.OTHERS)
    bench.add(range(1, 20), Lane.OTHERS)
    assert 0 not in bench.all_turns()
    bench.answer(0)
    assert bench.turn()[0] == 0
    bench.answer(0)
    assert 0 not in bench.all_turns()


def test_shards_that_go() -> None:
    """They aren't told any more, and nobody waits for them."""
    bench, idle = Bench(MIB), list[int]()
    bench.turns.idle = lambda: idle.append(len(bench.begun))
    bench.add(range(2), Lane.OTHERS)
    bench.turns.remove(bench.shards[0])
    assert bench.turns.busy()
    assert bench.all_turns() == [1]
    assert idle == [1]
    bench.add(range(3), Lane.OTHERS)
    for number in range(3):
        bench.turns.remove(bench.shards[number])
    assert not bench.turns.busy()
    assert idle == [1, 1]
    bench.answer(1)
    assert not bench.all_turns()
    assert not bench.clock.getDelayedCalls()


def test_push_that_fails_in_a_way_that_nobody_knows(
    log_lines: list[str], logged_errors: Callable[[], list[BaseException]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The log has it, and the others are told."""
    bench = Bench(MIB)
    bench.add(range(2), Lane.OTHERS)
    monkeypatch.setattr(bench.shards[0], "push", lambda: fail(ZeroDivisionError("what is this?")))
    assert bench.all_turns() == [1]
    assert "a shard wasn't told the state" in log_lines[0]
    assert [type(error) for error in logged_errors()] == [ZeroDivisionError]
