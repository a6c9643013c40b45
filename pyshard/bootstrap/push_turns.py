"""Turns of shards to be told the cluster's state: a few at a time, so that thousands of them stop nobody.

The state of a large cluster has megabytes, and each change of it is for every shard. To write them all at once would
take gigabytes of memory, and seconds in which nobody else is served.

Rules:

- a shard is told one state at a time, the newest one of that moment. So none ever gets an older state after a newer
  one, and a state that was replaced before a shard's turn is never sent to it;
- there are three lanes, and they take turns: shards that a change concerns, such as those of a move or of a failover;
  shards that have just come; and all others. None waits for the thousands of another lane;
- in a lane those come first that have waited longest. A shard whose state changes again while it is told waits anew;
- bytes under way are bounded in each lane (`settings.PUSHED_BYTES`). Half of that is for shards that answer in time;
- a shard is *slow* when it has let its last push take longer than a second, or has left meanwhile, as when it is
  restarted. Slow ones come behind those that answer in time, first those that took less than two, and have a quarter;
- in both parts a push that takes longer than a second leaves its room to others, whatever is still under way;
- a shard is *silent* that was slow already when it left in the middle of a push. Silent ones come last, first those
  that were it less often, and share the last quarter with all pushes that take longer. So they hold up nobody else;
- who answers in time again is as others are; of each part one push may always be under way;
- who has taken a state on rests before the next one that doesn't concern it, since that stops writers: four times as
  long, 0.25 s at the most;
- what is begun in one turn of the reactor is bounded, in bytes, in shards, and in seconds. While others ask a rest
  follows (`pyshard.bootstrap.push_rests`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum
from typing import Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

import attrs
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.bootstrap.push_rests import PushRests
from pyshard.settings import settings

_IN_TURN = 0.002  # seconds after which nothing more is begun in one turn of the reactor
_BYTES_IN_TURN = 2 * 1024 * 1024  # to copy them, and to give them to the system, takes some milliseconds
_SHARDS_IN_TURN = 20
_SLOW = 1.0  # seconds after which a push leaves its room to others
_VERY_SLOW = 2.0  # seconds after which a push is told from a somewhat slow one
_SILENT, _MOST = 3, 6  # levels of shards: 0 in time, 1 and 2 slow, from 3 on silent
_RESTS, _LONGEST_REST = 4, 0.25  # how many times as long as a push took its shard rests, and seconds at the most
_PARTS = (0.5, 0.25, 0.25)  # of what may be under way: for shards in time, for slow ones, for all the rest
_REST = 2  # the number of the last of them


def level_after(level: int, took: float, left: bool) -> int:
    """How a shard waits that was told a state: the lower, the sooner it is told the next one. Pure.

    :param level: how it waited before.
    :param took: seconds that it took.
    :param left: whether it has left meanwhile.
    """
    if left:
        return min(max(level + 1, _SILENT - 1), _MOST)
    return (took >= _SLOW) + (took >= _VERY_SLOW)


def part_of(level: int) -> int:
    """The number of the one of `_PARTS` in which a push counts that begins. Pure."""
    return 0 if not level else 1 if level < _SILENT else _REST


class Lane(IntEnum):
    """Why a shard is told the state; the first reason counts."""

    CONCERNED = 0
    COMING = 1
    OTHERS = 2


class ToldShard(Protocol):
    """A shard, or a replica of it, that is told the state."""

    def push(self) -> Deferred[None]:
        """Tell it the present state, if it doesn't have that.

        :return: a Deferred that fires when the shard has answered, or can't be told.
        """
        ...


_S = TypeVar("_S", bound=ToldShard)


@attrs.define(eq=False)
class _Push:
    """A push under way.

    :ivar level: that of its shard.
    :ivar part: the number of the one of `_PARTS` in which it counts now.
    :ivar again: the lane in which its shard is to be told the next state, behind this one; None: in none.
    :ivar left: whether its shard has left meanwhile.
    """

    size: int
    began: float
    level: int
    part: int
    again: Lane | None = None
    left: bool = False


class _LaneTurns(Generic[_S]):
    """Who waits in one lane, and what is under way for it.

    :ivar waiting: those that wait, by their level.
    """

    def __init__(self) -> None:
        self.waiting: list[OrderedDict[_S, None]] = [OrderedDict() for _ in range(_MOST + 1)]
        self._under_way = [0] * len(_PARTS)  # bytes
        self._pushes: deque[_Push] = deque()  # those that weren't of the rest when last looked at, the oldest one first

    def begin(self, push: _Push) -> None:
        """Count a push that begins."""
        self._under_way[push.part] += push.size
        if push.part != _REST:
            self._pushes.append(push)

    def end(self, push: _Push) -> None:
        """Count a push that has ended."""
        self._age(push)
        self._under_way[_REST] -= push.size

    def next_level(self, size: int, now: float) -> int | None:
        """The level of who may be told now, with a state of so many bytes; None: nobody may."""
        while self._pushes and (self._pushes[0].part == _REST or self._pushes[0].began + _SLOW <= now):
            self._age(self._pushes.popleft())
        for level, shards in enumerate(self.waiting):
            part = part_of(level)
            used = self._under_way[part]
            if shards and (not used or used + size <= settings.PUSHED_BYTES * _PARTS[part]):
                return level
        return None

    def ages_in(self, now: float) -> float | None:
        """Seconds until the oldest push leaves its room to others; None: all have, or none needs it."""
        if self._pushes and any(self.waiting[:_SILENT]):
            return max(0.0, self._pushes[0].began + _SLOW - now)
        return None

    def _age(self, push: _Push) -> None:
        self._under_way[push.part] -= push.size
        push.part = _REST
        self._under_way[_REST] += push.size


class PushTurns(Generic[_S]):
    """Has shards told the state, when it is their turn.

    :param clock: the reactor: times pushes, and calls back in its next turn.
    :param size: gives the bytes that the present state has.
    :param rests: says when nothing is to be begun.
    :ivar idle: is called when no shard waits any more.
    :ivar was_late: is called with each shard that was late.
    """

    _log = Logger()

    def __init__(self, clock: IReactorTime, size: Callable[[], int], rests: PushRests) -> None:
        self._clock = clock
        self._size = size
        self._rests = rests
        self._begin_counted = rests.counted(self._begin_some)
        self.idle: Callable[[], None] = lambda: None
        self.was_late: Callable[[_S], None] = lambda _: None
        self._lanes: dict[Lane, _LaneTurns[_S]] = {lane: _LaneTurns() for lane in Lane}
        self._waiting: dict[_S, tuple[Lane, int]] = {}  # in which lane, and by which level
        self._under_way: dict[_S, _Push] = {}
        self._levels: WeakKeyDictionary[_S, int] = WeakKeyDictionary()
        self._rests_until: WeakKeyDictionary[_S, float] = WeakKeyDictionary()
        self._resting: dict[_S, IDelayedCall] = {}  # those that will wait then
        self._last = Lane.OTHERS  # the lane that had the last turn
        self._next: IDelayedCall | None = None

    def busy(self) -> bool:
        """Whether any shard waits."""
        return bool(self._waiting)

    def add(self, shard: _S, lane: Lane) -> None:
        """Have a shard told the state: in this lane, unless it waits in a better one."""
        push = self._under_way.get(shard)
        if push is not None:
            push.again = lane if push.again is None else min(push.again, lane)
            return
        waits_in, level = self._waiting.get(shard, (None, self._levels.get(shard, 0)))
        if waits_in is not None and waits_in <= lane:
            return
        if lane is Lane.OTHERS and (rest := self._rests_until.get(shard, 0.0) - self._clock.seconds()) > 0:
            if shard not in self._resting:
                self._resting[shard] = self._clock.callLater(rest, self._rested, shard)
            return
        self._forget(shard)
        self._waiting[shard] = lane, level
        self._lanes[lane].waiting[level][shard] = None
        self._go_on_in(0)

    def remove(self, shard: _S) -> None:
        """Don't tell a shard anything any more; what is under way is let go."""
        self._forget(shard)
        if shard in self._under_way:
            self._under_way[shard].again = None
            self._under_way[shard].left = True
        if self._next is not None and not self.busy():
            self._next.cancel()
            self._next = None
            self.idle()

    # ------------------------------------------------------------------ inside

    def _go_on(self) -> None:
        self._next = None
        if not self.busy():
            return
        if self._rests.left():
            self._go_on_in(0)
        else:
            self._begin_counted()

    def _begin_some(self) -> None:
        self._rests.begin()
        size, end = self._size(), self._clock.seconds() + _IN_TURN
        for number in range(1, _SHARDS_IN_TURN + 1):
            now = self._clock.seconds()
            lane = self._next_lane(size, now)
            if lane is None and not self.busy():
                break
            if lane is None:
                ages = [turns.ages_in(now) for turns in self._lanes.values()]
                soon = [seconds for seconds in ages if seconds is not None]
                if soon:  # else what is under way calls when it ends
                    self._go_on_in(min(soon))
                return
            self._begin(lane, size, now)
            if self._clock.seconds() >= end or (number + 1) * size > _BYTES_IN_TURN:
                break
        if self.busy():
            self._go_on_in(0)
        else:
            self.idle()

    def _next_lane(self, size: int, now: float) -> Lane | None:
        """The lane whose turn it is, of those that have something to do and room for it."""
        for step in range(1, len(Lane) + 1):
            lane = Lane((self._last + step) % len(Lane))
            if self._lanes[lane].next_level(size, now) is not None:
                return lane
        return None

    def _begin(self, lane: Lane, size: int, now: float) -> None:
        self._last = lane
        level = self._lanes[lane].next_level(size, now)
        assert level is not None, "it is this lane's turn"
        shard, _ = self._lanes[lane].waiting[level].popitem(last=False)
        del self._waiting[shard]
        push = self._under_way[shard] = _Push(size, now, level, part_of(level))
        self._lanes[lane].begin(push)
        maybeDeferred(shard.push).addErrback(self._unexpected).addBoth(self._over, shard, lane, push)

    def _rested(self, shard: _S) -> None:
        del self._resting[shard]
        self.add(shard, Lane.OTHERS)

    def _forget(self, shard: _S) -> None:
        """Have a shard wait no more, nor later."""
        if (call := self._resting.pop(shard, None)) is not None:
            call.cancel()
        waits_in, level = self._waiting.pop(shard, (None, 0))
        if waits_in is not None:
            del self._lanes[waits_in].waiting[level][shard]

    def _unexpected(self, failure: Failure) -> None:
        self._log.failure("a shard wasn't told the state", failure)

    def _over(self, _: object, shard: _S, lane: Lane, push: _Push) -> None:
        del self._under_way[shard]
        self._lanes[lane].end(push)
        now = self._clock.seconds()
        level = self._levels[shard] = level_after(push.level, now - push.began, push.left)
        if level:
            self.was_late(shard)
        else:
            self._rests_until[shard] = now + min(_LONGEST_REST, _RESTS * (now - push.began))
        if push.again is not None:
            self.add(shard, push.again)
        if self.busy():
            self._go_on_in(0)

    def _go_on_in(self, seconds: float) -> None:
        seconds = max(seconds, self._rests.left())
        if self._next is not None and seconds < self._next.getTime() - self._clock.seconds():
            self._next.cancel()
            self._next = None
        if self._next is None:
            self._next = self._clock.callLater(seconds, self._go_on)
