"""Stores that have greeted are taken up together, and none keeps another one out."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from bootstrap.states import STATE, Log
from deferreds import watch
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.bootstrap.greeted_stores import _MOMENT, _MOST, GreetedStores
from pyshard.bootstrap.state_changes import Change
from pyshard.errors import BadRequest, OutcomeUnknown, PyshardError, Unavailable, WrongIdentity
from pyshard.model.cluster_state import ClusterState


def index(name: str) -> Change:
    """A change that is seen by its name, as that of a store would be."""
    return lambda state: state.with_index(name)


def refused(_: ClusterState) -> ClusterState:
    """A store that may not be taken up."""
    raise WrongIdentity("not this one")


class Bench:
    """A bootstrap whose changes wait until the test lets one be made.

    :ivar busy: whether shards wait to be told.
    """

    def __init__(self) -> None:
        self.log = Log()
        self.clock = self.log.clock
        self.busy = False
        self.waiting: list[tuple[Change, Deferred[None]]] = []
        self.stores = GreetedStores(self.change, lambda: self.busy, self.clock)

    def change(self, decide: Change) -> Deferred[None]:
        """Have it wait."""
        done: Deferred[None] = Deferred()
        self.waiting.append((decide, done))
        return done

    def take_up(self, *changes: Change) -> list[list[BaseException | None]]:
        """What becomes of each."""
        return [watch(self.stores.take_up(change)) for change in changes]

    def make(self, error: PyshardError | None = None) -> set[str]:
        """Have all changes made, or fail that wait now; the names that are new by it."""
        waiting, self.waiting = self.waiting, []
        before = set(self.log.bootstrap.state.indexes)
        for decide, done in waiting:
            if error is None:
                self.log.bootstrap.change(decide).addBoth(done.callback)
            else:
                done.errback(Failure(error))
        return set(self.log.bootstrap.state.indexes) - before


@pytest.fixture
def bench() -> Bench:
    """A bootstrap that knows a state."""
    return Bench()


def test_those_that_come_during_a_change(bench: Bench) -> None:
    """They are taken up with one change, behind that."""
    first, second, third = bench.take_up(index("a"), index("b"), index("c"))
    assert bench.make() == {"a"}
    assert (first, second, third) == ([None], [], [])
    assert bench.make() == {"b", "c"}
    assert (second, third) == ([None], [None])
    assert bench.log.bootstrap.changes.known is not None
    assert len(bench.log.store.swaps) == 2
    assert not bench.waiting
    assert not bench.clock.getDelayedCalls()


def test_most_of_one_change(bench: Bench) -> None:
    """So many are taken up at a time."""
    bench.take_up(*[index(f"i{number}") for number in range(2 * _MOST + 1)])
    assert [len(bench.make()) for _ in range(3)] == [1, _MOST, _MOST]


def test_one_that_may_not(bench: Bench) -> None:
    """It hears so after it was judged by itself; the others are taken up."""
    _, good, bad, last = bench.take_up(index("a"), index("b"), refused, index("c"))
    bench.make()
    assert bench.make() == {"b", "c"}
    assert (good, bad, last) == ([None], [], [None])
    bench.make()
    assert [str(error) for error in bad] == ["not this one"]


def test_one_that_may_by_a_newer_state(bench: Bench) -> None:
    """When the change is made of another state than at first, what counts is that one alone."""
    bench.take_up(index("a"))
    bench.make()
    bench.take_up(index("b"))
    outcomes = bench.take_up(lambda state: state.without_index("c"), index("d"))
    bench.make()
    decide, _ = bench.waiting[0]
    decide(bench.log.bootstrap.state)
    bench.log.bootstrap.change(index("c"))
    assert bench.make() == {"d"}
    assert outcomes == [[None], [None]]
    assert not bench.waiting


@pytest.mark.parametrize("error", [Unavailable("the state store is away"), OutcomeUnknown("who knows?")])
def test_change_that_fails(bench: Bench, error: PyshardError) -> None:
    """All of them hear it; the next one is another change."""
    first, *others = bench.take_up(index("a"), index("b"), index("c"))
    bench.make()
    bench.make(error)
    assert first == [None]
    assert others == [[error], [error]]
    bench.take_up(index("d"))
    assert bench.make() == {"d"}


def test_state_that_nobody_could_read(bench: Bench) -> None:
    """Then each is tried by itself, so that one shard can't keep others out."""
    bench.take_up(index("a"))
    outcomes = bench.take_up(index("b"), index("c"))
    bench.make()
    bench.make(BadRequest("it can't be read"))
    assert outcomes == [[], []]
    assert len(bench.waiting) == 2
    assert bench.make() == {"b", "c"}
    assert outcomes == [[None], [None]]


def wait(bench: Bench) -> None:
    """A moment passes."""
    bench.clock.advance(_MOMENT)


def told(bench: Bench) -> None:
    """All shards were told."""
    bench.busy = False
    bench.stores.go_on()


@pytest.mark.parametrize("end", [wait, told])
def test_while_shards_are_told(bench: Bench, end: Callable[[Bench], None]) -> None:
    """The next ones wait until all shards were told the last state, or for a moment."""
    bench.busy = True
    bench.take_up(index("a"))
    bench.make()
    for name in "bcd":
        bench.take_up(index(name))
        bench.clock.advance(_MOMENT / 10)
    assert not bench.waiting
    end(bench)
    assert bench.make() == {"b", "c", "d"}
    assert not bench.clock.getDelayedCalls()


def test_after_a_moment(bench: Bench) -> None:
    """One that comes later is taken up at once, though shards wait still."""
    bench.busy = True
    bench.take_up(index("a"))
    bench.make()
    bench.clock.advance(_MOMENT)
    bench.take_up(index("b"))
    assert bench.make() == {"b"}


def test_one_that_is_given_up(bench: Bench) -> None:
    """It isn't taken up any more, unless that is under way; nobody is told of it twice."""
    bench.busy = True
    under_way = bench.stores.take_up(index("a"))
    given_up = bench.stores.take_up(index("b"))
    found = [watch(under_way), watch(given_up)]
    given_up.cancel()
    under_way.cancel()
    assert bench.make() == {"a"}
    assert [len(outcomes) for outcomes in found] == [1, 1]
    waiting = bench.stores.take_up(index("c"))
    watch(waiting)
    waiting.cancel()
    assert not bench.clock.getDelayedCalls()
    wait(bench)
    assert not bench.waiting
    assert "c" not in bench.log.bootstrap.state.indexes
    assert STATE.epoch + 1 == bench.log.bootstrap.state.epoch
