"""Moves go on as their shards say, and as the state is saved."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from deferreds import change_state
from model.cluster_state.states import STATE
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from pyshard.bootstrap import move_driver, state_changes
from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.move_driver import MoveDriver
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore, SwapFault
from pyshard.errors import BadRequest, ConfigError
from pyshard.model import shard_map
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import from_json
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import SEALED_AT_MOST, Phase, SourceReport, StoreId, TargetReport
from pyshard.model.range_plan import Transfer
from pyshard.model.shard_map import MapShard
from pyshard.protocol.move_reports import MoveReports
from pyshard.settings import settings

A, B = StoreId("1d", "a"), StoreId("2e", "b")
EVEN = TargetReport(B, complete=True)
TRANSFER = Transfer("low", "high", ((0, 100),))


@attrs.frozen
class AskedShard:
    """One shard of the bench."""

    bench: Bench
    name: str

    def ask_moves(self) -> Deferred[MoveReports | None]:
        """What it says."""
        return self.bench.ask(self.name)

    def settle(self) -> Deferred[None]:
        """It is told half a second later."""
        told: Deferred[None] = Deferred()
        self.bench.clock.callLater(0.5, told.callback, None)
        return told


class Bench:
    """A bootstrap with one move, and what its shards say.

    :ivar source: what `low` says of it; None: it can't be asked.
    :ivar target: what `high` says.
    :ivar waiting: the answer of the shard that is slow; None: that isn't slow.
    """

    def __init__(self) -> None:
        self.clock = Clock()
        self.asked: list[str] = []
        self.number = 1
        self.source: SourceReport | None = SourceReport(A)
        self.target: TargetReport | None = TargetReport(B)
        self.waiting: Deferred[MoveReports | None] | None = None
        self.slow = "high"
        self.store = MemoryStateStore(STATE)
        self.saved = self.store.swaps
        self.bootstrap = Bootstrap(self.store, self.clock, "b1", self.store.stored)
        self.driver = MoveDriver(self.bootstrap, self.clock, lambda name: AskedShard(self, name))
        self.driver.startService()

    def ask(self, name: str) -> Deferred[MoveReports | None]:
        """What a shard says."""
        self.asked.append(name)
        if self.waiting is not None and name == self.slow:
            return self.waiting
        if name == "low":
            return succeed(None if self.source is None else MoveReports({self.number: self.source}, {}))
        return succeed(None if self.target is None else MoveReports({}, {self.number: self.target}))

    def plan(self) -> None:
        """Have the move planned."""
        change_state(self.bootstrap, self.bootstrap.state.with_moves([TRANSFER]))

    def pass_time(self, seconds: float = 0.06) -> None:
        """Let questions be asked."""
        for _ in range(round(seconds / 0.01)):
            self.clock.advance(0.01)

    def phase(self) -> Phase | None:
        """That of the move; None: there is none."""
        moves = self.bootstrap.state.moves
        return moves[0].phase if moves else None


@pytest.fixture
def bench() -> Bench:
    """With the move planned."""
    made = Bench()
    made.plan()
    return made


def test_nobody_is_asked_without_moves() -> None:
    """As long as nothing moves, there is nothing to ask."""
    idle = Bench()
    idle.pass_time(10)
    assert idle.asked == []
    assert idle.clock.getDelayedCalls() == []


def test_from_plan_to_done(bench: Bench) -> None:
    """Each step is saved; when both sides are clean, the move is forgotten, and nobody is asked any more."""
    bench.pass_time()
    assert bench.phase() is Phase.COPYING
    bench.pass_time(5)
    assert bench.phase() is Phase.COPYING
    bench.target = EVEN
    bench.pass_time()
    assert bench.phase() is Phase.SEALING
    bench.target = attrs.evolve(EVEN, sealed=1)
    bench.pass_time()
    assert bench.phase() is Phase.COMMITTED
    bench.pass_time(5)
    assert bench.phase() is Phase.COMMITTED
    bench.source, bench.target = SourceReport(A, clean=True), attrs.evolve(EVEN, clean=True)
    bench.pass_time()
    assert bench.phase() is None
    assert [state.order for state in bench.saved] == [(7, 1), (7, 2), (7, 3), (8, 0), (8, 1)]
    assert bench.saved[-1] == bench.bootstrap.state
    bench.asked.clear()
    bench.pass_time(5)
    assert bench.asked == []


def test_a_seal_is_taken_back_in_time(bench: Bench) -> None:
    """Each attempt has its own time."""
    bench.pass_time()
    bench.target = EVEN
    bench.pass_time(0.05)
    for attempt in (1, 2):
        assert (bench.phase(), bench.bootstrap.state.moves[0].attempt) == (Phase.SEALING, attempt)
        bench.pass_time(SEALED_AT_MOST - 0.05)
        assert bench.phase() is Phase.SEALING
        bench.pass_time(0.1)
        assert bench.phase() is Phase.COPYING
        assert "within 2 s" in bench.bootstrap.state.moves[0].why
        bench.pass_time(0.05)


def test_who_does_not_answer_holds_up_its_move(bench: Bench) -> None:
    """And nobody is asked twice at once."""
    bench.waiting = Deferred()
    bench.pass_time(5)
    assert bench.asked == ["low", "high"]
    assert bench.phase() is Phase.PLANNED
    waiting, bench.waiting = bench.waiting, None
    waiting.callback(None)
    bench.pass_time(0.06)
    assert bench.phase() is Phase.COPYING


def test_a_target_that_is_lost_once_it_was_ready(bench: Bench) -> None:
    """What it said while its source was still to answer doesn't count: a range isn't given to an empty store."""
    bench.pass_time()
    bench.target = EVEN
    bench.pass_time()
    assert bench.phase() is Phase.SEALING
    bench.slow, bench.waiting, bench.target = "low", Deferred(), attrs.evolve(EVEN, sealed=1)
    bench.pass_time(0.2)
    _replaced(bench)
    waiting, bench.waiting = bench.waiting, None
    waiting.callback(MoveReports({1: SourceReport(A)}, {}))
    assert bench.phase() is Phase.CANCELLED


@attrs.frozen
class Says:
    """A shard that says one thing of moves, or nothing for now."""

    reports: MoveReports | None

    def ask_moves(self) -> Deferred[MoveReports | None]:
        """What it says."""
        return Deferred() if self.reports is None else succeed(self.reports)

    def settle(self) -> Deferred[None]:
        """It has the state."""
        return succeed(None)


def test_moves_do_not_wait_for_each_other() -> None:
    """A shard that doesn't answer holds up its own move alone."""
    bench = Bench()
    bench.driver.stopService()
    more = [MapShard(name, (), 1 << 30, f"{name}.example", 5050) for name in ("more", "most")]
    change_state(bench.bootstrap, bench.bootstrap.state.with_shards(more, [], []))
    planned = [Transfer("low", "more", ((0, 100),)), Transfer("high", "most", ((SLOTS - 1, SLOTS),))]
    change_state(bench.bootstrap, bench.bootstrap.state.with_moves(planned))
    shards = {
        "low": Says(None),
        "more": Says(MoveReports()),
        "high": Says(MoveReports({2: SourceReport(A)}, {})),
        "most": Says(MoveReports({}, {2: EVEN})),
    }
    driver = MoveDriver(bench.bootstrap, bench.clock, shards.get)
    driver.startService()
    bench.pass_time(1)
    assert [move.phase for move in bench.bootstrap.state.moves] == [Phase.PLANNED, Phase.SEALING]


