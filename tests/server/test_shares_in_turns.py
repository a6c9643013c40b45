"""Turns while several addresses ask: what each has of the time, with numbers for the time that boxes take."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from copy import deepcopy

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.turns_bench import AWAY, BOX, Bench, Connection

from pyshard.server.address_time_shares import ASKS, SHORT, AddressShares
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


@pytest.mark.parametrize(("cost", "connections", "pings"), [(0.005, 1, 0), (0.005, 40, 1), (0.0003, 16, 0)])
def test_small_things_beside_large_ones_of_one_address(bench: Bench, cost: float, connections: int, pings: int) -> None:
    """Who asks one small thing at a time is left time by others of its own address that ask large things."""
    honest = bench.peer("honest", cost=0.00003, origin="192.0.2.1")
    for number in range(connections):
        attack = bench.peer(f"a{number}", origin="192.0.2.1")
        attack.costs = [cost, *[0.00002] * pings]
        attack.arrive(1_000_000)
    for _ in range(2000):
        bench.ask(honest)
    began, asked, before = bench.clock.seconds(), 2000, len(bench.served)
    for _ in range(asked):
        bench.ask(honest)
    assert asked * (honest.cost + AWAY) / (bench.clock.seconds() - began) >= 0.7
    assert len(bench.served) - before > asked + 5  # and the others aren't stopped


def test_a_connection_for_each_large_thing(bench: Bench) -> None:
    """Nor does it help to ask each large thing over a new connection, from one address or from the honest one's."""
    for origin in ("192.0.2.1", "192.0.2.2"):
        honest = bench.peer("honest", cost=0.00003, origin="192.0.2.1")
        attacks = [bench.peer("attack", boxes=1, cost=0.005, origin=origin)]
        asked = began = 0.0
        for number in range(4000):
            if number == 2000:
                asked, began = 2000, bench.clock.seconds()
            if not attacks[-1].boxes:
                bench.turns.forget(attacks[-1])
                attacks.append(bench.peer("attack", boxes=1, cost=0.005, origin=origin))
            if not attacks[-1].waits:
                attacks[-1].arrive()
            bench.ask(honest)
        assert asked * (honest.cost + AWAY) / (bench.clock.seconds() - began) >= 0.7
        bench.away(1)


def test_who_lost_the_processor_asks_small_things(bench: Bench) -> None:
    """A small box during which others had the processor isn't taken for a long one."""
    honest = bench.peer("honest", cost=0.00003, origin="192.0.2.1")
    bench.peer("attack", cost=0.005, origin="192.0.2.1").arrive(1_000_000)
    for asked in range(300):
        honest.taken = 0.004 if asked % 10 == 0 else 0.0
        bench.ask(honest)
        assert honest.account == honest.origin
    honest.taken, honest.cost = 0.0, 0.01
    for _ in range(3):
        bench.ask(honest)
    assert honest.account != honest.origin
    honest.cost = 0.00003
    for _ in range(10_000):
        bench.ask(honest)
    assert honest.account == honest.origin


def test_a_new_connection_that_asks_small_things(bench: Bench) -> None:
    """One that was taken for another with large things at first counts as what it is from its first box on."""
    honest, bulk = bench.peer("honest", cost=0.00003), bench.peer("bulk", cost=0.005, origin="192.0.2.1")
    bulk.arrive(1_000_000)
    for _ in range(300):
        bench.ask(honest)
    new = bench.peer("new", cost=0.00003, origin="192.0.2.1")
    new.arrive(1)
    assert new.account != new.origin
    for _ in range(2):
        bench.ask(new)
    assert new.account == new.origin


def test_a_connection_alone_never_waits_for_itself(bench: Bench) -> None:
    """Who asks alone for large things and small ones in turn is nobody else, whatever each counts for."""
    peer = bench.peer("peer", origin="192.0.2.1")
    for cost in [0.00003, 0.005, 0.01, *[0.00003] * 5000, 0.005, *[0.0003] * 200] * 2:
        peer.cost = cost
        bench.ask(peer)
        assert not bench.turns.contended


