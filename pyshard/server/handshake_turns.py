"""Which TLS handshake goes on now, so that all of them together have a bounded part of a daemon's time. Pure.

A step of a handshake takes a millisecond or two, and whoever connects may have one. If each address had its own, a few
dozen addresses would have all of the time.

Rules:

- All handshakes of a daemon share one part of the time. After a step the time is left to known clients. How long
  depends on how much they use, and it is four times as long as the step took at the most. So handshakes have a fifth
  beside busy clients, and all of the time while nobody asks.
- Meanwhile handshakes wait, and nothing is read from them. Of those that wait, one is called at a time: of the address
  whose handshakes have had least. So a newcomer's isn't behind those of an address with many.
- One that was called is read before any that hasn't waited.
- In a turn of the reactor few steps are begun.
"""

from __future__ import annotations

from math import exp
from typing import Generic, TypeVar

from pyshard.server.fair_queue import FairGroups
from pyshard.server.served_connection import Served

_MEMORY = 0.1  # seconds in which the time that known clients used loses its weight, to a third
_LEFT = 4.0  # what is left to them: so many times the part of the time that they use
_MOST_LEFT = 0.8
_IN_TURN = 0.0005  # seconds after which no more steps are begun in a turn
_LONGEST = 1.0  # seconds that a step counts at the most, since the clock may have been set

_S = TypeVar("_S", bound=Served)


class HandshakeTurns(Generic[_S]):
    """The handshakes of one daemon. All times are in seconds of one clock.

    :param credit: seconds by which an address that has had no handshake may be ahead of those with many.
    :ivar known: seconds that known clients have used since the last step; who serves them adds to it.
    """

    def __init__(self, credit: float) -> None:
        self._waiting: FairGroups[_S, str] = FairGroups(credit)
        self._called: _S | None = None
        self.known = 0.0
        self._use = 0.0  # seconds that known clients have used of late
        self._counted = 0.0  # when a step was counted last
        self._due = 0.0  # when the next one may be begun
        self._turn = -1  # the turn of the last one
        self._in_turn = 0.0  # seconds of steps in it

    def __bool__(self) -> bool:
        """Whether any wait."""
        return bool(self._waiting)

    def may_go_on(self, connection: _S, now: float, turn: int, spent: bool) -> bool:
        """Whether a handshake may take its next step now; else it is to wait.

        :param turn: the number of the reactor's turn.
        :param spent: whether so much was done in this turn that only one that was called may go on.
        """
        if connection is self._called:
            self._called = None
            return True
        if spent or self._called is not None or self._waiting:
            return False
        return self._has_room(now, turn)

    def wait(self, connection: _S) -> None:
        """Have a handshake wait until it is called."""
        self._waiting.add(connection, connection.origin)

    def count(self, connection: _S, used: float, now: float, turn: int) -> None:
        """Count the seconds that a step took."""
        used = min(used, _LONGEST)
        self._use = self._use * exp(min(0.0, self._counted - now) / _MEMORY) + min(self.known, _LONGEST)
        self._counted, self.known = now, 0.0
        left = min(_MOST_LEFT, _LEFT * self._use / _MEMORY)
        self._due = min(max(self._due, now) + used * left / (1 - left), now + _LONGEST)
        self._in_turn = self._in_turn + used if turn == self._turn else used
        self._turn = turn
        if self._waiting and not connection.ended:  # else it was forgotten
            self._waiting.charge(connection, connection.origin, used)

    def call(self, now: float, turn: int) -> _S | None:
        """Call the one that goes on next, and waits no longer; None: none may, or none waits."""
        self._called = None
        if self._waiting and self._has_room(now, turn):
            self._called = self._waiting.take()
        return self._called

    def seconds_to_wait(self, now: float) -> float:
        """Seconds until another one may be called; 0: in the next turn."""
        return min(max(0.0, self._due - now), _LONGEST)

    def forget(self, connection: _S) -> None:
        """Forget a connection that has ended."""
        self._waiting.remove(connection, connection.origin)
        if connection is self._called:
            self._called = None

    def _has_room(self, now: float, turn: int) -> bool:
        if not self._due - _LONGEST <= now:  # the clock was put back
            self._due = now
        return now >= self._due and (turn != self._turn or self._in_turn < _IN_TURN)
