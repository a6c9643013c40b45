"""Moves go on as their shards say, and as the state is saved."""

from __future__ import annotations

import attrs
import pytest
from bootstrap.asked_shards import EVEN, A, B, Bench, Says
from deferreds import change_state
from twisted.internet.defer import Deferred

from pyshard.bootstrap.move_driver import MoveDriver
from pyshard.model.key_slots import SLOTS
from pyshard.model.range_moves import Phase, SourceReport, TargetReport
from pyshard.model.range_plan import Transfer
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import MapShard
from pyshard.protocol.move_reports import MoveReports


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


def behind_a_cancelled_move() -> Bench:
    """A cancelled move from low to high, and behind it one from low to third; nobody is asked yet."""
    bench = Bench()
    bench.driver.stopService()
    third = MapShard("third", (), 1 << 30, "third.example", 5050)
    change_state(bench.bootstrap, bench.bootstrap.state.with_shards([third], [], []))
    planned = [Transfer("low", name, ranges) for name, ranges in (("high", ((0, 100),)), ("third", ((100, 200),)))]
    change_state(bench.bootstrap, bench.bootstrap.state.with_moves(planned))
    first = bench.bootstrap.state.moves[0].begun(A, B).cancelled("why")
    change_state(bench.bootstrap, bench.bootstrap.state.with_move(first))
    return bench


@pytest.mark.parametrize("gone", [None, EVEN])
def test_behind_a_target_that_is_never_done(gone: TargetReport | None) -> None:
    """A cancelled move whose target is away, or keeps something, holds up neither its source nor what comes behind."""
    bench = behind_a_cancelled_move()
    low = {1: SourceReport(A), 2: SourceReport(A)}
    shards = {"low": Says(MoveReports(low, {})), "third": Says(MoveReports({}, {2: EVEN}))}
    shards["high"] = Says(MoveReports({}, {} if gone is None else {1: gone}))
    driver = MoveDriver(bench.bootstrap, bench.clock, lambda name: shards[name])
    driver.startService()
    bench.pass_time(1)
    assert bench.bootstrap.state.moves[1].phase is Phase.PLANNED
    low[1] = SourceReport(A, clean=True)
    bench.pass_time(1)
    assert [move.phase for move in bench.bootstrap.state.moves] == [Phase.CANCELLED, Phase.SEALING]


def test_done_with_a_cancelled_move_under_one_ballot() -> None:
    """What a shard's primary has said of it counts for its next primary no more."""
    bench = behind_a_cancelled_move()
    low, takes = {1: SourceReport(A, clean=True), 2: SourceReport(A)}, dict[int, TargetReport]()
    shards = {
        "low": Says(MoveReports(low, {})),
        "high": Says(MoveReports()),
        "third": Says(MoveReports({}, takes)),
    }
    driver = MoveDriver(bench.bootstrap, bench.clock, lambda name: shards[name])
    driver.startService()
    bench.pass_time(1)
    low[1], takes[2] = SourceReport(A), EVEN
    group = new_group([MapReplica("127.0.0.1", 5050, A), MapReplica("127.0.0.1", 6050)])
    change_state(bench.bootstrap, bench.bootstrap.state.with_group("low", group))
    bench.pass_time(1)
    assert [move.phase for move in bench.bootstrap.state.moves] == [Phase.CANCELLED, Phase.PLANNED]
    low[1] = SourceReport(A, clean=True)
    bench.pass_time(1)
    assert [move.phase for move in bench.bootstrap.state.moves] == [Phase.CANCELLED, Phase.SEALING]


def test_many_moves() -> None:
    """A few are asked about at a time; one that is sealed, for which clients wait, in each turn."""
    bench = Bench()
    bench.driver.stopService()
    more = [MapShard(f"m{number}", (), 1 << 30, f"m{number}.example", 5050) for number in range(100)]
    change_state(bench.bootstrap, bench.bootstrap.state.with_shards(more, [], []))
    planned = [Transfer("low", shard.name, ((number, number + 1),)) for number, shard in enumerate(more)]
    state = bench.bootstrap.state.with_moves(planned)
    for move in state.moves:
        state = state.with_move(move.begun(A, B))
    change_state(bench.bootstrap, state.with_move(state.moves[50].sealing()))
    asked: list[str] = []

    def find(name: str) -> Says:
        asked.append(name)
        return Says(MoveReports())

    driver = MoveDriver(bench.bootstrap, bench.clock, find)
    driver.startService()
    for _ in range(10):
        asked.clear()
        bench.clock.advance(0.05)
        assert len(asked) <= 2 * 2 * 10
        assert "m50" in asked
    bench.pass_time(0.6)
    assert {shard.name for shard in more} <= set(asked)


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


def test_led_by_others_while_the_shards_are_asked(bench: Bench) -> None:
    """What a shard says counts under the ballot alone under which it was asked, also of a move that isn't begun."""
    bench.waiting = Deferred()
    bench.pass_time()
    group = new_group([MapReplica("127.0.0.1", 5050, A), MapReplica("127.0.0.1", 6050)])
    change_state(bench.bootstrap, bench.bootstrap.state.with_group("low", group))
    waiting, bench.waiting = bench.waiting, None
    waiting.callback(MoveReports({}, {1: EVEN}))
    assert bench.phase() is Phase.PLANNED
    bench.pass_time()
    assert bench.phase() is Phase.COPYING


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


def test_operators_see_how_far_it_is(bench: Bench) -> None:
    """What the target says, since when it goes on, how long its slots were sealed, and for a while that it is done."""
    (listed,) = bench.driver.listed()
    assert (listed.number, listed.source, listed.target, listed.phase) == (1, "low", "high", Phase.PLANNED)
    assert listed.ranges == [(0.0, 1e-05)]
    bench.target = TargetReport(
        B, copies=1, documents=3, size=300, expected=900, rate=50.0, refetched=2, error="it is slow", stalled=7.0
    )
    bench.pass_time(0.2)
    (listed,) = bench.driver.listed()
    assert (listed.copies, listed.documents, listed.size, listed.expected) == (1, 3, 300, 900)
    assert (listed.refetched, listed.stalled) == (2, 7.0)
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
