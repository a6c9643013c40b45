"""What Python's garbage collector takes in somebody's turn is counted for nobody."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from server.turns_bench import Bench, Connection, busy_bench, wait_of

FULL = 0.05  # seconds of a collection where there is much


@pytest.fixture
def bench() -> Bench:
    """Turns in which several addresses ask all the time."""
    return busy_bench()


def test_no_wait_for_a_collection(bench: Bench) -> None:
    """Whoever was served when there was one waits no longer for the next things, and counts as what it was."""
    honest = bench.peer("honest", cost=0.00003)
    for _ in range(300):
        bench.ask(honest)
    for _ in range(20):
        honest.collected = FULL
        bench.ask(honest)
        honest.collected = 0.0
        assert max(wait_of(bench, honest) for _ in range(10)) < 0.005
        assert honest.account == honest.origin


@pytest.mark.parametrize("wrapped", ["reading", "writing"])
def test_no_wait_for_one_while_reading_or_writing(bench: Bench, wrapped: str) -> None:
    """Nor does it count for whoever was read from, or written to."""
    honest = bench.peer("honest", cost=0.00003)
    for _ in range(300):
        bench.ask(honest)
    wrap: Callable[[Connection, Callable[[], object]], Callable[[], object]] = getattr(bench.turns, wrapped)
    wrap(honest, lambda: bench.collect(FULL))()
    assert wait_of(bench, honest) < 0.005
    assert honest.account == honest.origin


def test_what_a_box_takes_itself_counts(bench: Bench) -> None:
    """A box that takes long is one, with a collection in it or not."""
    honest = bench.peer("honest", cost=FULL / 2)
    honest.collected = FULL / 2
    for _ in range(4):  # of the first one it isn't known how much of it was a processor's work
        bench.ask(honest)
        for _ in range(100):
            bench.turn()  # of the others
    assert honest.account != honest.origin
    honest.cost, honest.collected = 0.00003, 0.0
    assert wait_of(bench, honest) > FULL / 2