def test_what_can_not_be_saved_has_not_happened(bench: Bench) -> None:
    """The state stays, and the step is tried again."""
    bench.store.away = ConfigError("no room")
    bench.pass_time(1)
    assert bench.phase() is Phase.PLANNED
    bench.store.away = None
    bench.pass_time(0.1)
    assert bench.phase() is Phase.COPYING


@pytest.mark.parametrize("settled", [True, False])
def test_what_may_be_saved_has_not_happened_either(bench: Bench, settled: bool) -> None:
    """A commit of which nobody knows whether it was saved takes no effect, and neither does a seal's end.

    It is tried again until it is saved, or something else is in its place.
    """
    bench.pass_time()
    bench.target = EVEN
    bench.pass_time()
    assert bench.phase() is Phase.SEALING
    bench.store.fault = lambda _: SwapFault.LOST
    bench.target = attrs.evolve(EVEN, sealed=1)
    bench.pass_time(1)
    assert (bench.phase(), bench.bootstrap.state.epoch) == (Phase.SEALING, STATE.epoch)
    bench.target = None if not settled else bench.target
    bench.pass_time(SEALED_AT_MOST)
    assert bench.phase() is Phase.SEALING
    bench.store.fault = lambda _: None
    bench.pass_time(0.3)
    assert bench.phase() is (Phase.COMMITTED if settled else Phase.COPYING)
    assert bench.saved[-1] == bench.bootstrap.state


