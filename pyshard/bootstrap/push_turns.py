"""Turns of shards to be told the cluster's state: a few at a time, so that thousands of them stop nobody.

The state of a large cluster has megabytes, and each change of it is for every shard. To write them all at once would
take gigabytes of memory, and seconds in which nobody else is served.

Rules:

- a shard is told one state at a time, the newest one of that moment. So none ever gets an older state after a newer
  one, and a state that was replaced before a shard's turn is never sent to it;
- there are three lanes, and they take turns: shards that a change concerns, such as those of a move or of a failover;
  shards that have just come; and all others. None waits for the thousands of another lane;
- in a lane those come first that have waited longest. A shard whose state changes again while it is told waits anew;
- bytes under way are bounded in each lane (`settings.PUSHED_BYTES`). Half of that is for pushes that have just begun:
  shards that don't answer leave it to others after a second, whatever they still have under way;
- a shard is *late* when it has let a push take longer than that, or has left meanwhile, until it answers one in time.
  Late shards come behind the others of their lane, and share the other half. So they hold up nobody else again;
- of each half one push may always be under way;
- what is begun in one turn of the reactor is bounded, in bytes, in shards, and in seconds. While others ask a rest
  follows (`pyshard.bootstrap.push_rests`).
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from enum import IntEnum
from typing import Generic, Protocol, TypeVar
from weakref import WeakSet

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

    :ivar young: whether it counts as one that has just begun; that to a late shard never does.
    :ivar again: the lane in which its shard is to be told the next state, behind this one; None: in none.
    :ivar left: whether its shard has left meanwhile.
    """

    size: int
    began: float
    young: bool = True
    again: Lane | None = None
    left: bool = False


class _LaneTurns(Generic[_S]):
    """Who waits in one lane, and what is under way for it.

    :ivar waiting: those that aren't late.
    :ivar late: those that are.
    """

    def __init__(self) -> None:
        self.waiting: OrderedDict[_S, None] = OrderedDict()
        self.late: OrderedDict[_S, None] = OrderedDict()
        self._young = self._old = 0  # bytes under way
        self._pushes: deque[_Push] = deque()  # those that were young when last looked at, the oldest one first

    def begin(self, push: _Push) -> None:
        """Count a push that begins."""
        if push.young:
            self._pushes.append(push)
            self._young += push.size
        else:
            self._old += push.size

    def end(self, push: _Push) -> None:
        """Count a push that has ended."""
        self._age(push)
        self._old -= push.size

    def next_queue(self, size: int, now: float) -> OrderedDict[_S, None] | None:
        """Those of whom the next one may be told now, with a state of so many bytes; None: nobody may."""
        while self._pushes and (not self._pushes[0].young or self._pushes[0].began + _SLOW <= now):
            self._age(self._pushes.popleft())
        half = settings.PUSHED_BYTES / 2
        if self.waiting and (not self._young or self._young + size <= half):
            return self.waiting
        return self.late if self.late and (not self._old or self._old + size <= half) else None

    def ages_in(self, now: float) -> float | None:
        """Seconds until the oldest push leaves its room to others; None: all have, or none needs it."""
        return max(0.0, self._pushes[0].began + _SLOW - now) if self._pushes and self.waiting else None

    def has(self, shard: _S) -> bool:
        """Whether a shard waits here."""
        return shard in self.waiting or shard in self.late

    def forget(self, shard: _S) -> None:
        """Have a shard wait no more."""
        self.waiting.pop(shard, None)
        self.late.pop(shard, None)

    def _age(self, push: _Push) -> None:
        if push.young:
            push.young = False
            self._young -= push.size
            self._old += push.size


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
        self._under_way: dict[_S, _Push] = {}
        self._late: WeakSet[_S] = WeakSet()
        self._last = Lane.OTHERS  # the lane that had the last turn
        self._next: IDelayedCall | None = None

    def busy(self) -> bool:
        """Whether any shard waits."""
        return any(turns.waiting or turns.late for turns in self._lanes.values())

    def add(self, shard: _S, lane: Lane) -> None:
        """Have a shard told the state: in this lane, unless it waits in a better one."""
        push = self._under_way.get(shard)
        if push is not None:
            push.again = lane if push.again is None else min(push.again, lane)
            return
        for other, turns in self._lanes.items():
            if turns.has(shard):
                if other <= lane:
                    return
                turns.forget(shard)
        queue = self._lanes[lane].late if shard in self._late else self._lanes[lane].waiting
        queue[shard] = None
        self._go_on_in(0)

    def remove(self, shard: _S) -> None:
        """Don't tell a shard anything any more; what is under way is let go."""
        for turns in self._lanes.values():
            turns.forget(shard)
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
            if self._lanes[lane].next_queue(size, now) is not None:
                return lane
        return None

    def _begin(self, lane: Lane, size: int, now: float) -> None:
        self._last = lane
        queue = self._lanes[lane].next_queue(size, now)
        assert queue is not None, "it is this lane's turn"
        shard, _ = queue.popitem(last=False)
        push = self._under_way[shard] = _Push(size, now, young=shard not in self._late)
        self._lanes[lane].begin(push)
        maybeDeferred(shard.push).addErrback(self._unexpected).addBoth(self._over, shard, lane, push)

    def _unexpected(self, failure: Failure) -> None:
        self._log.failure("a shard wasn't told the state", failure)

    def _over(self, _: object, shard: _S, lane: Lane, push: _Push) -> None:
        del self._under_way[shard]
        self._lanes[lane].end(push)
        if push.left or self._clock.seconds() >= push.began + _SLOW:
            self._late.add(shard)
            self.was_late(shard)
        else:
            self._late.discard(shard)
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
