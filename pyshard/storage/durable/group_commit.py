"""Group commit: one thread takes all updates that wait, and commits and answers together as many as may be.

One sync of the disk serves all of these, however many they are. What commits them is given, and may be anything.

Rules:

- updates of one sender are committed in the order in which they were submitted. Whose are next, how many small ones are
  committed together, and when a large one is: see `fair_update_queue`, `small_groups` and `large_groups` beside this;
- a large update isn't committed together with small ones that come before it, since these would wait for its work.
  Small ones behind it go with it, or before it while it has to wait;
- the store's own background work has a bounded part of the time (`pyshard.storage.durable.background_updates`);
- the Deferred of an update fires in the reactor's thread, after all updates that were committed with it; some in each
  turn (`pyshard.storage.durable.outcomes_in_turns`);
- a commit may do only the first of the updates that it is given: the outcomes of these are handed to the reactor
  before anything else is committed, and the others keep their places;
- the bytes of outcomes that are handed out and not taken yet are bounded: the thread may be quicker than the reactor;
- the bytes that wait are bounded (`Overloaded`), also for senders that are gone;
- updates of a sender that is gone aren't begun any more (`Unavailable`): they are dropped when it is their turn;
- the changes and the bytes that are committed together are bounded; an update that has more is committed alone;
- the processor's time that updates take is told to their senders, whose share of the daemon's time it counts in;
- closing commits what still waits, unless it was refused before (`refuse_waiting`): then only what is being committed
  and the store's own updates are, and what was refused (`ShuttingDown`) never is;
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeAlias, TypeVar

from twisted.internet.defer import Deferred, fail, succeed
from twisted.python.failure import Failure

from pyshard.clocks import steady_seconds
from pyshard.errors import Unavailable
from pyshard.metrics.collector_time import COLLECTOR_TIME
from pyshard.metrics.commit_counts import CommitCounts
from pyshard.settings import settings
from pyshard.storage.durable.background_updates import BackgroundUpdates
from pyshard.storage.durable.fair_update_queue import LEAST_COST, SMALL, UpdateQueue, WaitingUpdate, count_seconds
from pyshard.storage.durable.large_groups import LargeGroups
from pyshard.storage.durable.outcomes_in_turns import OutcomesInTurns
from pyshard.storage.durable.small_groups import SmallGroups
from pyshard.storage.durable.submitted_updates import SubmittedUpdate, fire, refuse, shutting_down
from pyshard.storage.durable.waiting_bytes import WaitingBytes
from pyshard.storage.interface import ITSELF, Sender

_U = TypeVar("_U")
_T = TypeVar("_T")
_Waiting: TypeAlias = WaitingUpdate[SubmittedUpdate[_U]]

_BACKGROUND = Sender("", "background")

#: Seconds for which this thread may compute before the reactor's thread has its turn. Python's own 5 ms would be
#: added to all that others ask while a group is made; if nobody asks, more switches would cost a few percent.
_SWITCH_BESIDE_OTHERS = 0.0005


class Committed(NamedTuple):
    """What became of some updates.

    :param outcomes: of each that was committed, from the front on; one at the least: a result, or a Failure.
    :param size: bytes that these outcomes keep.
    :param background: seconds of the thread that background work took, or had others take.
    :param deferred: seconds of a processor that later updates bear; less than 0: these bear so much of former ones'.
    """

    outcomes: list[object]
    size: int = 0
    background: float = 0.0
    deferred: float = 0.0


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
        self._background: BackgroundUpdates[SubmittedUpdate[_U]] = BackgroundUpdates()
        self._all_asked = 0  # all things that were asked for, but for background work
        self._switch_interval = sys.getswitchinterval()
        self._call_from_thread = call_from_thread
        self._waiting: UpdateQueue[SubmittedUpdate[_U]] = UpdateQueue()
        self._bytes = WaitingBytes(settings.MAX_COMMIT_BYTES)  # what isn't answered; only the reactor's thread uses it
        self._small, self._large = SmallGroups(), LargeGroups()
        self._handed = self._received = 0  # bytes of outcomes: the thread counts these, the reactor those it took
        self._changed = threading.Condition()
        self._closed: Deferred[None] | None = None
        self._refuses = False  # whatever senders have waiting
        self._dropped: list[_Waiting[_U]] = []  # of senders that are gone
        self._thread: threading.Thread | None = None
        self._outcomes = OutcomesInTurns(
            call_from_thread or (lambda function, *arguments: function(*arguments)),
            lambda: self._small.several_ask_soon(steady()),
            self._are_many_handed,
            steady,
        )
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
        if weight and (refused := self._bytes.refusal(sender.address, weight)) is not None:
            return fail(refused)
        self._all_asked += 1
        answered, cost = Deferred[Any](), weight + copied
        now = self._steady()
        if cost <= SMALL:
            self._large.ask(sender, now)
        if weight and self._call_from_thread is not None:
            self._bytes.add(sender.address, weight)
            answered.addBoth(self._subtract_weight, sender.address, weight)
        first = sender is ITSELF and self._large.comes_first(cost, LEAST_COST, now)

        def add(submitted: SubmittedUpdate[_U]) -> None:
            self._small.submit(sender.address, now)
            self._waiting.add(submitted, sender, cost, changes, first)

        return self._submit(SubmittedUpdate(update, answered), add)

    def hold_large(self, seconds: float) -> None:
        """Begin no large update of others for so long; 0: go on with them."""
        with self._changed:
            self._large.hold(self._steady() + seconds)
            self._changed.notify()

    def several_ask(self, within: float) -> bool:
        """Whether several addresses have asked in so many seconds."""
        return self._small.several_ask(self._steady(), within)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of updates that aren't answered yet."""
        return self._bytes.total

    def submit_background(self, update: _U) -> Deferred[Any]:
        """Have an update of the store's own background work committed, when that has time; see `submit`."""
        return self._submit(SubmittedUpdate(update, Deferred()), self._background.add)

    def ask(self, sender: Sender) -> None:
        """Note that something small was asked for, which large updates of others are to leave time to."""
        self._all_asked += 1
        now = self._steady()
        self._large.ask(sender, now)
        self._small.ask(sender.address, now)

    def _submit(self, submitted: SubmittedUpdate[_U], add: Callable[[SubmittedUpdate[_U]], None]) -> Deferred[Any]:
        """Have an update wait where `add` puts it."""
        if self._call_from_thread is None:
            fire(submitted.answered, self._committed([submitted.update]).outcomes[0])
            return submitted.answered
        with self._changed:
            add(submitted)
            self._changed.notify()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="pyshard-writer", daemon=True)
            self._thread.start()
        return submitted.answered

    def _subtract_weight(self, outcome: _T, address: str, weight: int) -> _T:
        self._bytes.add(address, -weight)
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
        if self._thread is None:
            self._finish()
            return succeed(None)
        closed: Deferred[None] = Deferred()
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
                self._call_from_thread(self._outcomes.when_all_out, partial(closed.callback, None))
                return
            if not taken:
                continue
            large = taken[0] if taken[0].cost > SMALL else None
            began = self._steady()
            beside_others = self._small.several_ask_soon(began) if large is None else self._large.begin(large.sender)
            sys.setswitchinterval(_SWITCH_BESIDE_OTHERS if beside_others else self._switch_interval)
            outcomes, size, background, deferred = self._committed([waiting.update.update for waiting in taken])
            had, before, now = self._processor(), had, self._steady()
            if large is not None:
                self._large.end(began, now)
            self._background.count(background, now)
            self.commits.add(sum(not isinstance(outcome, Failure) for outcome in outcomes), now - began)
            done = taken[: len(outcomes)]
            queued = done[1:] if done[0].sender is _BACKGROUND else done
            with self._changed:
                if large is None:
                    self._small.commit((waiting.sender.address for waiting in done), began, now)
                self._waiting.put_back(taken[len(done) :])
                self._waiting.done(queued)
                refused = self._waiting.take_all_of(_is_a_client) if self._refuses else []
            self._handed += size
            others = self._large.commit(done)
            self._call_from_thread(self._hand_out, done, outcomes, size, had - before - deferred, others)
            if refused:
                self._call_from_thread(refuse, refused, shutting_down())
            del outcomes, taken, done, refused  # they may be large, and are the reactor's now

    def _hand_out(
        self, done: Sequence[_Waiting[_U]], outcomes: list[object], size: int, seconds: float, of_others: bool
    ) -> None:
        """Answer updates, and have the time that they took counted for their senders; in the reactor's thread."""
        count_seconds(done, seconds)
        if of_others:
            self._large.answer(self._steady())
        if self._small.knows_several:
            self._small.answer([waiting.sender.address for waiting in done], self._steady())
        self._outcomes.hand_out(done, outcomes, partial(self._receive, size))

    def _receive(self, size: int) -> None:
        """Note that all outcomes of a group are handed out; in the reactor's thread."""
        before = self._received
        self._received = before + size  # first, so that the thread sees it if it looks behind the next line
        if self._handed - before > settings.MAX_GROUP_BYTES:  # else the thread doesn't wait, and to wake it costs much
            with self._changed:
                self._changed.notify()

    def _are_many_handed(self) -> bool:
        """Whether nothing more is to be committed before the reactor's thread has taken some outcomes."""
        return self._handed - self._received > settings.MAX_GROUP_BYTES

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
        now = self._steady()
        if (first := self._to_commit(now)) is None or self._closed is not None:
            return None if first is None else 0.0
        if first.cost <= SMALL:
            return self._small.remaining(len(self._waiting), now)
        return self._large.remaining(first.sender, now)

    def _to_commit(self, now: float) -> _Waiting[_U] | None:
        """What is to be committed next: the first update, or while that is large and waits, a small one of others."""
        if (first := self._waiting.first) is None or first.cost <= SMALL or self._closed is not None:
            return first
        return first if self._large.remaining(first.sender, now) <= 0 else self._waiting.first_small or first

    def _drop_gone(self) -> None:
        """Drop updates of senders that are gone, until the first one is of somebody who is there."""
        while (first := self._to_commit(self._steady())) is not None and first.sender.gone():
            dropped = self._waiting.take(first)
            self._waiting.done([dropped])
            self._dropped.append(dropped)

    def _take(self) -> list[_Waiting[_U]]:
        """Take what is committed together next. The caller holds the lock."""
        waiting = self._waiting
        taken: list[_Waiting[_U]] = []
        others, now = self._first_waits() == 0, self._steady()
        wait = self._background.remaining(self._all_asked, now, in_company=others)
        if wait == 0 or (wait is not None and self._closed is not None):
            background = self._background.take(now)
            taken.append(WaitingUpdate(0.0, 0, background, _BACKGROUND, SMALL, 0))  # first, so that it's surely done
        if not others:
            return taken
        changes, size, all_small = settings.MAX_GROUP_CHANGES, settings.MAX_GROUP_BYTES, True
        most = self._small.most(now)
        while (first := self._to_commit(now)) is not None and len(taken) < most:
            small = first.cost <= SMALL
            changes, size = changes - first.changes, size - first.cost
            held = self._large.is_held(first.sender, now)
            if taken and (changes < 0 or size < 0 or (not small and (all_small or held))):
                break
            all_small = all_small and small
            taken.append(waiting.take(first))
            self._drop_gone()
        return taken

    def _committed(self, updates: Sequence[_U]) -> Committed:
        try:
            return self._commit(updates)
        except Exception:  # noqa: BLE001  # else the thread would end, and no update would be answered any more
            return Committed([Failure()] * len(updates))


def _is_a_client(sender: Sender) -> bool:
    return sender is not ITSELF
