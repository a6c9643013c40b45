"""Turns of changes of the cluster state: one at a time, and fair between those who ask for them.

A change takes as long as a disk takes to sync, or as etcd's members to agree. Whoever asks for hundreds of them would
have all others wait behind those.

Rules:

- the bootstrap's own changes come before all others: a primary that is lost, or a move that is to be decided, waits for
  one change at the most;
- of the others those come first of addresses, and in these of connections, that have had least time
  (`pyshard.server.fair_queue`);
- what one asks for is done in the order in which it came;
- what a change takes counts among what its address has of the bootstrap's time (`pyshard.server.serving_turns`). While
  others ask anything, be it only for the map, that address's next change waits until it has time again. So the part
  of the time that changes have doesn't depend on how many are asked for, nor over how many connections;
- what a peer has asked for that is gone isn't begun any more;
- so many wait, and those of one address are at most half of what the others leave free (`Overloaded`);
- what is done at once, such as a refusal for time that has passed, is done some at a time.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, Protocol, TypeVar

from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

from pyshard.errors import Overloaded, Unavailable
from pyshard.server.fair_queue import FairGroups
from pyshard.server.peer_class import CREDIT
from pyshard.settings import settings

_T = TypeVar("_T")

_AT_ONCE = 20  # things that are done in one turn of the reactor: some milliseconds
_ELSEWHERE = 0.002  # seconds in a thread that count at the most: beyond that a change waits for a disk, or for etcd


class Asker(Protocol):
    """A connection over which something is asked for.

    :ivar id: no other connection has it.
    :ivar origin: what counts as the address that it comes from.
    """

    id: str
    origin: str

    @property
    def ended(self) -> bool:
        """Whether nobody hears an answer any more."""
        ...

    @property
    def debt(self) -> float:
        """Seconds that its address has yet to wait for what was done for it; 0 while no others ask."""
        ...

    def count_elsewhere(self, used: float) -> None:
        """Count seconds that were spent for it while it wasn't being served."""
        ...


class _Waiting(NamedTuple, Generic[_T]):
    """What waits for its turn."""

    asker: Asker | None
    work: Callable[[], Deferred[_T]]
    done: Deferred[_T]


class ChangeTurns:
    """Does one thing at a time.

    :param clock: the reactor: measures what each takes, and calls back in its next turn.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._own: deque[_Waiting[Any]] = deque()
        self._asked: dict[str, deque[_Waiting[Any]]] = {}  # by the connection's id
        self._askers: FairGroups[str, str] = FairGroups(CREDIT)
        self._waiting_of: Counter[str] = Counter()  # by the address
        self._one_of: dict[str, Asker] = {}  # one connection of each address of which anything waits
        self._served: Asker | None = (
            None  # whose question is being served: what is done for it just now is counted there
        )
        self._next: IDelayedCall | None = None  # when the first address has time again, of those that wait for that
        self._busy = self._begins = self._pauses = False

    def run(self, work: Callable[[], Deferred[_T]], asker: Asker | None = None) -> Deferred[_T]:
        """Have something done when it is its turn.

        :param asker: who asks for it; None: the bootstrap itself.
        :return: a Deferred of its outcome.
        :raises Unavailable: (in the Deferred) whoever asked for it was gone before it was begun.
        :raises Overloaded: (in the Deferred) too much waits already.
        """
        if asker is not None and (waits := self._waiting_of[asker.origin]) >= settings.MAX_WAITING_CHANGES - (
            self._waiting_of.total()
        ):
            return fail(
                Overloaded(
                    f"{waits:,} changes of the cluster wait already that came from this address; make fewer at a time"
                )
            )
        done: Deferred[_T] = Deferred()
        waiting = _Waiting(asker, work, done)
        if asker is None:
            self._own.append(waiting)
        else:
            self._asked.setdefault(asker.id, deque()).append(waiting)
            self._askers.add(asker.id, asker.origin)
            self._waiting_of[asker.origin] += 1
            self._one_of[asker.origin] = asker
        before, self._served = self._served, asker
        try:
            self._go_on()
        finally:
            self._served = before
        return done

    # ------------------------------------------------------------------ inside

    def _go_on(self) -> None:
        if self._begins or self._pauses:  # what was begun was done at once, and the loop below goes on
            return
        self._begins = True
        try:
            for _ in range(_AT_ONCE):
                if self._busy or (waiting := self._take()) is None:
                    return
                self._begin(waiting)
        finally:
            self._begins = False
        self._pauses = True
        self._clock.callLater(0, self._resume)

    def _resume(self) -> None:
        self._pauses = False
        self._go_on()

    def _take(self) -> _Waiting[Any] | None:
        if self._own:
            return self._own.popleft()
        asker = self._askers.take(self._may_begin)
        if asker is None:
            if self._askers:
                self._go_on_later(min(self._one_of[origin].debt for origin in self._askers.waiting_groups()))
            return None
        waiting = self._asked[asker].popleft()
        assert waiting.asker is not None, "the bootstrap's own are elsewhere"
        origin = waiting.asker.origin
        self._waiting_of[origin] -= 1
        if not self._waiting_of[origin]:
            del self._waiting_of[origin], self._one_of[origin]
        if not self._asked[asker]:
            del self._asked[asker]
        else:
            self._askers.add(asker, origin)
        return waiting

    def _may_begin(self, origin: str) -> bool:
        return self._one_of[origin].debt <= 0

    def _go_on_later(self, seconds: float) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next = self._clock.callLater(seconds, self._waited)

    def _waited(self) -> None:
        self._next = None
        self._go_on()

    def _begin(self, waiting: _Waiting[_T]) -> None:
        if waiting.asker is not None and waiting.asker.ended:
            waiting.done.errback(Unavailable("the connection ended before the change began"))
            return
        self._busy = True
        began = self._clock.seconds()
        outcome = maybeDeferred(waiting.work)
        outcome.addBoth(self._ended, waiting, began, max(0.0, self._clock.seconds() - began))

    def _ended(self, outcome: _T | Failure, waiting: _Waiting[_T], began: float, worked: float) -> None:
        asker = waiting.asker
        if asker is not None:
            took = max(worked, self._clock.seconds() - began)
            self._askers.charge(asker.id, asker.origin, took)
            asker.count_elsewhere((0.0 if asker is self._served else worked) + min(took - worked, _ELSEWHERE))
        self._busy = False
        if isinstance(outcome, Failure):
            waiting.done.errback(outcome)
        else:
            waiting.done.callback(outcome)
        self._go_on()
