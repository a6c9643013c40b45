"""Answers that wait until all members of the group have what they saw.

Rules:

- an answer saw all groups up to a number, its own included. It is given when these are committed;
- one that has no group of its own is given only while the primary may answer by leases that are looked at then, after
  what it read was taken: else another primary could have changed that already;
- one that has a group of its own is given only while the group has members enough: else it could be lost with fewer
  machines than was promised;
- a gate goes on under the next ballot, where the same process still leads. Else it ends, and those that wait fail. What
  came of a change is not known then;
- thousands may wait when a lease is back. They pass in order, a few in each turn of the reactor: as many as take
  `settings.SERVED_AT_ONCE`;
- one that is cancelled takes no room any more.

So whoever does something takes the gate first, and asks that gate when it is done: a later one is of another primary's
place, and knows nothing of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from heapq import heappop, heappush

from twisted.internet.defer import Deferred, fail, succeed

from pyshard.errors import OutcomeUnknown, PyshardError
from pyshard.replication.primary_term import PrimaryTerm
from pyshard.settings import settings


class _Waiter(Deferred[None]):
    """Who waits.

    :param seen: the number of the last group that it saw.
    """

    def __init__(self, forget: Callable[[Deferred[None]], None], seen: int) -> None:
        super().__init__(forget)
        self.seen = seen


class AnswerGate:
    """Answers that wait.

    :param term: what the primary knows.
    :param now: seconds of the clock that the term goes by.
    :param advance: lets the term, and the store, know what is committed by now.
    :param later: calls something in the reactor's next turn.
    :ivar seems_leased: whether the primary could answer, as far as leases say, when they were looked at last. Who waits
        before it reads keeps nothing of it; that leases have run out, one read finds out behind itself.
    """

    def __init__(
        self,
        term: PrimaryTerm,
        now: Callable[[], float],
        advance: Callable[[], object],
        later: Callable[[Callable[[], None]], object],
    ) -> None:
        self._term = term
        self._now = now
        self._advance = advance
        self._later = later
        self._numbers: list[int] = []  # a heap: those of the groups for which some wait
        self._uncommitted: dict[int, dict[Deferred[None], bool]] = {}  # number → as they came, and whether one changed
        self._unleased: OrderedDict[Deferred[None], None] = OrderedDict()
        self._too_few: OrderedDict[Deferred[None], None] = OrderedDict()
        self._failing: OrderedDict[Deferred[None], bool] = (
            OrderedDict()
        )  # when the gate has ended: and whether one changed
        self._ended: PyshardError | None = None
        self.seems_leased = False
        self._forgets = self._forget  # one object for all that wait
        self._passing = False  # some pass just now, or in the reactor's next turn

    def __len__(self) -> int:
        """How many wait."""
        uncommitted = sum(map(len, self._uncommitted.values()))
        return uncommitted + len(self._unleased) + len(self._too_few) + len(self._failing)

    def passed(self, seen: int, changed: bool) -> Deferred[None]:
        """Fires when an answer may be given. Whoever waits no more for it cancels it.

        :param seen: the number of the last group that it saw; 0: it saw nothing but what is committed.
        :param changed: whether that is a group of its own.
        :raises OutcomeUnknown: (in the Deferred) it has a group of its own, and the gate has ended.
        :raises PyshardError: (in the Deferred) it has none, and the gate has ended; nothing was changed.
        """
        if self._ended is not None:
            return fail(_why(self._ended, changed))
        if seen > self._term.committed:
            self._advance()
            self.look()  # others may wait for that, and where no replica asks nobody else looks
        if seen <= self._term.committed and (self._term.has_enough if changed else self._is_leased()):
            return succeed(None)
        waiter = _Waiter(self._forgets, seen)
        if seen not in self._uncommitted:
            self._uncommitted[seen] = {}
            heappush(self._numbers, seen)
        self._uncommitted[seen][waiter] = changed
        self.look()
        return waiter

    def look(self) -> None:
        """Let those pass that may by now: more is committed, or a lease is longer."""
        while self._numbers and self._numbers[0] <= self._term.committed:
            for waiter, changed in self._uncommitted.pop(heappop(self._numbers)).items():
                (self._too_few if changed else self._unleased)[waiter] = None
        if not self._passing:
            self._let_pass()

    def go_on(self, term: PrimaryTerm) -> None:
        """Go on under the next ballot, where this process still leads."""
        self._term = term
        self.seems_leased = False

    def end(self, why: PyshardError) -> None:
        """Fail all that wait, and all that come."""
        self._ended = why
        for number in sorted(self._numbers):
            self._failing.update(self._uncommitted[number])
        self._failing.update(dict.fromkeys(self._too_few, True))
        self._failing.update(dict.fromkeys(self._unleased, False))
        self._numbers = []
        for waiting in (self._uncommitted, self._too_few, self._unleased):
            waiting.clear()
        if not self._passing:
            self._let_pass()

    # ------------------------------------------------------------------ inside

    def _let_pass(self) -> None:
        """Let some pass, in order; the others when the reactor has served what there is besides."""
        self._passing, began = True, self._now()
        while self._let_next_pass():
            if self._now() - began >= settings.SERVED_AT_ONCE:
                self._later(self._let_pass)
                return
        self._passing = False

    def _let_next_pass(self) -> bool:
        """Let the next one pass, or fail if the gate has ended; whether there was one."""
        if self._failing:
            assert self._ended is not None
            waiter, changed = self._failing.popitem(last=False)
            waiter.errback(_why(self._ended, changed))
        elif self._too_few and self._term.has_enough:
            self._too_few.popitem(last=False)[0].callback(None)
        elif self._unleased and self._is_leased():
            self._unleased.popitem(last=False)[0].callback(None)
        else:
            return False
        return True

    def _is_leased(self) -> bool:
        self.seems_leased = leased = self._term.may_answer(self._now())
        return leased

    def _forget(self, waiter: Deferred[None]) -> None:
        """Nobody waits for one any more. Its number stays until it is committed: groups are few."""
        assert isinstance(waiter, _Waiter)
        self._uncommitted.get(waiter.seen, {}).pop(waiter, None)
        for waiting in (self._unleased, self._too_few, self._failing):
            waiting.pop(waiter, None)


def _why(error: PyshardError, changed: bool) -> PyshardError:
    return OutcomeUnknown(f"it was done, but not all replicas may have it: {error}") if changed else error
