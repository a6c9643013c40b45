"""Large groups by value: whom they leave time, and what is held."""

from __future__ import annotations

from math import inf

import pytest

from pyshard.storage.durable.fair_update_queue import SMALL, WaitingUpdate
from pyshard.storage.durable.large_groups import LargeGroups
from pyshard.storage.interface import ITSELF, Sender

BUSY, OTHER = Sender("busy", "1"), Sender("other", "1")
SMALL_ONE, LARGE_ONE = WaitingUpdate(0.0, 0, None, OTHER, SMALL, 1), WaitingUpdate(0.0, 0, None, BUSY, SMALL + 1, 1)


def test_time_is_left_to_others() -> None:
    """The next one waits while others ask for small things, not for what its own sender asks."""
    groups = LargeGroups()
    groups.ask(OTHER, 1.0)
    assert groups.begin(BUSY)
    groups.end(1.0, 1.01)
    groups.ask(BUSY, 1.0)
    assert groups.remaining(BUSY, 1.01) == 0
    groups.ask(OTHER, 1.0)
    assert groups.remaining(BUSY, 1.01) > 0
    assert groups.remaining(BUSY, 1.1) == 0
    assert groups.begin(BUSY)
    assert not groups.begin(BUSY)


def test_what_is_held() -> None:
    """Those of others wait until then; what the store has for itself is begun, and comes before all that waits."""
    groups = LargeGroups()
    groups.hold(2.0)
    assert (groups.is_held(BUSY, 1.0), groups.is_held(ITSELF, 1.0)) == (True, False)
    assert (groups.remaining(BUSY, 1.0), groups.remaining(ITSELF, 1.0)) == (1.0, 0.0)
    assert groups.comes_first(1000, 100, 1.0)
    assert not groups.is_held(BUSY, 2.0)
    assert (groups.comes_first(1000, 100, 2.0), groups.comes_first(100, 100, 2.0)) == (False, True)


def after_a_large_group() -> LargeGroups:
    """As they are at the time 1 s, right behind one that took 0.1 s."""
    groups = LargeGroups()
    groups.begin(BUSY)
    groups.end(0.9, 1.0)
    return groups


def test_who_waits_for_an_answer() -> None:
    """The next one waits, however long a small group of others takes, and for 2 ms behind its answer."""
    groups = after_a_large_group()
    assert groups.commit([SMALL_ONE])
    assert groups.remaining(BUSY, 1.05) > 0
    groups.answer(1.06)
    assert groups.remaining(BUSY, 1.06) == pytest.approx(0.002)
    assert groups.remaining(BUSY, 1.0621) == 0
    assert groups.commit([SMALL_ONE])
    assert groups.remaining(BUSY, 1.31) == 0  # three times as long as the large one took


def test_whose_answers_are_waited_for() -> None:
    """Of small ones of others alone, also behind a large one; the large one's own sender and the store aren't any."""
    groups = LargeGroups()
    assert not groups.commit([SMALL_ONE])
    groups.begin(BUSY)
    assert groups.commit([LARGE_ONE, SMALL_ONE])
    of_itself = SMALL_ONE._replace(sender=ITSELF)
    assert not groups.commit([LARGE_ONE, SMALL_ONE._replace(sender=BUSY), LARGE_ONE._replace(sender=OTHER), of_itself])


def test_who_takes_its_time() -> None:
    """Where nobody asks soon behind some answers no more is waited for them, until somebody does."""
    groups, now = after_a_large_group(), 1.0
    for _ in range(4):
        assert groups.commit([SMALL_ONE])
        assert groups.remaining(BUSY, now) > 0
        groups.answer(now)
        groups.remaining(BUSY, now)
        now += 0.003
        groups.ask(OTHER, now)
        groups.remaining(BUSY, now)
        now += 0.003
    groups.commit([SMALL_ONE])
    assert groups.remaining(BUSY, now) == 0
    groups.answer(now)
    assert groups.remaining(BUSY, now) == 0
    groups.ask(OTHER, now + 0.001)
    assert groups.commit([SMALL_ONE])
    assert groups.remaining(BUSY, now + 0.01) > 0


def in_ten_seconds(sync: float, again_after: float) -> tuple[int, int]:
    """How many small and large groups are committed, where one address has large ones, and another asks and asks.

    A large one computes for 8 ms, a small one for 0.3, and an answer takes 0.2 ms until its client has it.
    """
    groups, now, asks_at, answered_at, waits, told = LargeGroups(), 0.0, 0.0, inf, False, False
    small = large = 0
    while now < 10:
        began = now
        if waits:  # fair order has it first
            now += sync + 0.0003
            told = groups.commit([SMALL_ONE])
            waits, answered_at, small = False, now + 0.0002, small + 1
        elif groups.remaining(BUSY, now) > 0:
            now += 0.0001
        else:
            groups.begin(BUSY)
            now += sync + 0.008
            groups.end(began, now)
            groups.commit([LARGE_ONE])
            large += 1
        if answered_at <= now:
            if told:
                groups.answer(answered_at)
            asks_at, answered_at = answered_at + again_after, inf
        if asks_at <= now:
            groups.ask(OTHER, asks_at)
            waits, asks_at = True, inf
    return small, large


@pytest.mark.parametrize("sync", [0.0003, 0.002, 0.005, 0.01, 0.03])
def test_any_disk(sync: float) -> None:
    """However long a sync takes: who asks at once again has most of its rate, and who takes its time costs little."""
    small, large = in_ten_seconds(sync, 0.0003)
    assert small > 0.7 * 10 / (sync + 0.0008)
    assert large > 0.2 * 10 / (sync + 0.008)
    small, large = in_ten_seconds(sync, 0.02)
    assert large > 0.5 * 10 / (sync + 0.008)
