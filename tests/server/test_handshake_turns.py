"""Handshakes of TLS beside known clients: they share a bounded part of the time, and newcomers get in."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from server.turns_bench import Bench, Connection

from pyshard.server.handshake_turns import HandshakeTurns

STEP = 0.002  # seconds that a step of a handshake takes


class Newcomer(Connection):
    """A connection whose handshake takes some steps, each of them a read."""

    def __init__(self, bench: Bench, name: str, steps: int, origin: str | None = None) -> None:
        super().__init__(bench, name, 0, 0.0, origin, None)
        self.handshaking = True
        self.steps = steps
        self.lost = 0.0  # seconds for which others have the processor in a step
        self.read = bench.turns.reading(self, self._step)

    def _step(self) -> None:
        self.bench.clock.rightNow += STEP + self.lost
        self.bench.taken += self.lost
        self.bench.served.append(self.name)
        self.steps -= 1
        self.handshaking = self.steps > 0

    def take_turn(self) -> None:
        self.waits = False  # it is read when the reactor polls


class Daemon(Bench):
    """Turns, in each of which all newcomers are read that have sent something and don't wait."""

    def __init__(self) -> None:
        super().__init__()
        self.newcomers: list[Newcomer] = []

    def newcomer(self, name: str, steps: int = 2, origin: str | None = None) -> Newcomer:
        self.newcomers.append(Newcomer(self, name, steps, origin))
        return self.newcomers[-1]

    def turn(self) -> list[str]:
        before = len(self.served)
        super().turn()
        self.poll()
        return self.served[before:]

    def away(self, seconds: float, since: float | None = None) -> None:
        super().away(seconds, since)
        self.poll()

    def poll(self) -> None:
        """Read what newcomers have sent."""
        for newcomer in self.newcomers:
            if newcomer.steps and not newcomer.waits:
                newcomer.read()
        self.newcomers = [newcomer for newcomer in self.newcomers if newcomer.steps]


@pytest.fixture
def daemon() -> Daemon:
    """A daemon."""
    return Daemon()


def flood(daemon: Daemon, addresses: int) -> None:
    """Have each address shake hands all the time."""
    known = Counter(newcomer.origin for newcomer in daemon.newcomers)
    for number in range(addresses):
        if not known[f"attack{number}"]:
            daemon.newcomer(f"attack{number}")


@pytest.mark.parametrize("addresses", [1, 24, 200])
def test_known_clients_keep_most_of_the_time(daemon: Daemon, addresses: int) -> None:
    """However many addresses shake hands, they have about a fifth of the time beside a busy client, and not none."""
    honest = daemon.peer("honest", cost=0.00003)
    for _ in range(2000):
        daemon.ask(honest)
    longest, steps, began = 0.0, 0, 0.0
    flood(daemon, addresses)
    for asked in range(4000):
        if asked == 2000:
            began, steps = daemon.clock.seconds(), steps_of(daemon)
        before = daemon.clock.seconds()
        daemon.ask(honest)
        longest = max(longest, daemon.clock.seconds() - before)
        flood(daemon, addresses)
    taken = (steps_of(daemon) - steps) * STEP / (daemon.clock.seconds() - began)
    assert 0.1 < taken < 0.3
    assert longest < 3 * STEP


def steps_of(daemon: Daemon) -> int:
    """How many steps of handshakes an attack has had."""
    return sum(name.startswith("attack") for name in daemon.served)


def test_few_in_a_turn(daemon: Daemon) -> None:
    """No more than one step of 2 ms is begun in a turn while others ask, and none behind long boxes."""
    daemon.peer("honest", cost=0.00003).arrive(1)
    daemon.peer("other", cost=0.00003).arrive(1)
    flood(daemon, 200)
    turns = [len(daemon.turn()) for _ in range(100)]
    assert max(turns) == 1
    assert sum(turns) > 20


