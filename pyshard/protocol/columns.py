"""Columns of runs: what is picked from them, and how many bytes they have. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Sized
from functools import partial
from operator import itemgetter
from typing import TypeVar

from pyshard.compiled import IN_USE, column_leaves

_T = TypeVar("_T")


def total_size_plainly(column: Iterable[Sized | None]) -> int:
    """How many bytes all elements have; None has none."""
    return sum(map(len, filter(None, column)))


def longest_plainly(column: Iterable[Sized]) -> int:
    """How many bytes the longest element has; 0: there is none."""
    return max(map(len, column), default=0)


def picked_plainly(positions: Sequence[int], column: Sequence[_T]) -> list[_T]:
    """A column's elements at some positions. `itemgetter` picks many of them in one call in C.

    :param positions: none below 0.
    """
    if len(positions) < 2:  # for one position it would give no tuple
        return [column[position] for position in positions]
    return list(itemgetter(*positions)(column))


#: How many bytes all elements of a column have; None has none.
total_size: Callable[[Iterable[Sized | None]], int] = column_leaves.total_size if IN_USE else total_size_plainly

#: How many bytes the longest element of a column has; 0: there is none.
longest: Callable[[Iterable[Sized]], int] = column_leaves.longest if IN_USE else longest_plainly

_picked = column_leaves.picked if IN_USE else picked_plainly


def picker(positions: Sequence[int]) -> Callable[[Sequence[_T]], list[_T]]:
    """A function that gives a column's elements at some positions, none of which is below 0."""
    return partial(_picked, positions)
