"""Turns of a daemon's connections: whose boxes are served now, and who waits until the others have had their share.

Rules:

- While little is asked, a box is served at once.
- In one turn of the reactor boxes are served at once for a bounded time. Whoever has more then waits for its turn, and
  nothing more is read from it meanwhile.
- Those that wait are served in later turns, the one first that has used least (`pyshard.server.fair_queue`). Whoever
  hasn't done with one box, or a slice of time, waits again. Then this turn ends, and the reactor reads what others ask.
- While several addresses ask, none has more than its share (`pyshard.server.address_shares`). Before it has some again,
  nothing is read from its connections.
- Hundreds of clients that ask one thing at a time don't cost a turn each. While nobody waits again, a turn is longer.
- Peers without a role come behind those that have one. They get a small part of each turn in any case, since whoever
  has a token is a stranger at first.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Generic, Protocol, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.security.tokens_and_roles import Role
from pyshard.server.address_shares import SHORT, AddressShares
from pyshard.server.fair_queue import FairGroups
from pyshard.settings import settings

_CREDIT = 0.02  # seconds by which a peer that has asked little may be ahead of those that ask all the time
_LONGEST = 1.0  # seconds that a slice counts at the most, since the clock may have been set
_TURN = 0.0005  # seconds after which a turn of the reactor counts as over where they aren't numbered


class Served(Protocol):
    """A connection as it is served.

    :ivar role: what the peer may do; None: it is a stranger.
    :ivar origin: what counts as the address that the peer comes from; whoever has the same shares its time.
    :ivar heard: when what is to be served was given to `ServingTurns.serve`, in the clock's seconds.
    """

    role: Role | None
    origin: str
    heard: float

    def __hash__(self) -> int: ...

    @property
    def has_unserved(self) -> bool:
        """Whether more has come that could be served now."""
        ...

    def serve_next(self) -> bool:
        """Serve one box, if there is one; whether there may be another."""
        ...

    def wait_for_turn(self) -> None:
        """Serve and read nothing until `take_turn`."""
        ...

    def wait_unread(self) -> None:
        """Serve nothing and read nothing at all until `take_turn`."""
        ...

    def take_turn(self) -> None:
        """Give what has come to `ServingTurns.serve` again, and read on."""
        ...


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
    """

    def __init__(self, clock: IReactorTime, turn: Callable[[], int] | None = None) -> None:
        self._clock = clock
        self._turn = turn or (lambda: int(clock.seconds() / _TURN))
        self._known: _Class[_S] = _Class(settings.SERVED_AT_ONCE, settings.SERVED_SLICE)
        self._strangers: _Class[_S] = _Class(settings.STRANGERS_SERVED, settings.STRANGERS_SERVED)
        self._shares = AddressShares()
        self._unread: set[_S] = set()  # those of which nothing is read until their turn
        self._read_on: set[str] = set()  # addresses of which one such connection is read in this turn
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
            origin, began = connection.origin, clock.seconds()
            if shares.room(origin, began, self._turn()) <= 0:
                connection.wait_unread()
                self._unread.add(connection)
                self._wait_in_line(connection)
                return None
            self._counted = 0.0
            result = read()
            now = clock.seconds()
            rest = now - began - self._counted
            if rest > 0:
                shares.charge(origin, rest, now, self._turn())
            return result

        return read_in_turn

    def writing(self, connection: _S, write: Callable[[], object]) -> Callable[[], object]:
        """What a connection's writing is to be, so that the time that it takes is counted."""

        def write_counted() -> object:
            if not self._shares.contended:
                return write()
            began = self._clock.seconds()
            result = write()
            self.count(connection.origin, self._clock.seconds() - began)
            return result

        return write_counted

    def count(self, origin: str, used: float) -> None:
        """Count time that was spent for an address in another way."""
        self._shares.charge(origin, used, self._clock.seconds(), self._turn())

    def debt(self, origin: str) -> float:
        """Seconds that an address has yet to wait for what was done for it; 0 while no others ask."""
        return self._shares.debt(origin, self._clock.seconds())

    @property
    def contended(self) -> bool:
        """Whether several addresses ask."""
        return self._shares.contended

    def serve(self, connection: _S) -> None:
        """Serve what has come over a connection: now, or when it is its turn."""
        peers = self._strangers if connection.role is None else self._known
        its_turn = connection is self._turn_of
        most = peers.in_turn if its_turn else peers.left
        shares, origin, began = self._shares, connection.origin, connection.heard
        if shares.contended:  # who has had little needn't wait for those that have had much
            room = shares.room(origin, began, self._turn())
            most = min(most, room) if its_turn or connection.role is None or room == inf else room
        if most <= 0:
            self._wait(connection)
            return
        more, used, boxes = True, 0.0, 0
        while more and 0 <= used < most:
            more = connection.serve_next()
            boxes += 1
            used = self._clock.seconds() - began
        used = min(used, _LONGEST) if used >= 0 else most
        if shares.contended or used >= SHORT or origin != shares.last:
            self._counted += used
            shares.charge(origin, used, began + used, self._turn(), boxes)
        else:  # what `charge` would do, without a call
            shares.last_at = began + used
        if its_turn or used >= most:
            peers.waiting.charge(connection, origin, used)
        if not its_turn:
            peers.left -= used
            if peers.left < peers.at_once / 2:  # in good time, so that what comes in one turn seldom has to wait
                self._go_on_later()
        if used >= most:
            self._wait(connection)

    def forget(self, connection: _S) -> None:
        """Forget a connection that has ended."""
        self._unread.discard(connection)
        for peers in (self._known, self._strangers):
            peers.waiting.remove(connection, connection.origin)

    # ------------------------------------------------------------------ inside

    def _wait(self, connection: _S) -> None:
        """Have a connection wait, if it has more."""
        if connection.has_unserved:
            connection.wait_for_turn()
            self._wait_in_line(connection)

    def _wait_in_line(self, connection: _S) -> None:
        self._waits_again = self._waits_again or connection is self._turn_of
        peers = self._strangers if connection.role is None else self._known
        peers.waiting.add(connection, connection.origin)
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
                self._turn_of, self._waits_again = connection, False
                if connection in self._unread:
                    self._unread.remove(connection)
                    self._read_on.add(connection.origin)
                try:
                    connection.take_turn()
                finally:
                    self._turn_of = None
                if self._waits_again:
                    most = peers.in_turn
                passed = self._clock.seconds() - began
            if not peers.waiting:
                peers.left = peers.at_once
            elif 0 <= passed < most:  # all that wait have had their share
                self._go_on_later(min(map(self._wait_of, peers.waiting.waiting_groups())))
            else:
                self._go_on_later()

    def _may_be_served(self, origin: str) -> bool:
        shares = self._shares
        if not shares.contended:
            return True
        return origin not in self._read_on and shares.room(origin, self._clock.seconds(), self._turn()) > 0

    def _wait_of(self, origin: str) -> float:
        return self._shares.wait(origin, self._clock.seconds())