@pytest.mark.parametrize("origin", ["newcomer", "attack3"])
def test_a_newcomer_gets_in(daemon: Daemon, origin: str) -> None:
    """A handshake beside those of 100 addresses is complete within a tenth of a second; one of theirs in its turn."""
    honest = daemon.peer("honest", cost=0.00003)
    for _ in range(2000):
        daemon.ask(honest)
        flood(daemon, 100)
    began, newcomer = daemon.clock.seconds(), daemon.newcomer("newcomer", origin=origin)
    while newcomer.handshaking:
        daemon.ask(honest)
        flood(daemon, 100)
    assert daemon.clock.seconds() - began < (0.1 if origin == "newcomer" else 5.0)


def test_all_of_the_time_while_nobody_asks(daemon: Daemon) -> None:
    """A thousand handshakes at once take as long as they take, when nobody else is there."""
    daemon.peer("honest").arrive(1)
    for number in range(1000):
        daemon.newcomer(f"newcomer{number}")
    turns = 0
    while daemon.newcomers:
        daemon.turn()
        turns += 1
    assert turns <= 2200
    assert daemon.clock.seconds() < 2000 * STEP * 1.1


def test_who_has_hung_up_isnt_called(daemon: Daemon) -> None:
    """A handshake whose peer has gone while it waited takes no time."""
    honest = daemon.peer("honest", cost=0.00003)
    flood(daemon, 100)
    for _ in range(10):
        daemon.ask(honest)
    waiting = [newcomer for newcomer in daemon.newcomers if newcomer.waits]
    assert len(waiting) > 50
    for newcomer in waiting:
        newcomer.peer_has_ended = True
    before = Counter(daemon.served)
    for _ in range(5000):
        daemon.ask(honest)
    assert all(newcomer.was_ended for newcomer in waiting)
    assert all(daemon.served.count(newcomer.name) == before[newcomer.name] for newcomer in waiting)


def test_a_step_that_lost_the_processor(daemon: Daemon) -> None:
    """A step counts as three times its work at the most: on a busy machine newcomers would wait for seconds."""
    counted = list[float]()
    count = daemon.turns._handshakes.count

    def noted(connection: Connection, used: float, now: float, turn: int) -> None:
        counted.append(used)
        count(connection, used, now, turn)

    daemon.turns._handshakes.count = noted  # type: ignore[method-assign]  # to see it
    for lost in (0.0, STEP, 0.2):
        newcomer = daemon.newcomer(f"newcomer{lost}", steps=1)
        newcomer.lost = lost
        newcomer.read()
    assert counted == pytest.approx([STEP, 2 * STEP, 3 * STEP])


def test_long_reads_count_in_a_turn(daemon: Daemon) -> None:
    """Reads that are known to take long are begun for 2 ms of a turn, from however many addresses."""
    honest = daemon.peer("honest", cost=0.00003)
    reads = list[int]()
    peers = [daemon.peer(f"peer{number}") for number in range(24)]

    def read() -> None:
        daemon.clock.rightNow += STEP
        reads[-1] += 1

    in_turn = [daemon.turns.reading(peer, read) for peer in peers]
    for peer in peers:  # for it was accepted
        daemon.turns.count(peer.origin, 0.0001)
    for _ in range(50):
        daemon.ask(honest)
        reads.append(0)
        for peer, its in zip(peers, in_turn, strict=True):
            if not peer.waits:
                its()
    assert sum(reads) > 24
    assert max(reads[5:]) <= 2


# -- by themselves --------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), max_size=40))
def test_each_that_waits_is_called_once(steps: list[tuple[int, bool]]) -> None:
    """In whatever order they come and end, none that waits is left out, and none is called that doesn't."""
    daemon = Daemon()
    turns: HandshakeTurns[Connection] = HandshakeTurns(0.02)
    waiting, made = list[Connection](), 0
    for number, comes in steps:
        if comes:
            made += 1
            waiting.append(Connection(daemon, f"c{made}", 0, 0.0, f"origin{number}"))
            turns.wait(waiting[-1])
        elif waiting:
            turns.forget(waiting.pop(number % len(waiting)))
        assert bool(turns) is bool(waiting)
    while (called := turns.call(0.0, 1)) is not None:
        waiting.remove(called)
        others = Connection(daemon, "other", 0, 0.0)
        assert not turns.may_go_on(others, 0.0, 1, False)
        assert turns.may_go_on(called, 0.0, 1, True)
    assert not waiting
    assert not turns
