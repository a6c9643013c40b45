"""Turns: who is served at once and who waits, with numbers for the time that boxes take."""

from __future__ import annotations

from collections import Counter

import pytest
from server.turns_bench import BOX, Bench, Connection

from pyshard.security.tokens_and_roles import Role
from pyshard.settings import settings

AT_ONCE, SLICE = settings.SERVED_AT_ONCE, settings.SERVED_SLICE
STRANGERS = settings.STRANGERS_SERVED


@pytest.fixture
def bench() -> Bench:
    """Turns by a clock of their own."""
    return Bench()


def test_a_small_box_is_served_at_once(bench: Bench) -> None:
    """On a daemon with little to do a box is served when it comes, a stranger's too, and nothing is left to do."""
    for peer in (bench.peer("a"), bench.peer("s", role=None)):
        peer.arrive(1)
        assert (bench.served.pop(), peer.waits) == (peer.name, False)
    assert bench.clock.getDelayedCalls() == []


def test_one_long_box_is_served_to_its_end(bench: Bench) -> None:
    """A box is never cut; whoever sent just this one doesn't wait for a turn."""
    peer = bench.peer("a", cost=10 * AT_ONCE)
    peer.arrive(1)
    assert bench.served == ["a"]
    assert not peer.waits


def test_a_burst_waits(bench: Bench) -> None:
    """Of many boxes some are served at once, and the rest in later turns, which end by themselves."""
    peer = bench.peer("a")
    peer.arrive(3000)
    assert len(bench.served) == pytest.approx(AT_ONCE / BOX, abs=2)
    assert peer.waits
    turns = []
    while peer.boxes:
        turns.append(len(bench.turn()))
    assert max(turns) <= SLICE / BOX + 1
    assert bench.turn() == []
    assert bench.clock.getDelayedCalls() == []


def test_those_that_ask_one_thing_at_a_time_seldom_wait(bench: Bench) -> None:
    """What many peers ask in one turn is served at once, turn for turn, if it takes less than half of what may be."""
    peers = [bench.peer(f"a{number}", cost=AT_ONCE * 0.45 / 80) for number in range(80)]
    for _ in range(50):
        for peer in peers:
            peer.arrive(1)
            assert not peer.boxes
        bench.turn()


def test_those_that_ask_one_thing_at_a_time_share_a_turn(bench: Bench) -> None:
    """While each that waits has just one box, many are served in one turn; not while one has a slice more."""
    bench.peer("busy").arrive(3000)
    many = [bench.peer(f"a{number}", origin=f"192.0.2.{number}") for number in range(100)]
    for peer in many:
        peer.arrive(1)
    served = bench.turn()
    assert len([name for name in served if name != "busy"]) == 100
    assert len(served) <= 100 + SLICE / BOX + 1
    for _ in range(10):
        assert len(bench.turn()) <= SLICE / BOX + 1


def test_all_that_come_in_one_turn_share_what_is_served_at_once(bench: Bench) -> None:
    """Forty peers can't have the reactor stay away for forty times as long."""
    peers = [bench.peer(f"a{number}") for number in range(40)]
    for peer in peers:
        peer.arrive(3000)
    assert len(bench.served) == pytest.approx(AT_ONCE / BOX, abs=2)
    assert all(peer.waits for peer in peers)


@pytest.mark.parametrize(("attackers", "same_address"), [(1, False), (40, False), (1000, False), (1, True), (40, True)])
def test_an_honest_peer_beside_many(bench: Bench, attackers: int, same_address: bool) -> None:
    """Who asks now and then waits for a slice, and not for all that others have sent."""
    for number in range(attackers):
        bench.peer(f"a{number}", origin="192.0.2.1").arrive(10_000)
    for _ in range(100):
        bench.turn()
    honest = bench.peer("honest", origin="192.0.2.1" if same_address else "192.0.2.2")
    for _ in range(20):
        began, before = bench.clock.seconds(), len(bench.served)
        honest.arrive(1)
        bench.turn()
        assert bench.served[before:].index("honest") <= SLICE / BOX + 1
        assert bench.clock.seconds() - began <= SLICE + STRANGERS + 0.001


def test_the_rest_is_shared(bench: Bench) -> None:
    """Of those that always wait, who sends like boxes gets as much of the time, and who sends longer ones a fourth."""
    for name, cost in (("a", 0.0001), ("b", 0.0001), ("c", 0.0004)):
        bench.peer(name, cost=cost).arrive(100_000)
    before = Counter(bench.served)
    for _ in range(3000):
        bench.turn()
    count = Counter(bench.served) - before
    assert count["a"] / count["b"] == pytest.approx(1, rel=0.1)
    assert 0.0004 * count["c"] / (0.0001 * (count["a"] + count["b"])) == pytest.approx(0.3, rel=0.2)


