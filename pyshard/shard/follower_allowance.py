"""How much writers may write while somebody copies or follows a shard, so that it gets all, whatever they do.

Pure. A copy comes to nothing when the changes behind it aren't kept any more, and they are kept within a bound of
bytes. A follower that lacks changes is even only when it takes more in a second than is written.

Rules:

- as long as a copy is read, what may be written in a second is what is left of the bound, divided by the seconds for
  which the copy will still take at its pace. So it is used up no sooner than the copy ends, and what was wrongly
  expected is put right by what is left then;
- that holds only for a copy that would be late, or was, or that is begun again: beside one that is fast enough nobody
  is slowed;
- behind a copy the same holds for what is left of the bound. Besides, who follows and doesn't catch up has writers get
  half of what they had, again and again, until it does. So any rate comes below what it can take. Then they get more
  again, little by little;
- writers get as much in any case as the bound divided by the time for which changes are kept (`FOLLOWED_LOG_SECONDS`):
  with so little, it is never bytes for which a copy comes to nothing. Nor are they slowed for a copy that would take
  longer;
- who has had them get no more than that for a while, and doesn't lack less for it, is let go: nobody is slowed for it
  for ten times as long. It may never take all;
- so is who has had them slowed for longer in all, to whatever, and though it had all in between: how fast it reads, and
  when it has all, is for itself to say. What it takes of that time is given back ten times as slowly.
"""

from __future__ import annotations

from math import inf

import attrs

from pyshard.settings import settings

_NOTHING_YET = 0.05  # of what may be kept: before, no copy is late
_AHEAD = 1.5  # times as far as what is kept a copy is to be: behind it the changes are to be read, too
_FULL = 0.75  # of the bound that may be used while a copy is read: what is on its way comes on top
_FULL_BEHIND = 0.9  # the same behind it
_HALF_FULL = 0.5  # of the bound: behind a copy nobody is slowed below that for the sake of the bound
_SOON = (
    10.0  # seconds that a copy takes at the least, as far as writers go by it; in which a follower frees some of that
)
_UNKNOWN = 60.0  # seconds that a copy will take whose pace isn't known yet
_PERIOD = 3.0  # seconds in which a follower is to catch up by some
_CAUGHT_UP = 0.75  # of the groups that it lacked at their beginning it lacks at the most at their end
_NEWER = 0.3  # part of the newest second in the pace of a copy
_MORE = 1.25  # times as much as before writers get in a second when a follower is even
_ENOUGH = 4.0  # times what they write, and they aren't slowed any more
_LET_GO_AFTER = settings.MOVE_CATCHES_UP  # seconds in which writers get no more than they do in any case
_LET_GO = 10  # times as long nobody is slowed for it then
_SLOWED_AT_MOST = 600.0  # seconds for which they are slowed for it in all, if it isn't for a large copy
_OF_A_COPY = 8  # times as long as its copy takes at full pace, if that is longer
_LOOKED_AT = 5.0  # seconds within which it is looked at again while it asks, and writers write


