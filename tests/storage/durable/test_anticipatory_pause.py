"""When a large group waits for others: only while they ask, and never for long."""

from __future__ import annotations

import pytest

from pyshard.storage.durable.anticipatory_pause import AnticipatoryPause


def after_a_large_group(asked: int = 0, seconds: float = 0.01) -> AnticipatoryPause:
    """A pause as it is at the time 1 s, right after a group that took so long."""
    pause = AnticipatoryPause()
    pause.begin(asked)
    pause.end(1 - seconds, 1)
    return pause


def test_nobody_else_asks() -> None:
    """Large groups follow each other at once."""
    assert AnticipatoryPause().remaining(0, 1) == 0
    assert after_a_large_group(5).remaining(5, 1) == 0


def test_others_have_asked_meanwhile() -> None:
    """The next one waits for 2 ms, and, each time somebody asks, for 2 ms from then on."""
    pause = after_a_large_group(5)
    assert pause.remaining(6, 1) == pytest.approx(0.002)
    assert pause.remaining(6, 1.0015) == pytest.approx(0.0005)
    assert pause.remaining(7, 1.0015) == pytest.approx(0.002)
    assert pause.remaining(7, 1.004) == 0


def test_others_ask_all_the_time() -> None:
    """It waits three times as long as the last one took, and no longer."""
    pause, now, asked = after_a_large_group(0, 0.01), 1.0, 0
    while (wait := pause.remaining(asked := asked + 1, now)) > 0:
        now += min(wait, 0.0001)
    assert now == pytest.approx(1.03)


@pytest.mark.parametrize("waits", [False, True])
def test_how_many_times_as_long(waits: bool) -> None:
    """The caller says how many times as long as the last one took others may have, and may say another number later."""
    pause, now, asked = after_a_large_group(0, 0.01), 1.0, 0
    while (wait := pause.remaining(asked := asked + 1, now, waits, times=0.5)) > 0:
        now += min(wait, 0.0001)
    assert now == pytest.approx(1.005)
    assert pause.remaining(asked + 1, now, True, times=2) == pytest.approx(0.015)
    assert pause.remaining(asked + 1, now, True) == pytest.approx(0.025)


def test_who_asked_before() -> None:
    """What was asked before the last large group doesn't hold up the next one."""
    pause = after_a_large_group(5)
    pause.begin(6)
    pause.end(1, 1.01)
    assert pause.remaining(6, 1.01) == 0


def test_whether_others_ask() -> None:
    """A group is told whether anything was asked since the one before it was begun."""
    pause = AnticipatoryPause()
    assert not pause.begin(0)
    assert pause.begin(1)
    pause.remaining(2, 0)
    assert pause.begin(2)
    assert not pause.begin(2)


def test_a_clock_that_went_back() -> None:
    """A group that seems to have taken less than nothing is followed at once."""
    pause = AnticipatoryPause()
    pause.begin(0)
    pause.end(2, 1)
    assert pause.remaining(1, 1) == 0
