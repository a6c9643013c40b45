"""A state store that others change is watched: by its hints, and by reading now and then."""

from __future__ import annotations

from math import inf

import pytest
from bootstrap.states import STATE
from bootstrap.test_state_changes import Keeper
from deferreds import result
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock

from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.bootstrap.state_stores.state_store import Revision, StoredState
from pyshard.bootstrap.state_watch import EVERY, SOON, TROUBLED, StateWatch
from pyshard.errors import Unavailable
from pyshard.model.cluster_state import ClusterState


class CountedStore(MemoryStateStore):
    """Counts what it is asked.

    :ivar broken: whether each watch ends at once.
    """

    broken = False
    gets = waits = 0

    def get(self, end: float = inf) -> Deferred[StoredState | None]:
        self.gets += 1
        return super().get(end)

    def wait(self, after: Revision) -> Deferred[None]:
        self.waits += 1
        if self.broken:
            return fail(Unavailable("no watch"))
        return super().wait(after)


class Bench:
    """One process that watches, and another one that changes."""

    def __init__(self, state: ClusterState | None = STATE) -> None:
        self.clock = Clock()
        self.store = CountedStore(state)
        self.one = Keeper(self.store, self.clock, "a", fresh=True)
        self.other = Keeper(self.store, self.clock, "b")
        self.watch = StateWatch(self.store, self.one.changes, self.clock, lambda: STATE)

    def pass_time(self, seconds: float) -> None:
        self.clock.pump([0.01] * round(seconds / 0.01))

    def change(self, name: str) -> None:
        result(self.other.changes.change(lambda state: state.with_index(name)))


@pytest.fixture
def bench() -> Bench:
    """It watches."""
    made = Bench()
    made.watch.startService()
    return made


def test_a_hint_is_followed(bench: Bench) -> None:
    """What another one has changed is known at once, again and again."""
    assert bench.one.heard == [STATE]
    for number in range(5):
        bench.change(f"index{number}")
        bench.pass_time(SOON + 0.02)
        assert bench.one.changes.state == bench.other.changes.state
    assert bench.store.gets <= 7


def test_without_hints_it_is_read_now_and_then(bench: Bench) -> None:
    """A watch that tells of nothing delays, and no more."""
    bench.store.deaf = True
    for name in ("a", "b"):
        bench.change(name)
        bench.pass_time(6)
        assert bench.one.changes.state == bench.other.changes.state


def test_a_broken_watch_costs_little(bench: Bench) -> None:
    """It is begun anew with a read, not all the time."""
    bench.store.broken = True
    bench.change("a")
    bench.pass_time(10 * EVERY)
    assert bench.store.gets <= 25
    assert bench.store.waits <= 15
    bench.store.broken = False
    bench.pass_time(2 * EVERY)
    bench.change("b")
    bench.pass_time(SOON + 0.02)
    assert bench.one.changes.state == bench.other.changes.state


def test_own_changes_do_not_blind_it(bench: Bench) -> None:
    """The hint of one's own change is followed by a watch for the next ones."""
    result(bench.one.changes.change(lambda state: state.with_index("mine")))
    bench.pass_time(SOON + 0.02)
    bench.change("theirs")
    bench.pass_time(SOON + 0.02)
    assert bench.one.changes.state == bench.other.changes.state


def test_the_store_is_away_at_the_start() -> None:
    """It is asked again until it is there; then there is a state."""
    made = Bench(None)
    made.store.away = Unavailable("nobody answers")
    made.watch.startService()
    made.pass_time(10 * TROUBLED)
    assert made.one.heard == []
    assert 8 <= made.store.gets <= 12
    made.store.away = None
    made.pass_time(TROUBLED)
    assert made.one.heard == made.store.swaps == [STATE]


def test_the_store_is_away_for_a_while(bench: Bench) -> None:
    """What was changed meanwhile is known soon after."""
    bench.store.away = Unavailable("nobody answers")
    bench.pass_time(EVERY)
    bench.store.away = None
    bench.change("a")
    bench.pass_time(TROUBLED)
    assert bench.one.changes.state == bench.other.changes.state


def test_stop(bench: Bench) -> None:
    """Nothing is left behind."""
    bench.watch.stopService()
    assert bench.clock.getDelayedCalls() == []
    bench.change("a")
    bench.pass_time(EVERY)
    assert bench.one.changes.state == STATE
    assert bench.clock.getDelayedCalls() == []
