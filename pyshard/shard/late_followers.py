"""What the writers of a shard may write for the sake of those who copy and follow it.

Rules:

- writers are slowed for targets of moves that go on, and for replicas that aren't members yet. For a member every
  answer waits anyway. Anybody else may follow, and be behind;
- a follower counts while it asks for more, and no longer;
- what was found of a follower is known for a while when it has none of it any more: it begins anew;
- operators are told that a copy is begun again, and that nobody is slowed any more for who doesn't come to an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import inf
from typing import NamedTuple

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pyshard.metrics.line_pace import LinePace
from pyshard.model.slot_ranges import SlotRanges, union
from pyshard.settings import settings
from pyshard.shard.follower_allowance import FollowerAllowance
from pyshard.shard.slowed_writers import ALL, Allowed
from pyshard.storage.follower_places import FollowerPlaces

_ASKS_WITHIN = 5.0  # seconds in which a follower that wants more asks again
_KNOWN = 60.0  # seconds for which a follower is known that doesn't ask

_log = Logger()


class CopyUnderWay(NamedTuple):
    """A copy that is read.

    :ivar given: bytes that were given.
    :ivar expected: bytes that it will have, more or less.
    :ivar asked_at: when it was asked for last, or is; in the clock's seconds.
    """

    name: str
    given: int
    expected: int
    asked_at: float


class Chaser(NamedTuple):
    """A follower that is given groups.

    :ivar lacks: groups that it lacks.
    :ivar asked_at: see `CopyUnderWay`.
    :ivar even_at: when it was given all that there was last.
    :ivar is_even: whether it was with the last answer.
    """

    name: str
    ranges: SlotRanges
    lacks: int
    asked_at: float
    even_at: float
    is_even: bool


class _Known(NamedTuple):
    """What is known of a follower, and when it was last.

    :param written: bytes of groups that were ever added when it lacked none, or a copy was begun for it; None: unknown.
    """

    allowance: FollowerAllowance
    at: float
    written: int | None


class _Slow(NamedTuple):
    """For whom writers are slowed down, to how much, and in which slots."""

    name: str
    rate: float
    ranges: SlotRanges


class LateFollowers:
    """Those of one shard.

    :param places: the followers of its store.
    :param copies: gives the copies that are read of it, for whom writers may be slowed.
    :param chasers: gives the followers of which that is so.
    :param clock: times them.
    """

    def __init__(
        self,
        places: FollowerPlaces,
        copies: Callable[[], Iterable[CopyUnderWay]],
        chasers: Callable[[], Iterable[Chaser]],
        clock: IReactorTime,
    ) -> None:
        self._places = places
        self._copies = copies
        self._chasers = chasers
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._told_until: dict[str, float] = {}  # of whom operators were told that nobody is slowed for it, until then
        self._pace = LinePace(settings.SHARD_LINES)

    def described(self) -> dict[str, object]:
        """For `stat`, as docs/protocol.md lists it."""
        return {"copies_begun": max([each.allowance.copies for each in self._known.values()], default=0)}

    def begin_copy(self, name: str) -> None:
        """Note that a copy is begun for a follower."""
        allowance = self._of(name, lacks_nothing=True)
        allowance.begin_copy(self._clock.seconds())
        if allowance.copies > 1 and (more := self._pace.ending(self._clock.seconds())) is not None:
            _log.warn(
                "a copy is begun for {follower}, the {number}th since it had all{more}",
                follower=name,
                number=allowance.copies,
                more=more,
            )

    def allowed(self, written: float) -> Allowed:
        """What writers may write.

        :param written: bytes of changes a second that were written of late.
        """
        now, places = self._clock.seconds(), self._places
        found: list[_Slow] = []
        for copy in self._copies():
            if now - copy.asked_at < _ASKS_WITHIN:
                allowance = self._of(copy.name)
                allowance.copying(now, self._kept_for(copy.name), places.room, copy.given, copy.expected)
                found.append(_Slow(copy.name, allowance.rate, ALL))
        for chaser in self._chasers():
            if now - chaser.asked_at < _ASKS_WITHIN:
                allowance = self._of(chaser.name, chaser.is_even)
                if chaser.is_even:
                    allowance.even(now, written)
                else:
                    late = now - chaser.even_at >= settings.FOLLOWED_AT_ONCE
                    kept = self._kept_for(chaser.name)
                    allowance.following(now, kept, places.room, chaser.lacks, late, written)
                found.append(_Slow(chaser.name, allowance.rate, chaser.ranges))
        self._tell_let_go(now)
        self._known = {
            name: known
            for name, known in self._known.items()
            if now - known.at < _KNOWN or known.allowance.is_of_use(now)
        }
        slow = [each for each in found if each.rate != inf]
        if not slow:
            return Allowed()
        slowest = min(slow, key=lambda each: each.rate)
        return Allowed(slowest.rate, union(tuple([part for each in slow for part in each.ranges])), slowest.name)

    def _tell_let_go(self, now: float) -> None:
        for name, known in self._known.items():
            until = known.allowance.let_go_until
            if now < until and until != self._told_until.get(name):
                self._told_until = {each: told for each, told in self._told_until.items() if now < told} | {name: until}
                _log.warn(
                    "writers aren't slowed down for {follower} for {seconds:.0f} s: it doesn't get all, however little"
                    " they write",
                    follower=name,
                    seconds=until - now,
                )

    def _of(self, name: str, lacks_nothing: bool = False) -> FollowerAllowance:
        """What is known of a follower, from now on."""
        known = self._known.get(name)
        allowance = FollowerAllowance() if known is None else known.allowance
        written = self._places.written if lacks_nothing else None if known is None else known.written
        self._known[name] = _Known(allowance, self._clock.seconds(), written)
        return allowance

    def _kept_for(self, name: str) -> int:
        """Bytes that are kept for a follower at the most. What is kept besides, for others, goes first."""
        kept, written = self._places.kept, self._known[name].written
        return kept if written is None else min(kept, self._places.written - written)
