"""What goes first: for how much of the time, and beside whom. With numbers for the time that boxes take."""

from __future__ import annotations

import pytest
from server.turns_bench import Bench, Connection

from pyshard.server.first_served import AT_ONCE, OF_ONE, SHARE, BoundedPrecedence

LONG = 0.02  # seconds of a box that takes long


@pytest.fixture
def bench() -> Bench:
    """Turns by a clock of their own."""
    return Bench()


def attacked(bench: Bench, origin: str = "192.0.2.1") -> list[Connection]:
    """Connections that have many long boxes, all of which wait, beside somebody who asks for small ones."""
    attackers = [bench.peer(f"attacker{number}", cost=LONG, origin=origin) for number in range(20)]
    for peer in attackers:
        peer.arrive(1000)
    honest = bench.peer("honest", cost=0.00003)
    for _ in range(20):
        bench.ask(honest)
    return attackers


def served(bench: Bench, peer: Connection) -> None:
    """Have all served that came over a connection."""
    while peer.boxes:
        bench.turn()


def test_an_address_has_half_of_what_all_have() -> None:
    """What it doesn't get is there for others, of whom all together have as much at the most."""
    precedence = BoundedPrecedence()
    had = dict.fromkeys("abc", 0.0)
    for origin in had:
        while precedence.has_room(origin, 1.0):
            precedence.add(origin, 0.001, 1.0)
            had[origin] += 0.001
    assert had["a"] == had["b"] == pytest.approx(OF_ONE * AT_ONCE, abs=0.0011)
    assert had["c"] < 0.002
    assert sum(had.values()) == pytest.approx(AT_ONCE, abs=0.0011)


@pytest.mark.parametrize("addresses", [1, 2, 500])
def test_what_they_have_in_the_long_run(addresses: int) -> None:
    """A fifth of the time together, and one address a tenth, however long each thing takes."""
    precedence, now, had = BoundedPrecedence(), 1.0, 0.0
    while now < 21:
        for number in range(addresses):
            if precedence.has_room(str(number), now):
                precedence.add(str(number), 0.03, now)
                had += 0.03
        now += 0.01
    assert had == pytest.approx(20 * SHARE * min(1, addresses * OF_ONE), rel=0.02, abs=2 * AT_ONCE)


def test_what_is_kept_of_addresses() -> None:
    """Nothing of those that have nothing to wait for any more, however many there were."""
    precedence = BoundedPrecedence()
    for number in range(5000):
        precedence.add(str(number), 0.001, number * 0.01)
    assert len(vars(precedence)["_of"]) < 300


@pytest.mark.parametrize("origin", ["192.0.2.1", "192.0.2.2"])
def test_what_brings_on_a_move_goes_first(bench: Bench, origin: str) -> None:
    """It is served at once while many others wait, also those of its own address, which has had much."""
    attacked(bench)
    mover = bench.peer("mover", origin=origin, cost=0.0005)
    mover.moves = True
    for _ in range(50):
        mover.arrive(1)
        assert (mover.boxes, bench.served[-1]) == (0, "mover")
        bench.away(0.02)


def test_it_is_read_at_once(bench: Bench) -> None:
    """Also while nothing is read from other connections of its address."""
    (attacker, *_) = attacked(bench)
    mover = bench.peer("mover", origin=attacker.origin)
    read: list[str] = []
    bench.turns.reading(mover, lambda: read.append("as everybody"))()
    mover.waits = False
    mover.moves = True
    bench.turns.reading(mover, lambda: read.append("first"))()
    assert read == ["first"]


def test_who_floods_has_no_more_than_its_share(bench: Bench) -> None:
    """Whoever goes first and asks for all it can has a tenth of the time so; then it waits as the others do."""
    honest = bench.peer("honest", cost=0.00003)
    flood = [bench.peer(f"flood{number}", cost=0.001, origin="192.0.2.1") for number in range(50)]
    for peer in flood:
        peer.moves = True
        peer.arrive(100_000)
    assert sum(name != "honest" for name in bench.served) == pytest.approx(OF_ONE * AT_ONCE / 0.001, abs=25)
    began, before, asked = bench.clock.seconds(), len(bench.served), 0
    while bench.clock.seconds() < began + 5:
        bench.ask(honest)
        asked += 1
    floods = sum(name != "honest" for name in bench.served[before:])
    assert floods * 0.001 < 0.4 * 5


