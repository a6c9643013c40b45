"""For how long those that left the members of a group are learners, as its primary sees it. Pure.

All changes wait for a member that falls silent, until it is removed. So one that comes and goes would have them wait
again and again.

Rules:

- who has left once may be back at once: it may have been restarted;
- later it is a learner for a while, and for twice as long each time, up to an hour, until it was well for an hour;
- one that was removed for being slow cost more. It is a learner for longer, also the first time;
- a learner that was to join, and had to be removed, has left as well: changes waited for it, too.
"""

from __future__ import annotations

from collections.abc import Collection
from math import inf

import attrs

_REST = 5.0  # seconds, twice as many each time, but for the first time
_SLOW_REST = 60.0  # of one that was slow, also the first time
_LONGEST_REST = 3600.0
_FORGIVEN = 3600.0  # seconds after a rest
_MOST_DOUBLINGS = 20  # a rest is at its longest long before; floats have an end


@attrs.frozen
class _Rest:
    """The last one of a replica.

    :param times: how often it had left before, as far as that makes a rest longer.
    """

    times: int
    began: float
    ends: float


class MemberRests:
    """Those of one group. All times are in seconds of one clock."""

    def __init__(self) -> None:
        self._members: set[str] = set()
        self._missed: set[str] = set()
        self._rests: dict[str, _Rest] = {}

    def begin(self, others: Collection[str], slow: str | None, now: float) -> None:
        """A term begins.

        :param others: the addresses of the other members.
        :param slow: the one of those before for which changes waited long; None: none was.
        """
        for address in (self._members | self._missed).difference(others):
            self._leave(address, address == slow, now)
        self._members, self._missed = set(others), set()

    def miss(self, address: str) -> None:
        """Note that a replica is to be removed, which may be none of the members yet."""
        self._missed.add(address)

    def left(self, address: str, now: float, most: float = inf) -> float:
        """Seconds for which a replica isn't to be a member yet.

        :param most: seconds that a rest may last.
        """
        rest = self._rests.get(address)
        return 0.0 if rest is None else max(0.0, min(rest.ends, rest.began + most) - now)

    def _leave(self, address: str, slow: bool, now: float) -> None:
        rest = self._rests.get(address)
        times = 0 if rest is None or now > rest.ends + _FORGIVEN else min(rest.times + 1, _MOST_DOUBLINGS)
        seconds = _SLOW_REST if slow else _REST if times else 0.0
        self._rests[address] = _Rest(times, now, now + min(_LONGEST_REST, seconds * 2.0**times))
