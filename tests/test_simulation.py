"""Seeded runs of a whole cluster under faults (`simulated_cluster`): the history of every key must make sense."""

from __future__ import annotations

import pytest
from simulated_cluster import Simulation

SEEDS = 60
BLOCK = 20
STEPS = 40


def simulate(seed: int) -> None:
    """One run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        run = Simulation(seed, monkeypatch)
        for _ in range(STEPS):
            for _ in range(run.random.choice([0, 1, 1, 3, 8])):
                run.issue()
            if run.random.random() < 0.25:
                run.fault()
            run.cluster.advance(run.random.choice([0, 0, 0.001, 0.01, 0.1, 0.5, 0.5, 6]))
        run.heal()
        run.check()
        run.finish()


@pytest.mark.parametrize("first", range(0, SEEDS, BLOCK))
def test_the_history_of_every_key_makes_sense(first: int) -> None:
    """Under every fault of every seed, the history of each key is linearizable and in each client's order."""
    for seed in range(first, first + BLOCK):
        try:
            simulate(seed)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error


def test_a_run_repeats_itself() -> None:
    """The same seed gives the same run, to the last moment: a failure can be looked at."""
    histories = []
    for _ in range(2):
        with pytest.MonkeyPatch.context() as monkeypatch:
            run = Simulation(7, monkeypatch)
            for _ in range(30):
                run.issue()
                run.fault()
                run.cluster.advance(0.05)
            run.heal()
            histories.append([(call.verb, call.issued, call.answered, str(call.outcome)) for call in run.calls])
            run.cluster.close()
    assert histories[0] == histories[1]
