"""Over which connections moves are brought on, and when these go first."""

from __future__ import annotations

import attrs
import pytest
from shard.states import HALF, STATE

from pyshard.model.range_moves import Phase, RangeMove, StoreId
from pyshard.protocol.store_ranges import Origin, Seal, Staging, StoreRanges
from pyshard.shard.assignment import Assignment
from pyshard.shard.move_carriers import HELD, Going, MoveCarriers, going, going_of

PLANNED = RangeMove(1, "low", "high", ((0, 9),))
COPYING = PLANNED.begun(StoreId("1d", "a"), StoreId("2e", "b"))
SEALING = COPYING.sealing()
NAME = frozenset({"move 1"})
FREE = StoreRanges(((0, HALF),))
SEALED = StoreRanges(((0, HALF),), {}, (), {"move 1": Seal(((0, 9),), 1)})
STAGED = StoreRanges((), {"move 1": Staging(((0, 9),), Origin("1d", "a", 5), 1)})


@pytest.mark.parametrize(
    ("shard", "move", "ranges", "under_way", "closing"),
    [
        ("low", PLANNED, FREE, False, False),
        ("low", COPYING, FREE, True, False),
        ("high", COPYING, STAGED, True, False),
        ("low", SEALING, FREE, True, True),
        ("low", SEALING, SEALED, True, True),
        ("high", SEALING, STAGED, True, True),
        ("other", SEALING, FREE, False, False),
        ("low", SEALING.unsealed("late"), SEALED, True, True),
        ("low", SEALING.cancelled("no"), SEALED, True, True),
        ("low", SEALING.cancelled("no"), FREE, False, False),
        ("high", SEALING.cancelled("no"), STAGED, False, False),
        ("low", SEALING.committed(), SEALED, True, True),
        ("low", SEALING.committed(), StoreRanges(((9, HALF),), {}, ((0, 9),)), False, False),
        ("high", SEALING.committed(), STAGED, True, True),
        ("high", SEALING.committed(), StoreRanges(((0, 9),)), False, False),
        ("high", SEALING.committed(), StoreRanges(()), False, False),  # it moved on
    ],
)
def test_which_moves_go_on(shard: str, move: RangeMove, ranges: StoreRanges, under_way: bool, closing: bool) -> None:
    """Those that were begun, until they are decided and their slots are open again."""
    wanted = Going(NAME if under_way else frozenset(), NAME if closing else frozenset())
    assert going(shard, (move,), ranges) == wanted
    assert Phase.PLANNED is not move.phase or not under_way
    told = Assignment(shard, attrs.evolve(STATE, moves=(move,), next_move=2))
    assert going_of(told, ranges) == wanted
    assert going_of(None, ranges) == Going()


class Connection:
    """A connection, and how often it was brought forward."""

    def __init__(self) -> None:
        self.moves = False
        self.forward = 0

    def bring_forward(self) -> None:
        self.forward += 1


class Bench:
    """Carriers, and the moves that they are told of."""

    def __init__(self) -> None:
        self.found, self.now, self.holds = Going(), 10.0, list[float]()
        self.carriers = MoveCarriers(lambda: self.found, lambda: self.now)
        self.carriers.hold = self.holds.append

    def set(self, under_way: frozenset[str] = frozenset(), closing: frozenset[str] = frozenset()) -> None:
        """Have these moves go on."""
        self.found = Going(under_way, closing)
        self.carriers.update()


def test_who_asks_goes_first_while_a_move_is_under_way() -> None:
    """A bootstrap's connection does, from when it asks until the move is over; without moves it doesn't."""
    bench, bootstrap = Bench(), Connection()
    bench.carriers.asks(bootstrap)
    assert not bootstrap.moves
    bench.set(NAME)
    assert (bootstrap.moves, bootstrap.forward) == (True, 1)
    bench.set(NAME, NAME)
    assert (bootstrap.moves, bootstrap.forward) == (True, 1)
    bench.set()
    assert not bootstrap.moves
    bench.set(NAME)
    bench.carriers.forget(bootstrap)
    bench.set(NAME)
    assert not bootstrap.moves
    bench.carriers.asks(bootstrap)
    assert bootstrap.moves


def test_who_follows_goes_first_while_slots_are_closed() -> None:
    """It doesn't while it copies, nor does who follows something else, or was there before."""
    bench, target, replica, older = Bench(), Connection(), Connection(), Connection()
    bench.set(NAME)
    bench.carriers.follows(older, "move 1")
    bench.carriers.follows(target, "move 1")
    bench.carriers.follows(replica, "another")
    assert not target.moves
    bench.set(NAME, NAME)
    assert (target.moves, older.moves, replica.moves, target.forward) == (True, False, False, 1)
    bench.carriers.follows(older, "move 1")  # it comes later by now
    assert (target.moves, older.moves) == (False, True)
    bench.set()
    assert not older.moves
    bench.set(NAME, NAME)
    assert not older.moves


def test_what_takes_long_is_held_while_slots_close() -> None:
    """For a bounded time at once, and then not again for some times as long, however often slots are closed."""
    bench = Bench()
    bench.set(NAME)
    assert bench.holds == []
    bench.set(NAME, NAME)
    bench.set(NAME, NAME)
    assert bench.holds == [HELD]
    bench.set(NAME)
    assert bench.holds == [HELD, 0]
    bench.now += 4.9 * HELD
    bench.set(NAME, NAME)
    bench.set()
    assert bench.holds == [HELD, 0, 0]
    bench.now += 0.2 * HELD
    bench.set(NAME, NAME)
    assert bench.holds == [HELD, 0, 0, HELD]
