"""Who bears what it takes to bring changes into LMDB."""

from __future__ import annotations

import pytest

from pyshard.storage.durable.flush_costs import FlushCosts


def test_each_page_bears_a_thousandth() -> None:
    """A small change bears little of a flush, a large one as much as many small ones, and none more than there is."""
    costs = FlushCosts()
    costs.bear(10)
    assert costs.owed == 0
    costs.add(0.05)
    costs.bear(1)
    assert costs.owed == pytest.approx(0.05 - 0.00005)
    costs.bear(500)
    assert costs.owed == pytest.approx(0.025, rel=0.01)
    costs.bear(5000)
    assert costs.owed == 0


def test_all_of_it_is_borne_in_the_long_run() -> None:
    """Where each thousand changes bring about a flush, they bear what it takes."""
    costs, borne = FlushCosts(), 0.0
    for _ in range(20):
        costs.add(0.05)
        for _ in range(1000):
            owed = costs.owed
            costs.bear(1)
            borne += owed - costs.owed
    assert 0.95 < borne / (20 * 0.05) <= 1
    assert costs.owed < 0.05


def test_a_clock_that_was_put_back() -> None:
    """Nobody is given time for it."""
    costs = FlushCosts()
    costs.add(-1.0)
    assert costs.owed == 0
