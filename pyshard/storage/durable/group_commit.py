"""Group commit: one thread takes all updates that wait, and commits and answers together as many as may be.

One sync of the disk serves all of these, however many they are.

Rules:

- updates of one sender are committed in the order in which they were submitted; whose are next is decided by
  `pyshard.storage.durable.fair_update_queue`, so that nobody waits for all that somebody else has submitted;
- a large update isn't committed together with small ones that come before it, since these would wait for its work.
  Small ones behind it go with it. Large ones leave time to others (`pyshard.storage.durable.anticipatory_pause`);
- what the store has done for itself comes first if it is small, and while large updates of others are held, always;
- the store's own background work has a bounded part of the time (`pyshard.storage.durable.background_updates`);
- the Deferred of an update fires in the reactor's thread, after all updates that were committed with it;
- a commit may do only the first of the updates that it is given: the outcomes of these are handed to the reactor
  before anything else is committed, and the others keep their places;
- the bytes of outcomes that are handed out and not taken yet are bounded: the thread may be quicker than the reactor;
- the bytes that wait are bounded (`Overloaded`), also for senders that are gone; those of one address are at most as
  many as are still free;
- updates of a sender that is gone aren't begun any more (`Unavailable`): they are dropped when it is their turn;
- the changes and the bytes that are committed together are bounded; an update that has more is committed alone;
- the processor's time that updates take is told to their senders, whose share of the daemon's time it counts in;
- closing commits what still waits, unless it was refused before (`refuse_waiting`): then only what is being committed
  and the store's own updates are, and what was refused (`ShuttingDown`) never is;
- this module knows nothing of databases: it is given the function that commits.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from math import inf
from typing import Any, Generic, NamedTuple, TypeVar

from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from pyshard.clocks import steady_seconds
from pyshard.errors import Overloaded, Unavailable
from pyshard.metrics.collector_time import COLLECTOR_TIME
from pyshard.metrics.commit_counts import CommitCounts
from pyshard.settings import settings
from pyshard.storage.durable.anticipatory_pause import AnticipatoryPause
from pyshard.storage.durable.background_updates import BackgroundUpdates
from pyshard.storage.durable.fair_update_queue import LEAST_COST, UpdateQueue, WaitingUpdate, count_seconds
from pyshard.storage.durable.submitted_updates import SubmittedUpdate, fire, refuse, shutting_down
from pyshard.storage.interface import ITSELF, Sender

_U = TypeVar("_U")
_T = TypeVar("_T")

#: How many updates are committed together at the most.
MOST_UPDATES = 1000

_SMALL = 64 * 1024  # bytes of memory: some hundred changes, a millisecond or a few

_BACKGROUND = Sender("", "background")

#: Seconds for which this thread may compute before the reactor's thread has its turn. Python's own 5 ms would be
#: added to all that others ask while a large group is made; if nobody asks, more switches would cost a few percent.
_SWITCH_BESIDE_OTHERS = 0.0005


class Committed(NamedTuple):
    """What became of some updates.

    :param outcomes: of each that was committed, from the front on; one at the least: a result, or a Failure.
    :param size: bytes that these outcomes keep.
    :param background: seconds of the thread that background work took, or had others take.
    """

    outcomes: list[object]
    size: int = 0
    background: float = 0.0


class GroupCommit(Generic[_U]):
    """A queue of updates, and the thread that commits them.

    :param commit: commits updates, in order, as many from the front on as may be.
    :param call_from_thread: has a function called in the reactor's thread; None: there is no thread, and each update
        is committed alone and at once where it is submitted (for tests and tools).
    :param finish: called once after the last update, in the same thread.
    :param steady: the clock for pauses between large updates.
    :param processor: seconds of a processor that the calling thread has had, but for garbage collections.
    :ivar commits: what is counted of commits in the thread.
    """

    def __init__(
        self,
        commit: Callable[[Sequence[_U]], Committed],
        call_from_thread: Callable[..., Any] | None,
        finish: Callable[[], None] = lambda: None,
        steady: Callable[[], float] = steady_seconds,
        processor: Callable[[], float] = COLLECTOR_TIME.processor,
    ) -> None:
        self._commit = commit
        self._finish = finish
        self._steady = steady
        self._processor = processor
        self._pause = AnticipatoryPause()
        self._background: BackgroundUpdates[SubmittedUpdate[_U]] = BackgroundUpdates()
        self._asked = 0  # small things that others than the sender of the last large update have asked for
        self._all_asked = 0  # all things that were asked for, but for background work
        self._large_sender: Sender | None = None
        self._held_until = -inf  # until then no large update of others is begun
        self._switch_interval = sys.getswitchinterval()
        self._call_from_thread = call_from_thread
        self._waiting: UpdateQueue[SubmittedUpdate[_U]] = UpdateQueue()
        self._weight = 0  # of the updates that aren't answered; only the reactor's thread uses it
        self._weight_of: dict[str, int] = {}  # the same by address
        self._handed = 0  # bytes of outcomes that were handed out so far; only the thread counts here
        self._received = 0  # those of them that the reactor's thread has taken; only that counts here
        self._changed = threading.Condition()
        self._closed: Deferred[None] | None = None
        self._refuses = False  # whatever senders have waiting
        self._dropped: list[WaitingUpdate[SubmittedUpdate[_U]]] = []  # of senders that are gone
        self._thread: threading.Thread | None = None
        self.commits = CommitCounts()

    def submit(
        self, update: _U, weight: int = 0, changes: int = 0, sender: Sender = ITSELF, copied: int = 0
    ) -> Deferred[Any]:
        """Have an update committed.

        :param weight: bytes that it takes while it waits; with 0 it is never refused.
        :param changes: how many records it may change.
        :param sender: whose it is.
        :param copied: bytes of records that it has copied, beside its own.
        :return: a Deferred of its result, fired when it is committed.
        :raises Overloaded: (in the Deferred) too many bytes wait already.
        :raises ShuttingDown: (in the Deferred) it was refused before it was begun.
        :raises Unavailable: (in the Deferred) its sender was gone before it was begun.
        """
        if self._refuses and sender is not ITSELF:
            return fail(shutting_down())
        if weight and self._weight:
            own = self._weight_of.get(sender.address, 0)
            if own + weight > settings.MAX_COMMIT_BYTES - self._weight:
                return fail(
                    Overloaded(
                        f"changes of {self._weight:,} bytes wait for this shard's disk already, {own:,} of them from "
                        "this address; try again later"
                    )
                )
        self._all_asked += 1
        answered, cost = Deferred[Any](), weight + copied
        if cost <= _SMALL:
            self.ask(sender)
        if weight and self._call_from_thread is not None:
            self._weight += weight
            self._weight_of[sender.address] = self._weight_of.get(sender.address, 0) + weight
            answered.addBoth(self._subtract_weight, sender.address, weight)
        first = sender is ITSELF and (cost <= LEAST_COST or self._steady() < self._held_until)
        submitted = SubmittedUpdate(update, answered)
        return self._submit(submitted, lambda it: self._waiting.add(it, sender, cost, changes, first))

    def hold_large(self, seconds: float) -> None:
        """Begin no large update of others for so long; 0: go on with them."""
        with self._changed:
            self._held_until = self._steady() + seconds
            self._changed.notify()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of updates that aren't answered yet."""
        return self._weight

    def submit_background(self, update: _U) -> Deferred[Any]:
        """Have an update of the store's own background work committed, when that has time; see `submit`."""
        return self._submit(SubmittedUpdate(update, Deferred()), self._background.add)

    def ask(self, sender: Sender) -> None:
        """Note that something small was asked for, which large updates of others are to leave time to."""
        self._all_asked += 1
        if sender is not self._large_sender:
            self._asked += 1

    def _submit(self, submitted: SubmittedUpdate[_U], add: Callable[[SubmittedUpdate[_U]], None]) -> Deferred[Any]:
        """Have an update wait.

        :param add: where it waits.
        """
        if self._call_from_thread is None:
            fire([submitted.answered], self._committed([submitted.update]).outcomes)
            return submitted.answered
        with self._changed:
            add(submitted)
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pyshard-writer", daemon=True)
            self._thread.start()
        return submitted.answered

    def _subtract_weight(self, outcome: _T, address: str, weight: int) -> _T:
        self._weight -= weight
        left = self._weight_of[address] - weight
        if left:
            self._weight_of[address] = left
        else:
            del self._weight_of[address]
        return outcome

    def refuse_waiting(self) -> None:
        """Refuse what waits and isn't being committed, and whatever comes later, but for what the store itself has."""
        with self._changed:
            self._refuses = True
            refused = self._waiting.take_all_of(_is_a_client)
        refuse(refused, shutting_down())

    def close(self) -> Deferred[None]:
        """Commit what waits, and end the thread.

        :return: a Deferred that fires when it has ended.
        """
        closed: Deferred[None] = Deferred()
        if self._thread is None:
            self._finish()
            closed.callback(None)
            return closed
        with self._changed:
            self._closed = closed
            self._changed.notify()
        return closed

    def _run(self) -> None:
        assert self._call_from_thread is not None
        had = self._processor()
        while True:
            with self._changed:
                while (wait := self._wait()) != 0:
                    self._changed.wait(wait)
                taken = self._take()
                dropped, self._dropped = self._dropped, []
                closed = self._closed
            if dropped:
                self._call_from_thread(refuse, dropped, Unavailable("the connection ended before the change began"))
                del dropped
            elif not taken and closed is not None:
                self._finish()
                self._call_from_thread(closed.callback, None)
                return
            if not taken:
                continue
            large = taken[-1] if taken[-1].cost > _SMALL else None
            if large is not None:
                self._begin_large(large.sender)
            began = self._steady()
            outcomes, size, background = self._committed([waiting.update.update for waiting in taken])
            had, before, now = self._processor(), had, self._steady()
            if large is not None:
                self._pause.end(began, now)
            self._background.count(background, now)
            self.commits.add(sum(not isinstance(outcome, Failure) for outcome in outcomes), now - began)
            done = taken[: len(outcomes)]
            queued = done[1:] if done[0].sender is _BACKGROUND else done
            with self._changed:
                self._waiting.put_back(taken[len(done) :])
                self._waiting.done(queued)
                refused = self._waiting.take_all_of(_is_a_client) if self._refuses else []
            self._handed += size
            self._call_from_thread(self._hand_out, done, outcomes, size, had - before)
            if refused:
                self._call_from_thread(refuse, refused, shutting_down())
            del outcomes, taken, done, refused  # they may be large, and are the reactor's now

    def _hand_out(
        self, done: Sequence[WaitingUpdate[SubmittedUpdate[_U]]], outcomes: list[object], size: int, seconds: float
    ) -> None:
        """Answer updates, and have the time that they took counted for their senders; in the reactor's thread."""
        count_seconds(done, seconds)
        fire([waiting.update.answered for waiting in done], outcomes)
        full = self._are_many_handed()
        self._received += size
        if full:  # else the thread doesn't wait for this, and to wake it for nothing costs a tenth of a small change
            with self._changed:
                self._changed.notify()

    def _are_many_handed(self) -> bool:
        """Whether nothing more is to be committed before the reactor's thread has taken some outcomes."""
        return self._handed - self._received > settings.MAX_GROUP_BYTES

    def _begin_large(self, sender: Sender) -> None:
        """Note that a large group is begun; while others ask, let the reactor's thread go on soon after it wants to."""
        others = self._pause.begin(self._asked)
        self._large_sender = sender
        sys.setswitchinterval(_SWITCH_BESIDE_OTHERS if others else self._switch_interval)

    def _wait(self) -> float | None:
        """Seconds to wait before anything is committed; None: until something changes. The caller holds the lock."""
        if self._are_many_handed():
            return None
        self._drop_gone()
        if self._closed is not None or self._dropped:
            return 0.0
        first, background = self._first_waits(), self._background.remaining(self._all_asked, self._steady())
        return first if background is None else background if first is None else min(first, background)

    def _first_waits(self) -> float | None:
        """Seconds for which the first update of the queue is to wait; None: there is none."""
        first = self._waiting.first
        if first is None:
            return None
        if self._closed is not None or first.cost <= _SMALL:
            return 0.0
        held = self._held_until - (now := self._steady())
        if held > 0:
            return 0.0 if first.sender is ITSELF else held
        return self._pause.remaining(self._asked, now)

    def _drop_gone(self) -> None:
        """Drop updates of senders that are gone, until the first one is of somebody who is there."""
        while (first := self._waiting.first) is not None and first.sender.gone():
            dropped = self._waiting.take()
            self._waiting.done([dropped])
            self._dropped.append(dropped)

    def _take(self) -> list[WaitingUpdate[SubmittedUpdate[_U]]]:
        """Take what is committed together next. The caller holds the lock."""
        waiting = self._waiting
        taken: list[WaitingUpdate[SubmittedUpdate[_U]]] = []
        others, now = self._first_waits() == 0, self._steady()
        wait = self._background.remaining(self._all_asked, now, in_company=others)
        if wait == 0 or (wait is not None and self._closed is not None):
            background = self._background.take(now)
            taken.append(WaitingUpdate(0.0, 0, background, _BACKGROUND, _SMALL, 0))  # first, so that it's surely done
        if not others:
            return taken
        changes, size, all_small = settings.MAX_GROUP_CHANGES, settings.MAX_GROUP_BYTES, True
        while (first := waiting.first) is not None and len(taken) < MOST_UPDATES:
            small = first.cost <= _SMALL
            changes -= first.changes
            size -= first.cost
            held = now < self._held_until and first.sender is not ITSELF
            if taken and (changes < 0 or size < 0 or (not small and (all_small or held))):
                break
            all_small = all_small and small
            taken.append(waiting.take())
            self._drop_gone()
        return taken

    def _committed(self, updates: Sequence[_U]) -> Committed:
        try:
            return self._commit(updates)
        except Exception:  # noqa: BLE001  # else the thread would end, and no update would be answered any more
            return Committed([Failure()] * len(updates))


def _is_a_client(sender: Sender) -> bool:
    return sender is not ITSELF