def test_it_counts_for_its_address(bench: Bench) -> None:
    """What one has had first isn't had besides: it waits so much longer for the rest."""
    attacked(bench, "192.0.2.9")
    debts = []
    for moves in (False, True):
        peer = bench.peer(f"asks {moves}", cost=0.01, origin=f"192.0.2.{int(moves)}")
        peer.moves = moves
        peer.arrive(1)
        while peer.boxes:
            bench.turn()
        debts.append(bench.turns.debt(peer.origin))
    assert debts[1] == pytest.approx(debts[0], rel=0.2)
    assert debts[0] > 0


def test_one_that_waits_is_brought_forward(bench: Bench) -> None:
    """What had come before it was known what it is for is served in the next turn; what has ended isn't."""
    (attacker, *_) = attacked(bench)
    movers = [bench.peer(f"mover{number}", origin=attacker.origin, cost=LONG) for number in range(3)]
    for mover in movers:
        mover.arrive(1)
        mover.boxes = 1  # those that were served at once have one more, which waits
        if not mover.waits:
            mover.wait_for_turn()
            bench.turns._wait_in_line(mover)
    bench.turns.bring_forward(movers[0])  # it doesn't go first
    assert movers[0] in vars(bench.turns)["_in_line"]
    movers[1].moves = movers[2].moves = True
    for mover in movers[1:]:
        bench.turns.bring_forward(mover)
    movers[2].ended = True
    assert [name for name in bench.turn() if "mover" in name] == ["mover1"]


def test_long_boxes_are_held(bench: Bench) -> None:
    """None is begun while they are held, and nothing else waits for that; then they go on, each of them."""
    attackers = attacked(bench)
    fresh, other = bench.peer("fresh", origin="192.0.2.1", cost=LONG), bench.peer("other", cost=0.00003)
    bench.turns.hold_long(0.3)
    until, before = bench.clock.seconds() + 0.3, len(bench.served)
    fresh.arrive(1)
    while bench.clock.seconds() < until - 0.01:
        bench.ask(other)
    assert set(bench.served[before:]) == {"other"}
    for _ in range(2000):
        bench.ask(other)
    assert len(set(bench.served[before:]) - {"other"}) >= 3
    assert sum(peer.boxes for peer in attackers) < 20_000


def test_they_are_held_where_nobody_else_asks(bench: Bench) -> None:
    """Nothing spins meanwhile, and they go on when they are let go before the time is over."""
    attackers = [bench.peer(f"attacker{number}", cost=LONG, origin="192.0.2.1") for number in range(20)]
    for peer in attackers:
        peer.arrive(3)
    for _ in range(20):
        bench.turn()
    bench.turns.hold_long(0.3)
    before, began, turns = len(bench.served), bench.clock.seconds(), 0
    while bench.clock.seconds() < began + 0.2 and turns < 100:
        bench.clock.rightNow += 0.01
        for call in [call for call in bench.clock.calls if call.getTime() <= bench.clock.seconds()]:
            call.reset(0)
            bench.clock.advance(0)
        turns += 1
    assert bench.served[before:] == []
    assert turns < 100
    bench.turns.hold_long(0)
    let_go = bench.clock.seconds()
    assert bench.turn()
    assert bench.clock.seconds() < let_go + 2 * LONG
    while bench.turn():
        pass
    assert sum(peer.boxes for peer in attackers) == 0
    assert bench.clock.getDelayedCalls() == []


def test_a_long_box_that_comes_while_they_are_held(bench: Bench) -> None:
    """It waits, too, also where nobody else does, if it is known to be one."""
    peer = bench.peer("peer", cost=LONG)
    peer.arrive(1)
    bench.peer("other").arrive(1)
    peer.arrive(1)
    served(bench, peer)
    bench.away(1)
    bench.turns.hold_long(0.3)
    peer.arrive(1)
    assert (peer.boxes, peer.waits) == (1, True)
    until = bench.clock.seconds() + 0.29
    served(bench, peer)
    assert bench.clock.seconds() >= until
