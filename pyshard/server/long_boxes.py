"""Which connections have boxes that take long, and how much of a turn such things have had. Pure.

A connection has an account at `pyshard.server.address_time_shares`: that of its address, or that of its address's long
boxes. Reads and writes that take long count as a long box does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from pyshard.server.address_time_shares import ALIKE, LONG, SHORT, AddressShares, BoxTimes
from pyshard.server.served_connection import Served

_IN_TURN = 0.002  # seconds after which no more long things are begun in a turn while several accounts ask

_S = TypeVar("_S", bound=Served)


class LongBoxes(Generic[_S]):
    """The long boxes of one daemon. All times are in seconds of one clock.

    :param shares: those of all addresses.
    :param turn: the number of the reactor's turn.
    :ivar times: how long the boxes of a connection take, of those that have had a long one.
    """

    def __init__(self, shares: AddressShares, turn: Callable[[], int]) -> None:
        self._shares = shares
        self._turn = turn
        self.times: dict[_S, BoxTimes] = {}
        self._last_turn = -1  # the turn in which something took long last
        self._used = 0.0  # seconds of that

    def add(self, used: float) -> None:
        """Count seconds of this turn for something that took long."""
        turn = self._turn()
        self._used = self._used + used if self._last_turn == turn else used
        self._last_turn = turn

    @property
    def turn_is_spent(self) -> bool:
        """Whether no more of them are to be begun in this turn."""
        return self._used >= _IN_TURN and self._last_turn == self._turn()

    def first_account(self, connection: _S, now: float) -> str:
        """What a new connection counts for: if its address has had long boxes of late, for one with more of them."""
        long = long_of(connection.origin)
        connection.account = long if self._shares.average(long, now) > 0 else connection.origin
        return connection.account

    def account_of(self, connection: _S, boxes: float, now: float, used: float, large: bool = False) -> str:
        """What a connection counts for, given the boxes that were just served.

        :param used: seconds of a processor.
        :param large: they were taken for boxes that take long. What had their room must count for them, else boxes that
            aren't alike to the longest would use none of it.
        """
        times = self.times.get(connection)
        if times is None:
            times = self.times[connection] = BoxTimes()
        times.add(used, boxes, now)
        long, before = long_of(connection.origin), connection.account
        if times.average >= (SHORT if large else max(SHORT, ALIKE * self._shares.average(long, now))):
            connection.account = long
        else:
            connection.account = connection.origin
            if times.used < SHORT:  # nothing of it counts any more
                del self.times[connection]
        self._shares.move(before, connection.account)
        return connection.account


def long_of(origin: str) -> str:
    """What long boxes of an address are counted for."""
    return f"{origin}{LONG}"


def is_long(account: str) -> bool:
    """Whether it is what long boxes are counted for."""
    return account.endswith(LONG)
