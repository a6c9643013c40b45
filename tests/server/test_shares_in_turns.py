"""Turns while several addresses ask: what each has of the time, with numbers for the time that boxes take."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.turns_bench import AWAY, BOX, Bench

from pyshard.server import serving_turns
from pyshard.server.address_shares import ASKS, SHORT
from pyshard.settings import settings

AT_ONCE, SLICE = settings.SERVED_AT_ONCE, settings.SERVED_SLICE


@pytest.fixture
def bench() -> Bench:
    """Turns by a clock of their own."""
    return Bench()


def test_time_is_left_between_boxes_that_take_long(bench: Bench) -> None:
    """Who asks one small thing at a time keeps most of its rate beside large things, with pings between them or not."""
    honest = bench.peer("honest", cost=0.00003)
    for pings in (0, 1, 20):
        attack = bench.peer(f"attack{pings}", origin="192.0.2.1")
        attack.costs = [0.005, *[0.00002] * pings]
        attack.arrive(1_000_000)
        for _ in range(2000):  # who was alone hasn't been judged yet
            bench.ask(honest)
        began, asked = bench.clock.seconds(), 2000
        for _ in range(asked):
            bench.ask(honest)
        alone = asked * (honest.cost + AWAY)
        assert alone / (bench.clock.seconds() - began) >= 0.7
        bench.turns.forget(attack)
        attack.boxes = 0


@pytest.mark.parametrize(("cost", "connections"), [(0.00002, 1), (0.00002, 40), (0.00009, 16), (0.001, 4)])
def test_small_boxes_are_no_way_round(bench: Bench, cost: float, connections: int) -> None:
    """Nor does it help an attack to send thousands of small boxes, over one connection or over many."""
    honest = bench.peer("honest", cost=0.00003)
    for number in range(connections):
        bench.peer(f"a{number}", boxes=0, cost=cost, origin="192.0.2.1").arrive(1_000_000)
    for _ in range(2000):
        bench.ask(honest)
    began, asked = bench.clock.seconds(), 2000
    for _ in range(asked):
        bench.ask(honest)
    assert asked * (honest.cost + AWAY) / (bench.clock.seconds() - began) >= 0.7
    assert len(bench.served) > 2 * asked * 1.01  # and the others aren't stopped


def test_nobody_waits_while_an_address_asks_alone(bench: Bench) -> None:
    """Large things have all of the time when nobody else asks, and soon after somebody has."""
    honest, attack = bench.peer("honest", cost=0.00003), bench.peer("attack", cost=0.005)
    attack.arrive(1_000_000)
    for _ in range(100):
        bench.ask(honest)
    bench.away(0.1)
    before, began = len(bench.served), bench.clock.seconds()
    for _ in range(100):
        bench.turn()
    assert (len(bench.served) - before) * attack.cost == pytest.approx(bench.clock.seconds() - began, rel=0.05)


def test_a_burst_after_others_have_gone(bench: Bench) -> None:
    """Who asks much when the others have just gone isn't served for longer at once than ever."""
    first, later = bench.peer("first"), bench.peer("later", cost=0.002)
    for peer in (first, bench.peer("second"), first):
        peer.arrive(1)
    bench.away(0.05)
    later.arrive(2000)
    assert bench.served.count("later") <= AT_ONCE / later.cost + 1


def test_what_is_read_is_charged(bench: Bench) -> None:
    """A peer whose bytes cost time before they are boxes is left waiting, and read from again when it is its turn."""
    honest, attack = bench.peer("honest", cost=0.00003), bench.peer("attack")
    reads = []

    def read() -> str:
        reads.append(bench.clock.seconds())
        bench.clock.rightNow += 0.002  # to decrypt them, as it may be
        return "closed"

    in_turn = bench.turns.reading(attack, read)
    bench.turns.count(attack.origin, BOX)  # for it was accepted
    for _ in range(4000):
        bench.ask(honest)
        if not attack.waits:
            before = len(reads)
            assert in_turn() == ("closed" if len(reads) > before else None)
    assert 0.1 < 20 * 0.002 / (reads[-1] - reads[-21]) < 0.3  # at first nobody has been judged yet


def test_boxes_that_take_seconds_count(bench: Bench) -> None:
    """Between two boxes that take two seconds each others are served for a second at the least."""
    slow, other = bench.peer("slow", cost=2.0), bench.peer("b", cost=0.001)
    for peer in (slow, other):
        peer.arrive(10_000)
    while bench.served.count("slow") < 5:
        bench.turn()
    between = "".join(name[0] for name in bench.served).split("s")[2:5]
    assert min(map(len, between)) >= 900


def test_one_box_at_a_time_counts_too(bench: Bench) -> None:
    """Forty connections of one address that each send the next box when one was served get no more than one share."""
    many = [bench.peer(f"a{number}", cost=SLICE * 0.9, origin="192.0.2.1") for number in range(40)]
    other = bench.peer("b", cost=SLICE * 0.9, origin="192.0.2.2")
    for peer in [*many, other]:
        peer.arrive(1000)
    for _ in range(600):
        for peer in many:
            if not peer.waits:
                peer.arrive(1)
        bench.turn()
        for peer in many:
            peer.boxes = min(peer.boxes, 1)
    assert Counter(bench.served)["b"] >= 250


seconds = st.sampled_from([0.0, SHORT / 10, SHORT, 2 * SHORT, ASKS / 2, ASKS, 2 * ASKS])


@given(st.lists(st.tuples(st.sampled_from("ab"), seconds, seconds), max_size=40))
def test_what_is_short_is_counted_without_a_call(asked: list[tuple[str, float, float]]) -> None:
    """Where `serve` spares the call that counts a short box, the same is known afterwards as by that call."""
    found = []
    for short in (SHORT, 0.0):
        bench = Bench()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(serving_turns, "SHORT", short)
            for name, cost, away in asked:
                bench.peer(name, cost=cost).arrive(1)
                bench.away(away)
                shares = bench.turns._shares
                found.append((short, bench.turns.contended, shares.last, shares.last_at, bench.turns.debt(name)))
    assert [known for short, *known in found if short] == [known for short, *known in found if not short]
