"""When the store's own background work is done: at once where nobody asks, else for a sixth of the time, but always."""

from __future__ import annotations

import pytest

from pyshard.storage.durable.background_updates import BackgroundUpdates


def after_a_step(seconds: float = 0.01) -> BackgroundUpdates[str]:
    """Updates of which the first has been done at the time 1 s, and took so long; one thing had been asked before."""
    background: BackgroundUpdates[str] = BackgroundUpdates()
    background.add("first")
    background.remaining(1, 0.5)
    assert background.take(1 - seconds) == "first"
    background.count(seconds, 1)
    background.add("second")
    return background


def test_nothing_waits() -> None:
    """There is no time to wait for."""
    assert BackgroundUpdates[str]().remaining(5, 1) is None


def test_nobody_asks() -> None:
    """One step follows the other, in order."""
    background = after_a_step(1000)
    background.add("third")
    assert [background.remaining(1, 1), background.take(1), background.remaining(1, 1)] == [0, "second", 0]
    assert background.take(1) == "third"


def test_somebody_has_asked() -> None:
    """A step waits for 50 ms, and, each time somebody asks, for 50 ms from then on."""
    background = after_a_step()
    assert background.remaining(2, 1) == pytest.approx(0.05)
    assert background.remaining(2, 1.04) == pytest.approx(0.01)
    assert background.remaining(3, 1.04) == pytest.approx(0.05)
    assert background.remaining(3, 1.09) == 0


@pytest.mark.parametrize(("in_company", "begins"), [(True, 1.05), (False, 1.1)])
def test_somebody_asks_all_the_time(in_company: bool, begins: float) -> None:
    """It waits five times as long as the last step took, then for somebody to go with, and no longer."""
    background, now, asked = after_a_step(0.01), 1.0, 1
    while (wait := background.remaining(asked := asked + 1, now, in_company)) is not None and wait > 0:
        now += min(wait, 0.001)
    assert now == pytest.approx(begins)


def test_what_others_had_to_do_for_it() -> None:
    """What is flushed for it later on counts as well; what nobody waited for doesn't."""
    background = after_a_step(0.01)
    background.count(0.002, 1.02)  # it would have waited until 1.05
    background.count(0, 1.03)
    assert background.remaining(2, 1.03, in_company=True) == pytest.approx(0.03)
    assert background.remaining(3, 1.03, in_company=True) == pytest.approx(0.03)
    assert background.remaining(3, 1.06, in_company=True) == 0
    background.take(1.06)
    background.count(0.001, 3)
    background.add("third")
    assert background.remaining(4, 3, in_company=True) == pytest.approx(0.005)


def test_its_part_of_the_time() -> None:
    """Beside somebody who asks all the time, steps of any length have a sixth of it in the long run."""
    background: BackgroundUpdates[int] = BackgroundUpdates()
    now, asked, taken = 0.0, 0, 0.0
    for step in [0.001, 0.1, 0.02, 0.005] * 100:
        background.add(0)
        while background.remaining(asked := asked + 1, now, in_company=True):
            now += 0.001
        background.take(now)
        now += step
        taken += step
        background.count(step, now)
    assert 0.95 / 6 < taken / now < 1.05 / 6
