"""A shard has one move at a time, but isn't kept by what another one has left of a cancelled move."""

from __future__ import annotations

import pytest

from pyshard.model.move_order import HasLeft, next_in_line
from pyshard.model.range_moves import RangeMove, StoreId

A, B = StoreId("a", "1"), StoreId("b", "1")
FIRST = RangeMove(1, "a", "b", ((0, 1),)).begun(A, B)
WAITS, BEHIND = RangeMove(2, "b", "c", ((1, 2),)), RangeMove(3, "c", "d", ((2, 3),))
FREE, AGAIN = RangeMove(4, "e", "f", ((3, 4),)), RangeMove(5, "f", "e", ((4, 5),))
CANCELLED = FIRST.cancelled("why")


def left(*names: str) -> HasLeft:
    """Whether one of these is asked about."""
    return lambda move, name: move == CANCELLED and name in names


def test_one_move_a_shard() -> None:
    """Moves wait for those before them that have a shard of theirs, also for ones that wait themselves."""
    moves = [FIRST, WAITS, BEHIND, FREE, AGAIN]
    for some in (left("a", "b"), left()):
        assert next_in_line(moves, some) == [FIRST, FREE]
        assert next_in_line(moves[1:], some) == [WAITS, FREE]
        committed = FIRST.sealing().committed()
        assert next_in_line([committed, WAITS], some) == [committed]


@pytest.mark.parametrize(("names", "begins"), [("ab", False), ("b", False), ("a", True), ("", True)])
def test_behind_a_cancelled_move(names: str, begins: bool) -> None:
    """A shard waits while it has something left of it itself."""
    assert next_in_line([CANCELLED, WAITS], left(*names)) == [CANCELLED, *([WAITS] if begins else [])]


def test_none_overtakes_one_that_waits_for_a_cancelled_move() -> None:
    """It begins behind it, as always."""
    assert next_in_line([CANCELLED, WAITS, BEHIND, FREE], left("b")) == [CANCELLED, FREE]