def test_large_things_beside_few_small_ones_of_one_address(bench: Bench) -> None:
    """A bulk load hardly waits for somebody at its own address who asks now and then."""
    bulk = bench.peer("bulk", cost=0.001, origin="192.0.2.1")
    bulk.arrive(1_000_000)
    app = bench.peer("app", cost=0.00003, origin="192.0.2.1")
    bench.away(1)
    before, began = bench.served.count("bulk"), bench.clock.seconds()
    for _ in range(200):
        bench.ask(app)
        bench.away(0.005)
    busy = (bench.served.count("bulk") - before) * bulk.cost / (bench.clock.seconds() - began)
    assert busy >= 0.8


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


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0.0, SHORT / 10, SHORT, ASKS])), max_size=20),
    st.sampled_from([0.0, SHORT / 10, SHORT * 0.99]),
)
def test_what_is_short_is_counted_without_a_call(before: list[tuple[str, float]], used: float) -> None:
    """Where `serve` spares the call that counts a short box, that call would do no more than `serve` does."""
    shares, now = AddressShares(), 1.0
    for origin, seconds in before:
        now += seconds
        shares.charge(origin, seconds, now, 1)
    now += 2 * ASKS  # nobody else asks any more
    shares.charge(shares.last, 0.0, now, 2)
    assert not shares.contended
    of_accounts = {"last_at", "_accounts", "_use"}
    known = {name: deepcopy(value) for name, value in vars(shares).items() if name not in of_accounts}
    shares.charge(shares.last, used, now + used, 3)
    assert {name: value for name, value in vars(shares).items() if name in known} == known
    assert shares.last_at == now + used

    bench = Bench()
    peer = bench.peer("a", cost=used)
    for _ in range(2):
        peer.arrive(1)
    assert bench.turns._shares.last_at == bench.clock.seconds()


@pytest.mark.parametrize(("addresses", "cost"), [(50, 0.0037), (50, 0.0011), (10, 0.0037)])
def test_large_things_of_many_addresses(bench: Bench, addresses: int, cost: float) -> None:
    """Who asks one small thing waits for a large one or two, not for one of each address that asks for some."""
    honest = bench.peer("honest", cost=0.00003)
    many = [bench.peer(f"a{number}", cost=cost) for number in range(addresses)]
    waits = []
    for asked in range(3000):
        began = bench.clock.seconds()
        for peer in many:  # in each turn all that have been answered ask again, and come first
            if not peer.waits and not peer.boxes:
                peer.arrive(1)
        bench.ask(honest)
        if asked >= 1000:
            waits.append(honest.served_at - began)
    assert sorted(waits)[len(waits) // 2] <= 3 * max(cost, 0.002)
    assert max(waits) <= 0.03


@pytest.mark.parametrize("ends", ["between", "while it is served"])
def test_nothing_is_kept_of_those_who_have_gone(bench: Bench, ends: str) -> None:
    """A connection that has ended is let go, whatever it counted for, and also if it ends while it is served."""
    other, gone = bench.peer("other", cost=0.00002), []
    for _ in range(20):
        peer = bench.peer("peer")
        gone.append(weakref.ref(peer))
        for cost, boxes in [(0.00005, 3)] * 5 + [(0.003, 1)] * 4:
            other.arrive(3)
            bench.away(0.0006)
            peer.cost = cost
            peer.arrive(boxes)
            bench.away(0.0006)
        bench.away(1)
        assert not peer.waits
        bench.turns.forget(peer)
        peer.ended = ends != "between"
        if peer.ended:
            peer.cost = 2 * AT_ONCE
            peer.arrive(1)
        del peer
    gc.collect()
    assert [name for name in map(_alive, gone) if name] == []


def _alive(reference: weakref.ref[Connection]) -> str:
    found = reference()
    return found.name if found is not None else ""