def test_a_target_that_is_empty_by_now(bench: Bench) -> None:
    """What it said of itself before it had another store isn't committed, though the source's answer comes later."""
    bench.pass_time()
    bench.target = EVEN
    bench.pass_time()
    assert bench.phase() is Phase.SEALING
    bench.target = attrs.evolve(EVEN, sealed=1)
    bench.slow, bench.waiting = "low", Deferred()
    bench.pass_time()
    change_state(bench.bootstrap, bench.bootstrap.state.with_identity("high", "3f", durable=False))
    waiting, bench.waiting = bench.waiting, None
    waiting.callback(MoveReports({1: SourceReport(A)}, {}))
    assert bench.phase() is Phase.CANCELLED
    assert "shard 'high'" in bench.bootstrap.state.moves[0].why


def test_cancelled_while_the_shards_are_asked(bench: Bench) -> None:
    """An answer to a question about a move that has changed meanwhile changes nothing."""
    bench.pass_time()
    bench.waiting = Deferred()
    bench.pass_time()
    state = bench.bootstrap.state
    change_state(bench.bootstrap, state.with_move(state.moves[0].cancelled("the operator said so")))
    waiting, bench.waiting = bench.waiting, None
    waiting.callback(MoveReports({}, {1: EVEN}))
    assert bench.phase() is Phase.CANCELLED


def test_stopped(bench: Bench) -> None:
    """A bootstrap that stops leaves moves as they are; the next one goes on."""
    bench.pass_time()
    bench.driver.stopService()
    bench.target = EVEN
    bench.pass_time(1)
    assert bench.phase() is Phase.COPYING
    assert bench.clock.getDelayedCalls() == []
    bench.driver.startService()
    bench.pass_time()
    assert bench.phase() is Phase.SEALING


def _lost(bench: Bench) -> None:
    bench.source = SourceReport(StoreId("1d", "other"))


def _replaced(bench: Bench) -> None:
    bench.target = attrs.evolve(EVEN, store=StoreId("3f", "c"), sealed=1)


@pytest.mark.parametrize("loss", [_lost, _replaced])
def test_a_store_that_is_another_one(bench: Bench, loss: Callable[[Bench], None]) -> None:
    """It ends the move, sealed or not."""
    bench.pass_time()
    bench.target = EVEN
    bench.pass_time()
    assert bench.phase() is Phase.SEALING
    loss(bench)
    bench.pass_time()
    assert bench.phase() is Phase.CANCELLED


