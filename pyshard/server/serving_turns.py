"""Whose boxes a daemon serves now, and whose connection waits for others: fair between connections and addresses.

A *box* is one AMP message. A *round* is one iteration of the reactor's loop: boxes are served for a bounded time in it.

Rules:

- While little is asked, a box is served at once. A connection that has more than the round's time then waits, and
  is read from once more at the most.
- In each later round those that wait are served, first the connection that has used least time
  (`pyshard.server.fair_queue`), each with one box or a short slice of time. If one still has more, it waits again.
- A round is short once somebody has more than a slice and waits again, so that the reactor reads soon what others ask.
  It is longer while all that wait have one box each: so hundreds of clients are served in one round.
- While several addresses ask, none has more than its share of the time (`pyshard.server.address_time_shares`). Until it
  has some again, nothing is read from its connections. One that has had little is served at once.
- Each address has two shares: one for its connections with boxes that take long, one for the others. All long boxes of
  a round together are bounded.
- A box that is larger than any that took a short time over its connection counts as one that takes long. So nobody
  has long boxes served as short ones by connecting anew for each.
- A connection whose peer has ended it while it waited is ended when it would be its turn.
- Peers that have shown no token yet come last, but always get a small part, since everybody begins as one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.server.address_time_shares import ALIKE, SHORT, AddressShares, BoxTimes
from pyshard.server.fair_queue import FairGroups
from pyshard.server.served_connection import Served
from pyshard.settings import settings

_CREDIT = 0.02  # seconds by which a peer that has asked little may be ahead of those that ask all the time
_WATCHED = 0.1  # seconds after a long box in which it is measured how much of the processor each takes
_LONGEST = 1.0  # seconds that a slice counts at the most, since the clock may have been set
_LONG_IN_TURN = 0.002  # seconds after which no more long boxes are begun in a turn while several accounts ask
_TURN = 0.0005  # seconds after which a turn of the reactor counts as over where they aren't numbered


_S = TypeVar("_S", bound=Served)


class _Class(Generic[_S]):
    """Peers of one class: those with a role, or strangers.

    :param at_once: seconds for which they are served at once, until the reactor's next turn.
    :param in_turn: seconds for which one that waits is served.
    :ivar left: what is left of `at_once`; 0 while anybody waits.
    """

    def __init__(self, at_once: float, in_turn: float) -> None:
        self.at_once = self.left = at_once
        self.in_turn = in_turn
        self.waiting: FairGroups[_S, str] = FairGroups(_CREDIT)


class ServingTurns(Generic[_S]):
    """Serves the boxes of all connections of one daemon.

    :param clock: the reactor: measures how long boxes take, and calls back in its next turn.
    :param turn: the number of the reactor's turn; without it, time is divided into turns.
    :param processor: seconds of a processor that this thread has had. Where others want it, too, a short box may seem
        to take long.
    """

    def __init__(
        self,
        clock: IReactorTime,
        turn: Callable[[], int] | None = None,
        processor: Callable[[], float] = time.thread_time,
    ) -> None:
        self._clock = clock
        self._processor = processor
        self._turn = turn or (lambda: int(clock.seconds() / _TURN))
        self._known: _Class[_S] = _Class(settings.SERVED_AT_ONCE, settings.SERVED_SLICE)
        self._strangers: _Class[_S] = _Class(settings.STRANGERS_SERVED, settings.STRANGERS_SERVED)
        self._shares = AddressShares()
        self._box_times: dict[_S, BoxTimes] = {}  # of those that have had a long box
        self._watched_until = 0.0
        self._long_turn = -1  # the turn in which long boxes were served last
        self._long_used = 0.0  # seconds of these
        self._in_line: dict[_S, str] = {}  # those that wait, and for which account
        self._unread: set[_S] = set()  # those of which nothing is read until their turn
        self._read_on: set[str] = set()  # accounts of which one such connection is read in this turn
        self._turn_of: _S | None = None
        self._waits_again = False  # whether that one has more than its slice
        self._next: IDelayedCall | None = None
        self._counted = 0.0  # seconds of serving that were counted since a connection is being read

    def reading(self, connection: _S, read: Callable[[], object]) -> Callable[[], object]:
        """What a connection's reading is to be, so that its address has no more than its share of the time.

        :param read: reads, and has `serve` called for what has come.
        """
        shares, clock = self._shares, self._clock

        def read_in_turn() -> object:
            if not shares.contended:  # `serve` counts enough to notice when another address asks
                return read()
            account, began = connection.account or self._first_account(connection), clock.seconds()
            if shares.room(account, began, self._turn()) <= 0:
                connection.wait_unread()
                self._unread.add(connection)
                self._wait_in_line(connection)
                return None
            self._counted = 0.0
            result = read()
            now = clock.seconds()
            rest = now - began - self._counted
            if rest > 0:
                shares.charge(connection.account, rest, now, self._turn(), 0)
            return result

        return read_in_turn

    def writing(self, connection: _S, write: Callable[[], object]) -> Callable[[], object]:
        """What a connection's writing is to be, so that the time that it takes is counted."""

        def write_counted() -> object:
            if not self._shares.contended:
                return write()
            began = self._clock.seconds()
            result = write()
            self.count(connection.account or connection.origin, self._clock.seconds() - began)
            return result

        return write_counted

    def count(self, origin: str, used: float) -> None:
        """Count time that was spent for an address in another way."""
        self._shares.charge(origin, used, self._clock.seconds(), self._turn(), 0)

    def count_elsewhere(self, connection: _S, used: float, boxes: float = 1) -> None:
        """Count time of a processor that another thread spent on boxes of a connection, which may have ended.

        :param boxes: how many alike ones would have taken that.
        """
        account, now = connection.account or connection.origin, self._clock.seconds()
        if connection.ended:  # nothing is noted of it any more
            account = _long_of(connection.origin) if used >= SHORT * boxes else account
        elif used >= SHORT * boxes or connection in self._box_times:
            account = self._account_of(connection, boxes, now, used)
        self._shares.charge(account, used, now, self._turn(), boxes)

    def debt(self, origin: str) -> float:
        """Seconds that an address has yet to wait for what was done for it; 0 while no others ask."""
        now = self._clock.seconds()
        return max(self._shares.debt(origin, now), self._shares.debt(_long_of(origin), now))

    @property
    def contended(self) -> bool:
        """Whether several accounts are asked for: addresses, or one's long boxes beside its short ones."""
        return self._shares.contended

    def serve(self, connection: _S) -> None:
        """Serve what has come over a connection: now, or when it is its turn."""
        peers = self._strangers if connection.role is None else self._known
        its_turn = connection is self._turn_of
        most = peers.in_turn if its_turn else peers.left
        shares, began = self._shares, connection.heard
        account = connection.account or self._first_account(connection)
        size = connection.unserved_bytes if shares.contended else 0
        if size > connection.short_up_to and account is connection.origin:
            account = connection.account = _long_of(account)
        if shares.contended:  # who has had little needn't wait for those that have had much
            room = shares.room(account, began, self._turn())
            if its_turn or connection.role is None or room == inf:
                most = min(most, room)
            elif account is not connection.origin and self._long_in_turn() >= _LONG_IN_TURN:
                most = 0.0
            else:
                most = room
        if most <= 0:
            self._wait(connection)
            return
        watched = began < self._watched_until
        had = self._processor() if watched else 0.0
        more, used, boxes = True, 0.0, 0
        while more and 0 <= used < most:
            more = connection.serve_next()
            boxes += 1
            used = self._clock.seconds() - began
        used = min(used, _LONGEST) if used >= 0 else most
        if shares.contended or used >= SHORT or account != shares.last or account is not connection.origin:
            self._counted += used
            long = used >= SHORT * boxes
            if long or connection in self._box_times or account is not connection.origin:
                processor = self._processor() - had if watched else 0.0
                account = self._account_of(connection, boxes, began + used, processor, size > connection.short_up_to)
            shares.charge(account, used, began + used, self._turn(), boxes)
            if not long and not more:
                connection.short_up_to = max(connection.short_up_to, size)
            if long:
                self._watched_until = began + used + _WATCHED
                self._long_used = self._long_in_turn() + used
                self._long_turn = self._turn()
        else:  # what `charge` would do, without a call
            shares.last_at = began + used
        if connection.ended:
            self.forget(connection)
        elif its_turn or used >= most:
            peers.waiting.charge(connection, account, used)
        if not its_turn:
            peers.left -= used
            if peers.left < peers.at_once / 2:  # in good time, so that what comes in one turn seldom has to wait
                self._go_on_later()
        if used >= most:
            self._wait(connection)

    def forget(self, connection: _S) -> None:
        """Forget a connection that has ended."""
        self._unread.discard(connection)
        self._box_times.pop(connection, None)
        self._in_line.pop(connection, None)
        for peers in (self._known, self._strangers):  # it may have been noted as each
            for account in (connection.origin, _long_of(connection.origin)):
                peers.waiting.remove(connection, account)

    # ------------------------------------------------------------------ inside

    def _first_account(self, connection: _S) -> str:
        """What a new connection counts for: if its address has had long boxes of late, for one with more of them."""
        long = _long_of(connection.origin)
        connection.account = long if self._shares.average(long, self._clock.seconds()) > 0 else connection.origin
        return connection.account

    def _account_of(self, connection: _S, boxes: float, now: float, used: float, large: bool = False) -> str:
        """What a connection counts for, given the boxes that were just served.

        :param used: seconds of a processor.
        :param large: they were taken for boxes that take long. What had their room must count for them, else boxes that
            aren't alike to the longest would use none of it.
        """
        times = self._box_times.get(connection)
        if times is None:
            times = self._box_times[connection] = BoxTimes()
        times.add(used, boxes, now)
        long, before = _long_of(connection.origin), connection.account
        if times.average >= (SHORT if large else max(SHORT, ALIKE * self._shares.average(long, now))):
            connection.account = long
        else:
            connection.account = connection.origin
            if times.used < SHORT:  # nothing of it counts any more
                del self._box_times[connection]
        self._shares.move(before, connection.account)
        return connection.account

    def _long_in_turn(self) -> float:
        """Seconds of long boxes in this turn."""
        return self._long_used if self._long_turn == self._turn() else 0.0

    def _wait(self, connection: _S) -> None:
        """Have a connection wait, if it has more."""
        if connection.has_unserved:
            connection.wait_for_turn()
            self._wait_in_line(connection)

    def _wait_in_line(self, connection: _S) -> None:
        self._waits_again = self._waits_again or connection is self._turn_of
        peers = self._strangers if connection.role is None else self._known
        account = self._in_line.setdefault(connection, connection.account)
        peers.waiting.add(connection, account)
        peers.left = 0.0
        self._go_on_later()

    def _go_on_later(self, seconds: float = 0) -> None:
        if self._next is not None and seconds < self._next.getTime() - self._clock.seconds():
            self._next.cancel()
            self._next = None
        if self._next is None:
            self._next = self._clock.callLater(seconds, self._go_on)

    def _go_on(self) -> None:
        """Serve those that wait, of each class, for one turn of the reactor."""
        self._next = None
        self._read_on.clear()
        for peers in (self._known, self._strangers):
            began, passed, most = self._clock.seconds(), 0.0, max(peers.at_once / 2, peers.in_turn)
            while 0 <= passed < most and (connection := peers.waiting.take(self._may_be_served)) is not None:
                account = self._in_line.pop(connection, connection.account)  # it may wait in both classes
                if connection.peer_has_ended:
                    connection.end_unserved()
                    passed = self._clock.seconds() - began
                    continue
                self._turn_of, self._waits_again = connection, False
                if connection in self._unread:
                    self._unread.remove(connection)
                    self._read_on.add(account)
                try:
                    connection.take_turn()
                finally:
                    self._turn_of = None
                if self._waits_again or self._long_in_turn() >= _LONG_IN_TURN:
                    most = peers.in_turn
                passed = self._clock.seconds() - began
            if not peers.waiting:
                peers.left = peers.at_once
            elif 0 <= passed < most:  # all that wait have had their share
                self._go_on_later(min(map(self._wait_of, peers.waiting.waiting_groups())))
            else:
                self._go_on_later()

    def _may_be_served(self, account: str) -> bool:
        shares = self._shares
        if not shares.contended:
            return True
        return account not in self._read_on and shares.room(account, self._clock.seconds(), self._turn()) > 0

    def _wait_of(self, account: str) -> float:
        return self._shares.wait(account, self._clock.seconds())


def _long_of(origin: str) -> str:
    """What long boxes of an address are counted for."""
    return f"{origin}, long boxes"
