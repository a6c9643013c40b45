"""Changes of the state are made one at a time, fairly between those who ask for them."""

from __future__ import annotations

import attrs
import pytest
from deferreds import result, watch
from server.turns_bench import AWAY, Connection, make_due_calls
from server.turns_bench import Bench as ServedTurns
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock, deferLater

from pyshard.bootstrap.change_turns import ChangeTurns
from pyshard.errors import BadRequest, Overloaded, Unavailable
from pyshard.settings import settings

TAKES = 0.01  # seconds of each change
WORKS = 0.001  # seconds of each that the reactor's thread works on it, where that is said


@attrs.define
class Peer:
    """A connection."""

    id: str
    origin: str
    ended: bool = False
    owes: float = 0.0
    counted: float = 0.0

    @property
    def debt(self) -> float:
        return self.owes

    def count_elsewhere(self, used: float) -> None:
        self.counted += used


class Bench:
    """Turns by a clock of their own, and what was done."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.turns = ChangeTurns(self.clock)
        self.done: list[str] = []

    def ask(self, what: str, peer: Peer | None = None) -> Deferred[None]:
        """Have something done, which takes its time."""
        return self.turns.run(lambda: deferLater(self.clock, TAKES, self.done.append, what), peer)

    def pass_turns(self, count: int) -> list[str]:
        """What is done in the time that so many changes take."""
        before = len(self.done)
        self.clock.pump([TAKES] * count)
        return self.done[before:]


@pytest.fixture
def bench() -> Bench:
    """Nothing was asked for yet."""
    return Bench()


def test_whoever_asks_for_many_waits_for_the_others(bench: Bench) -> None:
    """Behind hundreds of changes of one address, over however many connections, another one waits for one of them."""
    for number in range(500):
        bench.ask("flood", Peer(f"c{number % 10}", "192.0.2.1"))
    bench.pass_turns(100)
    for _ in range(5):
        bench.ask("honest", Peer("h", "192.0.2.2"))
        assert "honest" in bench.pass_turns(2)
    assert bench.pass_turns(20) == ["flood"] * 20


def test_connections_of_one_address_have_as_much_as_each_other(bench: Bench) -> None:
    """However many changes one of them has waiting."""
    many, few = Peer("c1", "192.0.2.1"), Peer("c2", "192.0.2.1")
    for _ in range(100):
        bench.ask("many", many)
    bench.pass_turns(10)
    for _ in range(10):
        bench.ask("few", few)
    assert bench.pass_turns(22).count("few") == 10


def test_those_of_one_connection_keep_their_order(bench: Bench) -> None:
    """Each is done when the one before it is."""
    peers = [Peer("c1", "192.0.2.1"), Peer("c2", "192.0.2.2")]
    for number in range(40):
        bench.ask(f"{number % 2}{number:02}", peers[number % 2])
    bench.pass_turns(40)
    for which in "01":
        own = [what for what in bench.done if what[0] == which]
        assert len(own) == 20
        assert own == sorted(own)


def test_the_bootstrap_itself_comes_first(bench: Bench) -> None:
    """Its own changes wait for none but what is under way, and keep their order."""
    for number in range(50):
        bench.ask("peer", Peer(f"c{number}", f"192.0.2.{number}"))
    bench.ask("one")
    bench.ask("two")
    assert bench.pass_turns(4) == ["peer", "one", "two", "peer"]


def test_nothing_more_is_begun_for_who_has_gone(bench: Bench) -> None:
    """What it has asked for is refused when its turn comes; those behind it don't wait for that."""
    gone, stays = Peer("c1", "192.0.2.1"), Peer("c2", "192.0.2.2")
    outcomes = [watch(bench.ask("gone", gone)) for _ in range(3)]
    other = watch(bench.ask("stays", stays))
    gone.ended = True
    assert bench.pass_turns(2) == ["gone", "stays"]
    assert (outcomes[0], other) == ([None], [None])
    assert all(isinstance(outcome[0], Unavailable) for outcome in outcomes[1:])


def test_outcomes() -> None:
    """Whatever it is, it is told, and the next thing begins; what is done at once is done some at a time."""
    clock, order = Clock(), list[int]()
    turns = ChangeTurns(clock)
    with pytest.raises(BadRequest):
        result(turns.run(lambda: fail(BadRequest("no"))))

    def raises() -> Deferred[None]:
        raise BadRequest("never")

    with pytest.raises(BadRequest):
        result(turns.run(raises))
    first: Deferred[None] = Deferred()
    held = watch(turns.run(lambda: first))

    def note(number: int) -> Deferred[int]:
        order.append(number)
        return succeed(number)

    rest = [watch(turns.run(lambda number=number: note(number))) for number in range(5000)]  # type: ignore[misc]
    assert (held, order) == ([], [])
    first.callback(None)
    assert held == [None]
    assert len(order) <= 20
    while len(order) < 5000:
        before = len(order)
        make_due_calls(clock)
        assert before < len(order) <= before + 20
    assert order == list(range(5000))
    assert rest == [[number] for number in range(5000)]


