"""Large changes of a shard with replicas: each is begun when all members have the one before it, if others ask.

A change is answered when all members have its group, and all groups before it. So whoever changes one record waits for
whatever large groups are on their way, and who reads that record waits with it. The primary makes a large group in some
milliseconds. To send it, and to have each member take it on, takes several times as long.

Rules:

- a small change is begun at once, also before large ones of its sender that wait: what is in flight has no order
  (docs/protocol.md, "Apply");
- many small ones of an address wait as large ones do (`pyshard.shard.small_changes`);
- while others ask for small things, one large change is on its way at a time, or some with a bound on all of them. The
  next one is begun when others have had some times as long as that one took until its answer, or as many small ones
  took together (`pyshard.storage.durable.anticipatory_pause`). How many times depends on which part of the time they
  ask (`pyshard.shard.utilization`): a client that asks now and then costs a bulk load little;
- while nobody else asks, more are on their way, two at the least: the primary makes one while members take another one
  on, and a disk is synced for many. That has a bound, too: whoever asks then has no more than these before it;
- in one turn of the reactor one large change that has waited is begun;
- whose large change is next is decided fairly, between addresses, then between their connections
  (`pyshard.storage.durable.fair_update_queue`);
- what waits has changed nothing yet. When it is begun all is looked at anew, such as whether this replica still leads;
- what waits is bounded, with all that was begun and not all members have, whether small or large
  (`pyshard.storage.uncommitted_bytes`). Past that a change is refused before it is begun;
- what waits of a connection that has ended is never begun, nor what waits when the daemon stops.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import attrs
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.errors import PyshardError, ShuttingDown, Unavailable
from pyshard.shard.small_changes import SMALL, SmallChanges
from pyshard.shard.utilization import Utilization, times_left
from pyshard.storage import Sender
from pyshard.storage.durable.anticipatory_pause import AnticipatoryPause
from pyshard.storage.durable.fair_update_queue import UpdateQueue, WaitingUpdate
from pyshard.storage.uncommitted_bytes import UncommittedBytes

#: Bytes of memory of the large changes that are on their way at a time while others ask, if that is more than one.
BESIDE = 1024 * 1024

#: The same while nobody else asks, if that is more than two: three batches of 10,000 tiny records.
ALONE = 5 * 1024 * 1024

# How many times as long as a large change took until its answer the next one may wait. A member takes a group on twice:
# to its log, and when it is committed to its records. Only the first is over at the answer, and the second takes no
# longer. So large changes have a quarter of the time at the most, while others ask all the time: that is the time after
# each. The less others ask, the less of it is left to them (`pyshard.shard.utilization`).
_TIMES = 6
_WINDOW = 0.01  # seconds in which a client that was answered asks again: longer than at a disk, as answers take longer

_ALONE_AFTER = 0.25  # seconds in which others have asked for nothing small, after which nobody else seems to ask
_LOOK = 0.005  # seconds after which it is looked again how much others ask, at the latest
_LONGEST = 0.25  # seconds that a large change counts at the most: a member may be gone, until it is removed

_T = TypeVar("_T")


@attrs.frozen(eq=False)
class _WaitingChange:
    begin: Callable[[], Deferred[Any]]
    answered: Deferred[Any] = attrs.field(factory=Deferred)


class LargeChanges:
    """The changes of one shard with replicas.

    :param clock: times how long large changes take, and how long the next one waits.
    :param uncommitted: bytes of what was begun. What waits counts there, too.
    """

    def __init__(self, clock: IReactorTime, uncommitted: UncommittedBytes) -> None:
        self._clock = clock
        self._uncommitted = uncommitted
        self._queue: UpdateQueue[_WaitingChange] = UpdateQueue()
        self._pause = AnticipatoryPause(_TIMES, _WINDOW)
        self._waiting_of: dict[Sender, int] = {}  # how many of each sender wait
        self._sender: Sender | None = None  # of the last large change
        self._under_way = self._weight_under_way = 0  # large changes that aren't answered, and their bytes
        self._together_since = 0.0  # when the first of them was begun, behind which one was always under way
        self._ended_at = 0.0  # when the last one was answered
        self._asked = 0  # things that others have asked for, or were answered
        self._beside = 0  # small changes of others that aren't answered
        self._small_ones = SmallChanges()
        self._asked_at = clock.seconds() - _ALONE_AFTER  # when something was last asked so
        self._utilization = Utilization(clock.seconds())  # by small things of others
        self._gone: set[Sender] = set()  # of whom nothing is to be begun
        self._look: IDelayedCall | None = None
        self._forgets: IDelayedCall | None = None
        self._beginning = False

    def __len__(self) -> int:
        """How many wait."""
        return len(self._queue)

    def ask(self, sender: Sender) -> None:
        """Note that something small was asked for, which large changes of others are to leave time to."""
        if sender is not self._sender:
            self._note_activity()
            self._utilization.ask(self._asked_at)

    def serve(self, sender: Sender, weight: int, begin: Callable[[], Deferred[_T]]) -> Deferred[_T]:
        """Begin a change, now or when it may be.

        :param sender: whose it is.
        :param weight: bytes of memory that it takes.
        :param begin: begins it; what it returns fires when all members have the change.
        :return: a Deferred of what that one fires with.
        :raises PyshardError: as `begin` does; in the Deferred, if the change had to wait.
        :raises Overloaded: (in the Deferred) too much isn't committed already; nothing was done.
        :raises Unavailable: (in the Deferred) the sender has gone before it was begun.
        """
        if (refused := self._uncommitted.refusal(sender.address, weight)) is not None:
            return fail(refused)
        if self._small_ones.may_begin(sender.address, weight):
            return self._small(sender, begin, weight)
        if not len(self._queue) and self._wait(weight) == 0:
            return self._large(sender, weight, begin)
        waiting = _WaitingChange(begin)
        self._queue.add(waiting, sender, weight, 0)
        self._count_waiting(sender, weight, 1)
        self._begin_some()
        return waiting.answered

    def forget(self, sender: Sender) -> None:
        """Begin nothing of what waits of a sender, that nobody wants. What several have is dropped together, soon."""
        if sender in self._waiting_of:
            self._gone.add(sender)
            if self._forgets is None:
                self._forgets = self._clock.callLater(0, self._forget_gone)

    def close(self) -> None:
        """Refuse all that waits: a daemon that stops answers members no more, so nobody could say what came of it."""
        stops = ShuttingDown("this shard is shutting down, and the change was not begun; ask again when it is back")
        self._refuse(lambda _: True, stops)
        self._begin_some()

    # ------------------------------------------------------------------ inside

    def _forget_gone(self) -> None:
        self._forgets = None
        self._begin_some()

    def _refuse_gone(self) -> None:
        """Drop what waits of senders that are gone."""
        gone, self._gone = self._gone, set()
        if gone:
            why = Unavailable("the connection ended before the shard could begin; nothing was done")
            self._refuse(gone.__contains__, why)

    def _refuse(self, which: Callable[[Sender], bool], why: PyshardError) -> None:
        for taken in self._queue.take_all_of(which):
            self._count_waiting(taken.sender, taken.cost, -1)
            taken.update.answered.errback(why)

    def _begin_some(self) -> None:
        """Begin what may be begun by now, and look again when more may be."""
        if self._beginning:  # by what is answered at once
            return
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self._beginning = True
        try:
            wait = self._begin_next()
        finally:
            self._beginning = False
        if wait is not None:
            self._look = self._clock.callLater(wait, self._look_again)

    def _begin_next(self) -> float | None:
        """Begin the next change, if it may be begun now.

        :return: seconds until more may be begun; None: until something is answered, or nothing waits.
        """
        self._refuse_gone()
        first = self._queue.first
        if first is None or (wait := self._wait(first.cost)) is None:
            return None
        if wait:
            return wait
        self._begin(self._queue.take())
        return 0.0 if len(self._queue) else None  # in the reactor's next turn, which others have before

    def _look_again(self) -> None:
        self._look = None
        self._begin_some()

    def _begin(self, taken: WaitingUpdate[_WaitingChange]) -> None:
        sender = taken.sender
        self._count_waiting(sender, taken.cost, -1)
        self._queue.done([taken])
        begun = maybeDeferred(self._large, sender, taken.cost, taken.update.begin)
        begun.addCallbacks(taken.update.answered.callback, taken.update.answered.errback)

    def _small(self, sender: Sender, begin: Callable[[], Deferred[_T]], weight: int) -> Deferred[_T]:
        self._small_ones.begin(sender.address, weight)
        try:
            begun = begin()
        except BaseException:
            self._small_ones.end(sender.address, weight)
            raise
        is_beside = sender is not self._sender
        if is_beside:
            self.ask(sender)
        if begun.called and not begun.paused:
            self._small_ones.end(sender.address, weight)
            return begun
        self._beside += is_beside
        return begun.addBoth(self._small_answered, sender.address, weight, is_beside)

    def _small_answered(self, outcome: _T, address: str, weight: int, is_beside: bool) -> _T:
        self._small_ones.end(address, weight)
        if is_beside:
            self._note_activity()  # who is answered asks again soon
            self._beside -= 1
        if self._look is None and len(self._queue):
            self._begin_some()
        return outcome

    def _large(self, sender: Sender, weight: int, begin: Callable[[], Deferred[_T]]) -> Deferred[_T]:
        began = self._count_time()
        begun = begin()
        self._pause.begin(self._asked)
        self._sender = sender
        if not self._under_way:
            self._together_since = began
        self._under_way += 1
        self._weight_under_way += weight
        return begun.addBoth(partial(self._large_answered, began, weight))

    def _large_answered(self, began: float, weight: int, outcome: _T) -> _T:
        now = self._count_time()
        self._under_way -= 1
        self._weight_under_way -= weight
        together = weight <= SMALL and not self._under_way
        since = self._together_since if together else max(began, self._ended_at)
        self._pause.end(max(since, now - _LONGEST), now)
        self._ended_at = now
        self._begin_some()
        return outcome

    def _wait(self, weight: int) -> float | None:
        """Seconds for which a large change is to wait; None: until one that is under way is answered."""
        now = self._count_time()
        alone = not self._beside and now - self._asked_at >= _ALONE_AFTER
        least, most = (2, ALONE) if alone else (1, BESIDE)
        if self._under_way >= least and self._weight_under_way + weight > most:
            return None
        times = times_left(self._utilization.fraction, _TIMES)
        return min(_LOOK, self._pause.remaining(self._asked, now, self._beside > 0, times))

    def _note_activity(self) -> None:
        self._asked += 1
        self._asked_at = self._count_time()

    def _count_time(self) -> float:
        """Count the time up to now; this must be called before anything is begun or answered.

        :return: what time it is.
        """
        now = self._clock.seconds()
        self._utilization.count(now, self._beside > 0, self._under_way > 0)
        return now

    def _count_waiting(self, sender: Sender, weight: int, number: int) -> None:
        """Count a change that waits (1), or that waits no more (-1)."""
        (self._uncommitted.begin if number > 0 else self._uncommitted.end)(sender.address, weight)
        self._small_ones.wait(sender.address, weight, number)
        left = self._waiting_of[sender] = self._waiting_of.get(sender, 0) + number
        if not left:
            del self._waiting_of[sender]