def test_strangers_come_behind(bench: Bench) -> None:
    """Of each turn strangers get a small part, after those that have a role; it is never nothing."""
    strangers = [bench.peer(f"s{number}", role=None) for number in range(200)]
    for peer in [*strangers, bench.peer("a")]:
        peer.arrive(1000)
    bench.turn()
    for _ in range(20):
        served = bench.turn()
        first_stranger = next(at for at, name in enumerate(served) if name != "a")
        assert set(served[first_stranger:]).isdisjoint({"a"})
        assert 1 <= len(served) - first_stranger <= STRANGERS / BOX + 2


def test_a_stranger_that_waits_holds_up_nobody(bench: Bench) -> None:
    """Boxes of peers with a role are served at once, however many strangers wait."""
    for number in range(200):
        bench.peer(f"s{number}", role=None).arrive(1000)
    peer = bench.peer("a")
    peer.arrive(1)
    assert (bench.served[-1], peer.waits) == ("a", False)


def test_a_stranger_that_authenticates(bench: Bench) -> None:
    """What it sent behind its token is served as that of a peer with a role."""
    peer = bench.peer("s", role=None)
    peer.arrive(1000)
    peer.role = Role.READ
    while peer.boxes:
        assert bench.turn()
    assert not peer.waits


def test_a_stranger_that_waits_in_both_lines(bench: Bench) -> None:
    """One whose role changes while it waits, and that waits again, holds up nobody."""
    peer, other = bench.peer("s", role=None), bench.peer("a", cost=0.001)
    peer.arrive(1000)
    peer.role, peer.boxes = Role.READ, 1  # so it is done in the first line, and comes in the other one
    bench.turns._wait_in_line(peer)
    other.arrive(200)
    for _ in range(2000):
        bench.turn()
    assert peer.boxes == other.boxes == 0


def test_who_has_gone_is_not_served(bench: Bench) -> None:
    """A connection that ends while it waits is forgotten, and the others go on."""
    gone, stays = bench.peer("gone"), bench.peer("stays")
    for peer in (gone, stays):
        peer.arrive(200)
    bench.turns.forget(gone)
    left = gone.boxes
    while stays.boxes:
        bench.turn()
    assert gone.boxes == left


@pytest.mark.parametrize("jump", [86_400, -86_400])
def test_a_clock_that_is_set(bench: Bench, jump: float) -> None:
    """When the clock jumps while a box is served nobody pays for more than a second, and nobody stops."""
    peer, other = bench.peer("a"), bench.peer("b")
    for one in (peer, other):
        one.arrive(500)
    peer.cost = jump
    bench.turn()
    for call in bench.clock.calls:
        call.reset(0)
    peer.cost = 0.0001
    for _ in range(100):
        bench.turn()
    assert peer.boxes == other.boxes == 0


def test_replicas_wait_for_nobody(bench: Bench) -> None:
    """What a replica of the shard asks is served at once, beside whatever others ask, and counts for nobody."""
    honest, attack, replica = (
        bench.peer("honest", cost=0.00003),
        bench.peer("attack", cost=0.005),
        bench.peer("replica"),
    )
    replica.origin, replica.replicates, replica.cost = attack.origin, True, 0.02
    attack.arrive(1000)
    for _ in range(100):
        bench.ask(honest)
        replica.arrive(1)
        assert (replica.boxes, bench.served[-1]) == (0, "replica")
    assert bench.served.count("attack") > 10
    reads: list[str] = []
    debt = bench.turns.debt(replica.origin)

    def step() -> None:
        reads.append("replica")
        bench.clock.rightNow += 0.001

    read, write = (kind(replica, step) for kind in (bench.turns.reading, bench.turns.writing))
    attack.arrive(1)
    read()
    write()
    assert reads == ["replica"] * 2
    assert replica.account == ""
    assert bench.turns.debt(replica.origin) <= debt


def test_a_large_box_of_a_replica(bench: Bench) -> None:
    """No question is so large, so it is read in its turn, as that of anybody else."""
    replica = bench.peer("replica")
    replica.replicates, replica.size = True, 65_536
    read = bench.turns.reading(replica, lambda: None)
    for boxes, first in ((0, True), (1, True), (2, False), (0, False)):
        replica.boxes = boxes
        read()
        assert replica.replicates is first


def test_a_replica_that_asks_too_often(bench: Bench) -> None:
    """What it asks from then on waits for its turn, also of what has come already."""
    honest, flood = bench.peer("honest", cost=0.00003), Flood(bench, "flood", 0, 0.001)
    for _ in range(50):
        bench.ask(honest)
        bench.ask(bench.peer("other", cost=0.00003))
    flood.replicates = True
    flood.arrive(1000)
    assert not flood.replicates
    assert Flood.FIRST <= bench.served.count("flood") < 100
    began = bench.clock.seconds()
    for _ in range(100):
        bench.ask(honest)
    assert bench.clock.seconds() - began < 0.5
    assert bench.served.count("flood") > Flood.FIRST


class Flood(Connection):
    """A connection whose questions go first so many times."""

    FIRST = 10

    def serve_next(self) -> bool:
        more = super().serve_next()
        self.replicates = self.replicates and self.bench.served.count("flood") < self.FIRST
        return more
