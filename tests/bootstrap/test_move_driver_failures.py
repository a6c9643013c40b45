"""A move whose shards, or whose state on the disk, fail is tried again, or cancelled; nothing is done twice."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import pytest
from bootstrap.asked_shards import EVEN, A, Bench
from deferreds import change_state
from model.cluster_state.states import STATE
from twisted.internet.defer import Deferred

from pyshard.bootstrap import state_changes
from pyshard.bootstrap.state_stores.memory_state_store import SwapFault
from pyshard.errors import BadRequest, ConfigError
from pyshard.model import shard_map
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import check_readable, to_json
from pyshard.model.range_moves import MOST_SEALS, SEALED_AGAIN, SEALED_AT_MOST, Phase, SourceReport, StoreId
from pyshard.model.range_plan import Transfer
from pyshard.protocol.move_reports import MoveReports
from pyshard.settings import settings


@pytest.fixture
def bench() -> Bench:
    """With the move planned."""
    made = Bench()
    made.plan()
    return made


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
        bench.pass_time(SEALED_AGAIN - 0.2)
        assert bench.phase() is Phase.COPYING
        while attempt == 1 and bench.phase() is Phase.COPYING:
            bench.pass_time(0.01)


def test_slots_that_a_target_keeps_closed(bench: Bench) -> None:
    """They are open most of the time; at last the move is cancelled, and they stay so."""
    bench.pass_time()
    bench.target = EVEN
    closed = [0.0]
    while bench.phase() is not Phase.CANCELLED:
        bench.pass_time(0.1)
        if bench.phase() is Phase.SEALING:
            closed[-1] += 0.1
        elif closed[-1]:
            closed.append(0.0)
    assert len(closed) == MOST_SEALS + 1
    assert max(closed) < SEALED_AT_MOST + 0.2
    assert sum(closed) < bench.clock.seconds() / 8
    bench.pass_time(60)
    assert bench.phase() is Phase.CANCELLED


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

    def check(state: ClusterState, readable: ClusterState | None) -> None:
        if b'"committed"' in to_json(state):
            raise BadRequest("the cluster state has 5,000,000 bytes")
        check_readable(state, readable)

    monkeypatch.setattr(state_changes, "check_readable", check)
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
