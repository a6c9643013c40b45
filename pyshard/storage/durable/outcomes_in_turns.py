"""Outcomes of updates on their way to whoever submitted them: some in each turn of the reactor, fair between addresses.

One sync of the disk serves hundreds of updates, and to answer them takes longer than the sync. If all were answered at
once, everybody else would wait for that, and what somebody else had committed would be answered behind it.

Rules:

- one outcome of each address is handed out, then the next one of each: nobody waits for all that another address has.
  Those of large things and of small ones count apart, as in `pyshard.server.address_time_shares`;
- outcomes of one address are handed out in the order in which they were committed, each kind for itself;
- an address that leaves its time to others has one outcome, and the next one when it does so no longer. It doesn't rest
  at the end, nor while the writer's thread waits until enough is handed out, as all others would wait for it then;
- after a short time the others wait for the reactor's next turn. It is longer while one address asks alone;
- an outcome is let go when it is handed out, though others wait that were committed with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred

from pyshard.storage.durable.fair_update_queue import WaitingUpdate
from pyshard.storage.durable.submitted_updates import SubmittedUpdate, fire
from pyshard.storage.interface import Sender

_ALONE = 0.002  # seconds of a turn in which outcomes are handed out while one address asks alone
_BESIDE = 0.00005  # the same while several ask: one or two


class _Group:
    """Outcomes that were committed together: how many of them wait, and what is to be called when none does."""

    __slots__ = ("all_out", "left")

    def __init__(self, left: int, all_out: Callable[[], object]) -> None:
        self.left, self.all_out = left, all_out


class _WaitingOutcome(NamedTuple):
    sender: Sender
    answered: Deferred[Any]
    outcome: object
    group: _Group


class OutcomesInTurns:
    """Outcomes that wait to be handed out. All methods are the reactor's thread's.

    :param call_soon: has a function called in the reactor's next turn.
    :param several_ask: whether several addresses ask now.
    :param are_awaited: whether the writer's thread waits until enough of them are handed out.
    :param steady: the clock.
    """

    def __init__(
        self,
        call_soon: Callable[..., object],
        several_ask: Callable[[], bool],
        are_awaited: Callable[[], bool],
        steady: Callable[[], float],
    ) -> None:
        self._call_soon = call_soon
        self._several_ask = several_ask
        self._are_awaited = are_awaited
        self._steady = steady
        self._waiting: dict[str, deque[_WaitingOutcome]] = {}  # by account
        self._resting: dict[str, deque[_WaitingOutcome]] = {}  # the same of addresses that leave their time to others
        self._scheduled = False
        self._when_all_out: list[Callable[[], object]] = []

    def hand_out(
        self,
        done: Sequence[WaitingUpdate[SubmittedUpdate[Any]]],
        outcomes: list[object],
        all_out: Callable[[], object],
    ) -> None:
        """Hand out the outcomes of updates that were committed together, now or in later turns.

        :param outcomes: of each update; the list is empty then, so that it keeps none of them.
        :param all_out: is called when all of them are handed out.
        """
        outcomes.reverse()
        alone = not (self._waiting or self._resting or self._several_ask())
        if alone:
            self._hand_out_alone(done, outcomes)
        if not outcomes:
            all_out()
            return
        group = _Group(len(outcomes), all_out)
        for committed in done[-len(outcomes) :]:
            sender, account = committed.sender, committed.sender.account
            of_account = self._resting.get(account) or self._waiting.get(account)
            if of_account is None:
                of_account = self._waiting[account] = deque()
            of_account.append(_WaitingOutcome(sender, committed.update.answered, outcomes.pop(), group))
        if self._are_awaited():
            self._end_all_rests()
        if alone and not self._scheduled:  # this turn has had its part
            self._scheduled = True
            self._call_soon(self._hand_out_some)
        else:
            self._go_on()

    def when_all_out(self, function: Callable[[], object]) -> None:
        """Have a function called when nothing waits any more, which may be now. Nobody rests until then."""
        self._when_all_out.append(function)
        self._end_all_rests()
        self._go_on()

    def _hand_out_alone(self, done: Sequence[WaitingUpdate[SubmittedUpdate[Any]]], outcomes: list[object]) -> None:
        """Hand out what has room in a turn as it is, where nothing else waits: without a place for each of them."""
        until = self._steady() + _ALONE
        for committed in done:
            fire(committed.update.answered, outcomes.pop())
            if self._steady() > until:
                return

    def _go_on(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._hand_out_some()

    def _hand_out_some(self) -> None:
        began, several = self._steady(), self._several_ask()
        most = _BESIDE if several else _ALONE
        while self._waiting:
            for account in list(self._waiting):
                self._hand_out_one(account, several and not self._when_all_out)
            if self._waiting and not 0 <= self._steady() - began < most:
                self._call_soon(self._hand_out_some)
                return
        self._scheduled = False
        if not self._resting:
            due, self._when_all_out = self._when_all_out, []
            for function in due:
                function()

    def _hand_out_one(self, account: str, may_rest: bool) -> None:
        waiting = self._waiting[account]
        sender, answered, outcome, group = waiting.popleft()
        if not waiting:
            del self._waiting[account]
        group.left -= 1
        fire(answered, outcome)
        if not group.left:
            group.all_out()
        if may_rest and waiting and not self._are_awaited() and sender.rests(partial(self._end_rest, account)):
            self._resting[account] = self._waiting.pop(account)

    def _end_all_rests(self) -> None:
        self._waiting.update(self._resting)
        self._resting.clear()

    def _end_rest(self, account: str) -> None:
        if account in self._resting:
            self._waiting[account] = self._resting.pop(account)
            self._go_on()
