"""For whom alone of its members a primary waits long, again and again. Pure, but for a line in the log.

A member that asks just in time is never silent, and yet each change waits for it. So it is measured for how long groups
lack the word of one member alone, though all the others have them.

Rules:

- a member is *slow* that in two periods, one behind the other, was waited for alone for a tenth of the time, and long
  each time: a moment of such a wait lies in one of a tenth of a lease, on the average. Many short waits are no reason:
  under load somebody is always last;
- and nine tenths of the time in which anything waited it was this one alone: where others take nearly as long, they all
  have much to do;
- who was removed for that is a learner for a while (`pyshard.replication.member_rests`).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable

import attrs
from twisted.logger import Logger

from pyshard.replication.member_rests import MemberRests

_log = Logger()

_PERIODS = 10  # times as long as a lease a period is
_PART = 0.1  # of a period
_LONG = 0.1  # of a lease
_ALONE = 0.9  # of the time in which anything waits


@attrs.define
class _Waits:
    """Those of one period.

    :ivar any: seconds in which anything waited.
    :ivar alone: by address: seconds of waits for it alone.
    :ivar squares: by address: the sum of the squares of these waits.
    """

    began: float
    any: float = 0.0
    alone: defaultdict[str, float] = attrs.field(factory=lambda: defaultdict(float))
    squares: defaultdict[str, float] = attrs.field(factory=lambda: defaultdict(float))

    def add(self, address: str, seconds: float) -> None:
        """Note that a wait for one alone has ended."""
        self.alone[address] += seconds
        self.squares[address] += seconds * seconds

    def slow(self, now: float, lease: float) -> str | None:
        """Who was slow in it."""
        for address, seconds in self.alone.items():
            often = seconds >= _PART * (now - self.began) and seconds >= _ALONE * self.any
            if often and self.squares[address] >= _LONG * lease * seconds:
                return address
        return None


class LoneWaits:
    """The waits of one primary. All times are in seconds of one clock.

    :ivar slow: the address of the member that is slow; None: none is.
    :ivar rests: of those that were removed.
    """

    def __init__(self) -> None:
        self.slow: str | None = None
        self.rests = MemberRests()
        self._lease = 0.0
        self._waits = _Waits(0.0)
        self._before: str | None = None  # who was slow in the period before
        self._noted = 0.0
        self._pending = False
        self._alone: str | None = None  # for whom all others wait
        self._has = 0  # what who has least had when that began
        self._since = 0.0
        self._ends = 0.0  # when the period does

    def begin(self, others: Collection[str], lease: float, now: float) -> None:
        """A term begins.

        :param others: the addresses of the other members.
        """
        self.rests.begin(others, self.slow, now)
        self.slow = self._before = self._alone = None
        self._lease, self._noted, self._pending, self._waits = lease, now, False, _Waits(now)
        self._ends = now + _PERIODS * lease

    def note(self, now: float, safe: int, confirmed: Iterable[tuple[str, int]]) -> None:
        """Note who has what now. A primary does so with each question of a member, so it is quick.

        :param safe: the number of the last group that is safe on this side.
        :param confirmed: address, and what it has, of each without whose word nothing is committed.
        """
        least, next_least, last = safe, safe, None
        for address, has in confirmed:
            if has < least:
                least, next_least, last = has, least, address
            elif has < next_least:
                next_least = has
        if self._pending:
            self._waits.any += now - self._noted
        self._pending, self._noted = least < safe, now
        alone = last if least < next_least else None
        if alone != self._alone or least != self._has:
            if self._alone is not None:
                self._waits.add(self._alone, now - self._since)
            self._alone, self._has, self._since = alone, least, now
        if now >= self._ends:
            self._end_period(now)

    def _end_period(self, now: float) -> None:
        found, known = self._waits.slow(now, self._lease), self.slow
        self.slow = found if found == self._before else None
        if self.slow is not None and self.slow != known:
            _log.warn("changes wait long for {replica} alone, which all others have at once", replica=self.slow)
        self._before, self._waits = found, _Waits(now)
        self._ends = now + _PERIODS * self._lease