def test_who_asks_for_more_in_an_answer(bench: Bench) -> None:
    """It has its turn, too."""
    asked = bench.ask("first")
    asked.addCallback(lambda _: bench.ask("second"))
    assert bench.pass_turns(3) == ["first", "second"]


def test_so_many_wait(bench: Bench) -> None:
    """One address may have half of what the others leave free, and has room again when some of its own are done."""
    most = settings.MAX_WAITING_CHANGES
    bench.ask("under way")
    outcomes = [watch(bench.ask("flood", Peer(f"c{number % 40}", "192.0.2.1"))) for number in range(most)]
    refused = [outcome for outcome in outcomes if outcome]
    assert len(refused) == most // 2
    assert all(isinstance(outcome[0], Overloaded) for outcome in refused)
    others = [watch(bench.ask("other", Peer("o", "192.0.2.2"))) for _ in range(most)]
    assert [bool(outcome) for outcome in others].count(False) == most // 4
    bench.ask("the bootstrap's own")
    bench.pass_turns(2)
    assert bench.done == ["under way", "the bootstrap's own"]
    bench.pass_turns(most)
    assert bench.done.count("flood") == most // 2
    assert bench.done.count("other") == most // 4
    assert watch(bench.ask("flood", Peer("c1", "192.0.2.1"))) == []


def test_an_address_with_a_debt_waits(bench: Bench) -> None:
    """Its changes wait for the time that it owes, and for no longer; others' and the bootstrap's own go on."""
    busy, other = Peer("c1", "192.0.2.1"), Peer("c2", "192.0.2.2")
    bench.ask("under way")
    bench.ask("busy", busy)
    busy.owes = 5 * TAKES
    assert bench.pass_turns(2) == ["under way"]
    bench.ask("other", other)
    bench.ask("the bootstrap's own")
    assert bench.pass_turns(3) == ["other", "the bootstrap's own"]
    busy.owes = 2 * TAKES  # when it is asked again, once the first debt may be over
    assert bench.pass_turns(6) == []
    busy.owes = 0.0
    assert bench.pass_turns(3) == ["busy"]
    assert bench.clock.getDelayedCalls() == []


def test_debts_of_several_addresses(bench: Bench) -> None:
    """The one that owes least goes first."""
    peers = [Peer(f"c{number}", f"192.0.2.{number}", owes=(number + 1) * 2 * TAKES) for number in range(3)]
    for peer in reversed(peers):
        bench.ask(peer.id, peer)
    for peer in peers:
        (call,) = bench.clock.getDelayedCalls()
        assert call.getTime() - bench.clock.seconds() == pytest.approx(peer.debt)
        peer.owes = 0.0
        bench.clock.advance(call.getTime() - bench.clock.seconds())
        bench.clock.advance(TAKES)
        assert bench.done[-1] == peer.id


def test_what_is_counted(bench: Bench) -> None:
    """All that the reactor's thread works for a change, once, and a bounded part of what it takes beyond that."""
    peer, other = Peer("c1", "192.0.2.1"), Peer("c2", "192.0.2.2")

    def work(seconds: float) -> Deferred[None]:
        bench.clock.rightNow += WORKS
        return deferLater(bench.clock, seconds) if seconds else succeed(None)

    bench.turns.run(lambda: work(0), peer)
    assert peer.counted == 0  # it was served meanwhile, which counts what that takes
    bench.turns.run(lambda: work(10 * TAKES), peer)
    bench.turns.run(lambda: work(0), other)
    assert (peer.counted, other.counted) == (0, 0)
    bench.clock.advance(10 * TAKES)
    assert 0 < peer.counted < TAKES
    assert other.counted == pytest.approx(WORKS)


@attrs.define
class ServedPeer(Peer):
    """A connection of which the daemon's turns know."""

    turns: ServedTurns = attrs.field(factory=ServedTurns)
    connection: Connection = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.connection = self.turns.peer(self.id, origin=self.origin)

    @property
    def debt(self) -> float:
        return self.turns.turns.debt(self.origin)

    def count_elsewhere(self, used: float) -> None:
        self.turns.turns.count_elsewhere(self.connection, used)


@pytest.mark.parametrize("connections", [1, 30])
def test_others_who_ask_for_something_else(connections: int) -> None:
    """Who asks small things all the time keeps most of its rate, over however many connections others make changes."""
    served = ServedTurns()
    turns, reader, made = ChangeTurns(served.clock), served.peer("reader", cost=0.00008), 0

    def work() -> Deferred[None]:
        served.clock.rightNow += 2 * WORKS
        return deferLater(served.clock, WORKS)

    def ask_on(_: object, peer: Peer) -> None:
        nonlocal made
        made += 1
        turns.run(work, peer).addCallback(ask_on, peer)

    for number in range(connections):
        ask_on(None, ServedPeer(f"c{number}", "192.0.2.1", turns=served))
    for _ in range(2000):
        served.ask(reader)
    began, asked, before = served.clock.seconds(), 5000, made
    for _ in range(asked):
        served.ask(reader)
    passed = served.clock.seconds() - began
    assert asked * (reader.cost + AWAY) / passed >= 0.7
    assert (made - before) * 3 * WORKS / passed >= 0.1
