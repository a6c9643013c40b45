"""Which part of the time others use, by value."""

from __future__ import annotations

from math import exp

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.server.use_by_others import HIGHEST, MEMORY, Use, UseByOthers, level_of

SMALL, LARGE = 0.00003, 0.005


def use_of(seconds: float, box: float, at: float = 0.0) -> Use:
    """Of an address that has used so many seconds for boxes that take so long."""
    use = Use()
    use.add(seconds, seconds / box, seconds, at)
    return use


def table_of(*uses: Use, now: float = 0.0) -> UseByOthers:
    """The table of some addresses."""
    table = UseByOthers()
    table.note(uses, now)
    return table


def test_those_who_use_less() -> None:
    """Who uses half of it, or less, is one of them; who uses about as much isn't, nor is the address itself."""
    mine, half, alike = use_of(0.04, SMALL), use_of(0.01, SMALL), use_of(0.035, SMALL)
    assert table_of(mine, half, alike).part(mine, -1, HIGHEST) == pytest.approx(0.01 / MEMORY)
    assert table_of(mine, half, alike).part(half, -1, HIGHEST) == 0


def test_those_who_ask_for_smaller_things() -> None:
    """Their boxes are at the level or below; whoever uses several times as much is none of them."""
    mine, small = use_of(0.04, LARGE), use_of(0.06, SMALL)
    table = table_of(mine, small)
    assert table.part(mine, 1, level_of(LARGE) - 3) == pytest.approx(0.06 / MEMORY)
    assert table.part(mine, 1, level_of(SMALL) - 1) == 0
    little = use_of(0.001, LARGE)
    assert table_of(little, small).part(little, 1, level_of(LARGE) - 3) == 0


def test_nobody_is_one_of_the_others_for_itself() -> None:
    """Nor is it where it has used more since the table was made."""
    mine = use_of(0.001, SMALL)
    table = table_of(mine)
    mine.add(0.09, 1, 0.09, 0.0)
    assert table.part(mine, -1, HIGHEST) == 0


def test_two_accounts_of_one_address_are_compared_as_one() -> None:
    """An address that has large boxes and small ones doesn't seem to use little in each of them."""
    whole = Use()
    whole.add(0.06, 1, 0.0, 0.0)
    small, large, other = Use(whole), Use(whole), use_of(0.01, SMALL)
    small.add(0.02, 1000, 0.02, 0.0)
    large.add(0.04, 10, 0.04, 0.0)
    table = table_of(small, large, other)
    assert table.part(small, -1, HIGHEST) == pytest.approx(0.01 / MEMORY)
    assert table.part(other, -1, HIGHEST) == 0


def test_what_is_older_has_less_weight() -> None:
    """After the time of memory a third is left of it, for those who are compared as for those who compare."""
    mine, other = use_of(0.08, SMALL, MEMORY), use_of(0.03, SMALL)
    assert table_of(mine, other, now=MEMORY).part(mine, -1, HIGHEST) == pytest.approx(0.03 * exp(-1) / MEMORY)


def test_how_long_a_table_does() -> None:
    """Some milliseconds; longer where there are many addresses; and none that was made at a later time does."""
    table = UseByOthers()
    assert not table.is_fresh(0.0)
    table.note([Use()], 1.0)
    assert (table.is_fresh(1.0), table.is_fresh(1.1), table.is_fresh(-100.0)) == (True, False, False)
    table.note([Use() for _ in range(10_000)], 1.0)
    assert table.is_fresh(1.1)


@given(
    st.lists(st.tuples(st.floats(1e-6, 0.2), st.floats(1e-6, 0.5)), min_size=1, max_size=20),
    st.integers(-2, 2),
    st.integers(-1, HIGHEST),
)
def test_like_a_sum_over_all(values: list[tuple[float, float]], more: int, level: int) -> None:
    """What the table says is the sum over all others that one could make each time."""
    uses = [use_of(*value) for value in values]
    mine = uses[0]
    table = table_of(*uses)
    row = mine._row + more
    others = sum(use.counts for use in uses[1:] if use._row <= row and use._level <= level)
    assert table.part(mine, more, level) == pytest.approx(others / MEMORY, abs=1e-9)
