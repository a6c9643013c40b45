"""Which part of the time others ask: by what is on its way, and what was asked a moment ago, of late."""

from __future__ import annotations

import pytest

from pyshard.shard.utilization import MOMENT, Utilization, times_left


def one_after_the_other(
    utilization: Utilization, began: float, takes: float, pause: float, seconds: float, large: bool = False
) -> float:
    """Have somebody ask for so many seconds: each thing takes so long, and after a pause there is the next one.

    :return: what time it is then.
    """
    now = began
    while now < began + seconds:
        utilization.count(now, False, large)
        utilization.ask(now)
        now += takes
        utilization.count(now, True, large)
        now += pause
    utilization.count(now, False, large)
    return now


def test_nobody_was_seen() -> None:
    """Whoever is new is taken to ask all the time."""
    assert Utilization(5.0).fraction == 1


def test_nobody_asks() -> None:
    """It is soon known."""
    utilization = Utilization(5.0)
    utilization.count(5.02, False, False)
    assert utilization.fraction == pytest.approx(0.2, abs=0.01)
    utilization.count(6.0, False, False)
    assert utilization.fraction < 0.03


@pytest.mark.parametrize(
    ("takes", "pause", "part"),
    [
        (0.0, 0.0009, 1.0),  # reads that are answered at once: all the time
        (0.002, 0.0, 1.0),
        (0.0015, 0.0005, 0.75),  # changes, which members have to have
        (0.0, 0.004, MOMENT / 0.004),  # reads now and then
        (0.002, 0.006, 0.25),
        (0.0, 0.1, MOMENT / 0.1),
    ],
)
def test_one_after_the_other(takes: float, pause: float, part: float) -> None:
    """It is the part of the time in which something is on its way, or was asked for a moment ago."""
    utilization = Utilization(5.0)
    one_after_the_other(utilization, 5.0, takes, pause, 2.0)
    assert utilization.fraction == pytest.approx(part, abs=0.03)


def test_several_at_once() -> None:
    """Time is used once, however many ask in it."""
    utilization = Utilization(5.0)
    for number in range(3000):
        now = 5.0 + number // 3 * 0.004
        utilization.count(now, False, False)
        utilization.ask(now)
    assert utilization.fraction == pytest.approx(0.25, abs=0.03)


def test_while_something_large_is_on_its_way() -> None:
    """What is small waits for that: it doesn't use the time, nor does it leave it."""
    utilization = Utilization(5.0)
    utilization.count(5.04, True, False)
    utilization.count(5.05, False, False)
    before = utilization.fraction
    utilization.count(5.07, False, True)
    assert utilization.fraction == pytest.approx(before, abs=0.03)
    utilization.count(5.09, True, True)
    assert utilization.fraction == pytest.approx(before, abs=0.03)


def test_nothing_is_known_after_long_time() -> None:
    """After a large thing that took long others are taken to ask all the time again."""
    utilization = Utilization(5.0)
    utilization.count(6.0, False, False)
    utilization.count(9.0, False, True)
    assert utilization.fraction > 0.99


def test_others_change() -> None:
    """A quarter of a second later what was before counts a third, and a second later next to nothing."""
    utilization = Utilization(5.0)
    now = one_after_the_other(utilization, 5.0, 0.0, 0.02, 2.0)
    assert utilization.fraction < 0.1
    now = one_after_the_other(utilization, now, 0.0, 0.0005, 0.25)
    assert utilization.fraction == pytest.approx(0.65, abs=0.03)
    one_after_the_other(utilization, now, 0.0, 0.0005, 0.75)
    assert utilization.fraction > 0.97


@pytest.mark.parametrize(
    ("fraction", "times"), [(0.0, 0.0), (0.1, 0.18), (0.25, 0.6), (0.4, 1.5), (0.5, 3.0), (0.58, 6.0), (1.0, 6.0)]
)
def test_times_left(fraction: float, times: float) -> None:
    """Of the time others are left more than they ask, and no more than the most."""
    assert times_left(fraction, 6) == pytest.approx(times, abs=0.03)