@attrs.define
class FollowerAllowance:
    """What writers may write for the sake of one follower.

    :ivar rate: bytes of changes in a second; inf: as much as they like.
    :ivar copies: how often a copy was begun for it since it was even with the shard.
    :ivar let_go_until: until then nobody is slowed for it.
    """

    rate: float = inf
    copies: int = 0
    _pace: float = 0.0  # bytes of the copy in a second
    _given: int = 0
    _seen: float | None = None  # when that was
    _lacked: int = 0  # groups, when the period began
    let_go_until: float = -inf
    _period: float | None = None  # since when it is to catch up
    _least_since: float | None = None  # since when writers have got no more than they do in any case
    _least_lacked: int = 0  # groups that it lacked then
    _slowed_for: float = 0.0  # seconds for which writers were slowed for it, but for what was given back
    _counted: float | None = None  # when that was counted last
    _slowed_at_most: float = _SLOWED_AT_MOST

    def begin_copy(self, now: float) -> None:
        """Note that a copy is begun."""
        self.copies += 1
        self._given, self._seen, self._period = 0, now, None

    def copying(self, now: float, kept: int, room: int, given: int, expected: int) -> None:
        """A copy is being read.

        :param kept: bytes of changes that are kept for followers.
        :param room: how many may be.
        :param given: bytes of the copy that were given.
        :param expected: bytes that it will have, more or less.
        """
        self._count(now)
        self._slowed_at_most = max(_SLOWED_AT_MOST, _OF_A_COPY * expected / settings.COPY_PACE)
        if self._seen is not None and now > self._seen:
            pace = (given - self._given) / (now - self._seen)
            self._pace = pace if not self._pace else (1 - _NEWER) * self._pace + _NEWER * pace
        self._given, self._seen, self._least_since = given, now, None
        left = max(_SOON, max(0, expected - given) / self._pace) if self._pace > 0 else _UNKNOWN
        late = kept > _NOTHING_YET * room and kept * _AHEAD * expected > given * room
        if left > settings.FOLLOWED_LOG_SECONDS or not (late or self.copies > 1 or self.rate != inf):
            self.rate = inf
        else:
            self.rate = max(_least(room), (_FULL * room - kept) / left)
        self._let_go(now)

    def following(self, now: float, kept: int, room: int, lacks: int, late: bool, written: float) -> None:
        """It is given changes, and lacks some.

        :param lacks: groups of changes.
        :param late: whether it has lacked some for long.
        :param written: bytes of changes a second that are written of late.
        """
        self._count(now)
        if not late and self.rate == inf:
            self._period = None
        elif self._period is None:
            self._period, self._lacked = now, lacks
        elif now - self._period >= _PERIOD:
            if lacks > _CAUGHT_UP * self._lacked:
                self.rate = max(_least(room), min(self.rate, written) / 2)
            self._period, self._lacked = now, lacks
        if kept > _HALF_FULL * room:
            self.rate = min(self.rate, max(_least(room), (_FULL_BEHIND * room - kept) / _SOON))
        if self.rate > _least(room):
            self._least_since = None
        elif self._least_since is None or lacks < _CAUGHT_UP * self._least_lacked:
            self._least_since, self._least_lacked = now, lacks
        self._let_go(now)

    def even(self, now: float, written: float) -> None:
        """It has all: it was given the last of it at its last question.

        :param written: see `following`.
        """
        self._count(now)
        seconds = 0.0 if self._seen is None else max(0.0, now - self._seen)
        self.copies, self._seen, self._period, self._least_since = 0, now, None, None
        self.rate = self.rate * _MORE ** min(seconds, _SOON)
        if self.rate > _ENOUGH * written:
            self.rate = inf
        self._let_go(now)

    def is_of_use(self, now: float) -> bool:
        """Whether what is known of it counts, though it doesn't ask any more."""
        if now < self.let_go_until:
            return True
        return self._counted is not None and self._slowed_for > (now - self._counted) / _LET_GO

    def _count(self, now: float) -> None:
        """Count the time for which writers were slowed for it, or weren't, until now."""
        passed = 0.0 if self._counted is None else now - self._counted
        self._counted = now
        if self.rate != inf and passed < _LOOKED_AT:
            self._slowed_for += passed
        else:
            self._slowed_for = max(0.0, self._slowed_for - passed / _LET_GO)

    def _let_go(self, now: float) -> None:
        """Slow nobody for it, if they were slowed for too long in vain, or for too long in all."""
        if now >= self.let_go_until:
            if self._least_since is not None and now - self._least_since >= _LET_GO_AFTER:
                self.let_go_until = now + _LET_GO * _LET_GO_AFTER
            elif self._slowed_for >= self._slowed_at_most:
                self.let_go_until = now + _LET_GO * self._slowed_for
                self._slowed_for = 0.0
        if now < self.let_go_until:
            self.rate, self._period, self._least_since = inf, None, None


def _least(room: int) -> float:
    """Bytes a second that writers get in any case."""
    return room / settings.FOLLOWED_LOG_SECONDS
