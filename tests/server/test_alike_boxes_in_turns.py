"""Turns beside an address that asks all it can, for things that take about as long as those of the others."""

from __future__ import annotations

import random

import pytest
from server.turns_bench import Bench, Connection

AWAY = 0.0001  # seconds for which an honest client is away between an answer and what it asks next


class Uneven(list[float]):
    """What boxes take, one after the other: about so much each."""

    def __init__(self, cost: float) -> None:
        super().__init__([cost])
        self._random = random.Random(1)

    def __getitem__(self, number: object) -> float:  # type: ignore[override]  # it is never sliced
        return super().__getitem__(0) * self._random.lognormvariate(0, 0.4)


def peer(bench: Bench, name: str, cost: float, origin: str) -> Connection:
    """A connection whose boxes take about so long."""
    made = bench.peer(name, cost=cost, origin=origin)
    made.costs = Uneven(cost)
    return made


def rate_of(bench: Bench, honest: Connection, asked: int) -> float:
    """Things a second that are answered to one that asks one at a time."""
    began = bench.clock.seconds()
    for _ in range(asked):
        bench.ask(honest)
        bench.away(AWAY)
    return asked / (bench.clock.seconds() - began)


@pytest.mark.parametrize("connections", [1, 8, 200])
@pytest.mark.parametrize("cost", [0.000015, 0.00004, 0.00008, 0.00012, 0.0003])
def test_one_thing_at_a_time_beside_a_flood(cost: float, connections: int) -> None:
    """Who asks one thing at a time keeps 70 % of its rate beside thousands of boxes of another address."""
    bench = Bench()
    honest = peer(bench, "honest", 0.00008, "192.0.2.1")
    alone = rate_of(bench, honest, 1000)
    for number in range(connections):
        peer(bench, f"flood{number}", cost, "192.0.2.2").arrive(1_000_000)
    rate_of(bench, honest, 1000)
    before, began = len(bench.served), bench.clock.seconds()
    assert rate_of(bench, honest, 2000) >= 0.7 * alone
    assert (len(bench.served) - before - 2000) * cost / (bench.clock.seconds() - began) > 0.05


def test_who_asks_now_and_then_costs_a_flood_little() -> None:
    """Some hundred small things a second leave an address that asks all it can more than nine tenths of the rest."""
    bench = Bench()
    asker, busy = peer(bench, "asker", 0.00008, "192.0.2.1"), peer(bench, "busy", 0.00004, "192.0.2.2")
    busy.arrive(10_000_000)
    for _ in range(100):
        bench.ask(asker)
        bench.away(0.005)
    before, began = bench.served.count("busy"), bench.clock.seconds()
    for _ in range(200):
        bench.ask(asker)
        bench.away(0.005)
    used = (bench.served.count("busy") - before) * 0.00004
    assert used / (bench.clock.seconds() - began) > 0.85


def test_equals_leave_each_other_nothing() -> None:
    """Two addresses that ask all they can share all of the time."""
    bench = Bench()
    for name in ("a", "b"):
        peer(bench, name, 0.00004, name).arrive(1_000_000)
    while bench.clock.seconds() < 1:
        bench.turn()
    before, began = len(bench.served), bench.clock.seconds()
    while bench.clock.seconds() < 2:
        bench.turn()
    served = bench.served[before:]
    assert len(served) * 0.00004 / (bench.clock.seconds() - began) > 0.85
    assert 0.8 < served.count("a") / served.count("b") < 1.25
