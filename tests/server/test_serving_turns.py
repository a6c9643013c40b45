"""Turns: who is served at once and who waits, with numbers for the time that boxes take."""

from __future__ import annotations

from collections import Counter

import pytest
from twisted.internet.task import Clock

from pyshard.security.tokens_and_roles import Role
from pyshard.server.serving_turns import ServingTurns
from pyshard.settings import settings

AT_ONCE, SLICE = settings.SERVED_AT_ONCE, settings.SERVED_SLICE
STRANGERS = settings.STRANGERS_SERVED
AWAY = 0.00007  # seconds for which whoever asks one thing at a time isn't there
BOX = STRANGERS / 10  # seconds that a box takes where nothing else is said


class Bench:
    """Turns, by a clock that goes on while boxes are served; and who was served, in order."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.number = 0  # of the reactor's turn
        self.turns: ServingTurns[Connection] = ServingTurns(self.clock, lambda: self.number)
        self.served: list[str] = []

    def peer(self, name: str, boxes: int = 0, cost: float = BOX, **more: object) -> Connection:
        """A connection over which so many boxes have come, each of which takes `cost` seconds."""
        return Connection(self, name, boxes, cost, **more)  # type: ignore[arg-type]  # what the tests give

    def ask(self, peer: Connection) -> None:
        """Have a peer ask one thing, and think about the answer for `AWAY`, while the daemon goes on."""
        asked = self.clock.seconds()
        peer.arrive(1)
        while peer.served_at <= asked:
            self.turn()
        self.away(AWAY, peer.served_at)

    def away(self, seconds: float, since: float | None = None) -> None:
        """Let some time go by in which nothing comes."""
        end = (self.clock.seconds() if since is None else since) + seconds
        while self.clock.calls and min(call.getTime() for call in self.clock.calls) <= end > self.clock.seconds():
            self.turn()
        self.clock.rightNow = max(end, self.clock.seconds())
        self.number += 1

    def turn(self) -> list[str]:
        """Who is served in the reactor's next turn."""
        before = len(self.served)
        self.number += 1
        if self.clock.calls and (wait := min(call.getTime() for call in self.clock.calls) - self.clock.seconds()) > 0:
            self.clock.rightNow += wait  # nothing else comes meanwhile
        due = [call for call in self.clock.calls if call.getTime() <= self.clock.seconds()]
        for call in due:
            function = call.func
            call.cancel()
            function()
        return self.served[before:]


class Connection:
    """A connection as `ServingTurns` sees it."""

    def __init__(
        self, bench: Bench, name: str, boxes: int, cost: float, origin: str | None = None, role: Role | None = Role.READ
    ) -> None:
        self.bench, self.name, self.boxes, self.cost = bench, name, boxes, cost
        self.origin, self.role = origin or name, role
        self.costs: list[float] = []  # of its next boxes, one after the other, again and again
        self.waits = False
        self.heard = self.served_at = 0.0

    @property
    def has_unserved(self) -> bool:
        return not self.waits and self.boxes > 0

    def arrive(self, boxes: int = 0) -> None:
        """Have so many more boxes come."""
        self.boxes += boxes
        if not self.waits:
            self.heard = self.bench.clock.seconds()
            self.bench.turns.serve(self)

    def serve_next(self) -> bool:
        if self.waits or not self.boxes:
            return False
        self.boxes -= 1
        self.bench.served.append(self.name)
        self.bench.clock.rightNow += self.costs[self.boxes % len(self.costs)] if self.costs else self.cost
        self.served_at = self.bench.clock.seconds()
        return True

    def wait_for_turn(self) -> None:
        self.waits = True

    def wait_unread(self) -> None:
        self.waits = True

    def take_turn(self) -> None:
        self.waits = False
        self.arrive()


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
    peers = [bench.peer(f"a{number}") for number in range(20)]
    for peer in peers:
        peer.cost = AT_ONCE * 0.45 / 20
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
    """Of those that always wait, who sends like boxes gets as much of the time, and who sends longer ones a fifth."""
    for name, cost in (("a", 0.0001), ("b", 0.0001), ("c", 0.0004)):
        bench.peer(name, cost=cost).arrive(100_000)
    before = Counter(bench.served)
    for _ in range(3000):
        bench.turn()
    count = Counter(bench.served) - before
    assert count["a"] / count["b"] == pytest.approx(1, rel=0.1)
    assert 0.0004 * count["c"] / (0.0001 * (count["a"] + count["b"])) == pytest.approx(1 / 4, rel=0.2)


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
