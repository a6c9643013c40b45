"""Which part of a daemon's time others than one address use: those that use less, or ask for smaller things. Pure.

Rules:

- addresses are compared by what they have used of late, and by how long their boxes take;
- the table is made anew every few milliseconds, and the more seldom the more addresses there are: that is cheap then,
  and to look something up in it takes the same short time always;
- an address is none of the others for itself, also where it uses more by now than when the table was made.
"""

from __future__ import annotations

from collections.abc import Collection
from itertools import accumulate
from math import exp, inf, log
from operator import add

#: Seconds in which what was used loses its weight, to a third.
MEMORY = 0.1

_SMALLEST = 0.00002  # seconds of a box; those that take less count as equal
_LEVEL = log(1.25)  # boxes that take a quarter longer are a level higher
_LEVELS = 50
_LEAST = 0.0001  # seconds of late; those that use less count as equal
_ROW = log(2)  # who uses twice as much is a row higher
_ROWS = 12
_FRESH = 0.002  # seconds for which a table does
_FRESH_FOR_EACH = 0.00002  # the same for each address that is in it, if that is longer


class Use:
    """What one address has used, or its connections whose boxes take long, or the others.

    :ivar whole: what the whole address has used. By that it is compared with others.
    :ivar used: the seconds of late, older ones with less weight.
    :ivar squares: the same of the seconds times the length of the box that they were part of.
    :ivar counts: the seconds of late that others leave it time for.
    :ivar at: when that was so.
    """

    __slots__ = ("_counted", "_level", "_row", "at", "counts", "squares", "used", "whole")

    def __init__(self, whole: Use | None = None) -> None:
        self.whole = whole or self
        self.used = self.squares = self.counts = self.at = 0.0
        self._row = self._level = 0  # where it stands in the table
        self._counted = 0.0  # with how many seconds

    def add(self, used: float, boxes: float, counts: float, now: float) -> None:
        """Count seconds that were used.

        :param boxes: of how many boxes; less than 1: of which part of one.
        :param counts: how many of them others leave it time for.
        """
        weight = _weight(self, now)
        self.used = self.used * weight + used
        self.squares = self.squares * weight + used * used / boxes
        self.counts = self.counts * weight + counts
        self.at = now

    @property
    def average(self) -> float:
        """How long its boxes took of late, in seconds: on the average of the time, not of the boxes; 0: it had none."""
        return self.squares / self.used if self.used else 0.0


class UseByOthers:
    """The use of all addresses, by how much each uses and by how long its boxes take."""

    def __init__(self) -> None:
        self._fresh_until = -inf
        self._sums = [[0.0] * _LEVELS] * _ROWS  # of each row and level: the seconds of all up to there

    def is_fresh(self, now: float) -> bool:
        """Whether it does as it is."""
        return now < self._fresh_until <= now + 1.0  # the clock may have been set back

    def note(self, uses: Collection[Use], now: float) -> None:
        """Note what each address uses now."""
        rows: list[list[float] | None] = [None] * _ROWS
        for use in uses:
            use._row, use._level = _row(use.whole, now), level_of(use.average)
            use._counted = use.counts * _weight(use, now)
            row = rows[use._row]
            if row is None:
                row = rows[use._row] = [0.0] * _LEVELS
            row[use._level] += use._counted
        sums, below = [], [0.0] * _LEVELS
        for row in rows:
            if row is not None:
                below = list(map(add, below, accumulate(row)))
            sums.append(below)
        self._sums = sums
        self._fresh_until = now + max(_FRESH, _FRESH_FOR_EACH * len(uses))

    def part(self, use: Use, more: int, level: int) -> float:
        """Which part of the time others use that themselves use no more than so much.

        :param use: of the address that isn't one of them.
        :param more: how many times a factor of two they may use more; less than 0: they must use less.
        :param level: that of their boxes at the most (`level_of`).
        """
        row = min(_row(use.whole, use.at) + more, _ROWS - 1)
        if row < 0 or level < 0:
            return 0.0
        seconds = self._sums[row][min(level, _LEVELS - 1)]
        if use._row <= row and use._level <= level:
            seconds -= use._counted
        return max(0.0, seconds) / MEMORY


#: A level that all boxes are at, or below.
HIGHEST = _LEVELS - 1


def level_of(seconds: float) -> int:
    """The level of boxes that take so long."""
    if seconds <= _SMALLEST:
        return 0
    return min(_LEVELS - 1, int(log(seconds / _SMALLEST) / _LEVEL))


def _row(use: Use, now: float) -> int:
    """The row of an address that has used so much of late."""
    used = use.used * _weight(use, now)
    if used <= _LEAST:
        return 0
    return min(_ROWS - 1, int(log(used / _LEAST) / _ROW))


def _weight(use: Use, now: float) -> float:
    """What is left of the weight of what was used."""
    return exp(min(0.0, use.at - now) / MEMORY)