def test_a_map_that_can_not_be(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A move that would give a shard too many ranges is cancelled; its source isn't left sealed."""
    pieces = tuple((number, number + 1) for number in range(0, 40, 2))
    change_state(bench.bootstrap, bench.bootstrap.state.without_move(1).with_moves([Transfer("low", "high", pieces)]))
    monkeypatch.setattr(shard_map, "settings", attrs.evolve(settings, MAX_SHARD_RANGES=20))
    bench.number = 2
    bench.pass_time()
    bench.target = attrs.evolve(EVEN, sealed=1)
    bench.pass_time(0.2)
    assert bench.phase() is Phase.CANCELLED
    assert "ranges: found 21" in bench.bootstrap.state.moves[0].why


def test_no_room_in_the_state_after_the_commit(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A commit that nobody could read is never saved, so the move is cancelled; its source isn't left sealed."""

    def read(text: bytes) -> ClusterState:
        if b'"committed"' in text:
            raise BadRequest("the cluster state has 5,000,000 bytes")
        return from_json(text)

    for module in (state_changes, move_driver):
        monkeypatch.setattr(module, "from_json", read)
    bench.pass_time()
    bench.target = EVEN
    bench.pass_time()
    assert bench.phase() is Phase.SEALING
    bench.target = attrs.evolve(EVEN, sealed=1)
    bench.pass_time()
    assert bench.phase() is Phase.CANCELLED
    assert bench.bootstrap.state.moves[0].why == "the cluster state has 5,000,000 bytes"
    assert bench.bootstrap.state.map == STATE.map


def test_few_lines(bench: Bench, log_lines: list[str]) -> None:
    """What can't be saved for minutes is in the log a few times, not twenty times a second."""
    bench.store.away = ConfigError("no room")
    bench.pass_time(120)
    waits = [line for line in log_lines if "move 1 waits: no room" in line]
    assert 1 <= len(waits) <= 70
    assert "such lines before were left out" in waits[-1]


def test_operators_see_how_far_it_is(bench: Bench) -> None:
    """What the target says, since when it goes on, how long its slots were sealed, and for a while that it is done."""
    (listed,) = bench.driver.listed()
    assert (listed.number, listed.source, listed.target, listed.phase) == (1, "low", "high", Phase.PLANNED)
    assert listed.ranges == [(0.0, 1e-05)]
    bench.target = TargetReport(
        B, copies=1, documents=3, size=300, expected=900, rate=50.0, refetched=2, error="it is slow"
    )
    bench.pass_time(0.2)
    (listed,) = bench.driver.listed()
    assert (listed.copies, listed.documents, listed.size, listed.expected) == (1, 3, 300, 900)
    assert listed.refetched == 2
    assert (listed.rate, listed.error, listed.seconds_behind, listed.pause) == (50.0, "it is slow", None, None)
    bench.target = EVEN
    bench.pass_time(0.1)
    bench.target = attrs.evolve(EVEN, sealed=1)
    bench.pass_time(0.2)
    assert bench.driver.listed()[0].phase is Phase.COMMITTED
    bench.pass_time(0.5)
    (listed,) = bench.driver.listed()
    assert listed.pause == pytest.approx(0.55, abs=0.06)
    assert not listed.over
    bench.source, bench.target = SourceReport(A, clean=True), attrs.evolve(EVEN, clean=True)
    bench.pass_time(0.1)
    (listed,) = bench.driver.listed()
    assert listed.over
    assert 0.8 < listed.seconds < 1.2
    bench.pass_time(1)
    assert bench.driver.listed() == [listed]


def test_paused(bench: Bench) -> None:
    """A move that is paused is neither begun nor sealed; it goes on when it is told to."""
    bench.driver.change_move(1, "pause")
    bench.pass_time(1)
    assert bench.phase() is Phase.PLANNED
    bench.driver.change_move(1, "resume")
    bench.pass_time()
    assert bench.phase() is Phase.COPYING
    bench.driver.change_move(1, "pause")
    bench.target = EVEN
    bench.pass_time(1)
    assert bench.phase() is Phase.COPYING
    assert bench.driver.listed()[0].paused
    bench.driver.change_move(1, "cancel")
    assert bench.phase() is Phase.CANCELLED
    assert not bench.driver.listed()[0].paused
