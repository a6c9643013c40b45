"""What is counted of a daemon's time for addresses, beside what their connections' turns take; and which of it is held.

Rules: those of `pyshard.server.address_time_shares`, and which boxes are long says `pyshard.server.long_boxes`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.server.address_time_shares import COMMIT, SHORT, AddressShares
from pyshard.server.long_boxes import LongBoxes, is_long, long_of
from pyshard.server.served_connection import Served

_S = TypeVar("_S", bound=Served)


class CountedTime(Generic[_S]):
    """The time of one daemon.

    :param clock: times all.
    :param turn: the number of the reactor's turn.
    """

    def __init__(self, clock: IReactorTime, turn: Callable[[], int]) -> None:
        self._clock = clock
        self._turn = turn
        self._shares = AddressShares()
        self._long: LongBoxes[_S] = LongBoxes(self._shares, turn)
        self._release: IDelayedCall | None = None  # while boxes that take long are held

    def hold_long(self, seconds: float) -> None:
        """Begin no box that takes long, as far as that is known, for so long; 0: go on with them."""
        if self._release is not None:
            self._release.cancel()
            self._release_long()
        if seconds:
            self._release = self._clock.callLater(seconds, self._release_long)

    def count(self, origin: str, used: float) -> None:
        """Count time that was spent for an address in another way."""
        self._shares.charge(origin, used, self._clock.seconds(), self._turn(), 0)

    def count_elsewhere(self, connection: _S, used: float, boxes: float = 1) -> None:
        """Count time of a processor that another thread spent on boxes of a connection, which may have ended.

        :param boxes: how many alike ones would have taken that.
        """
        account, now, shares = connection.account or connection.origin, self._clock.seconds(), self._shares
        long = used >= SHORT * boxes + COMMIT
        if not (shares.contended or long) and account == shares.last and account is connection.origin:
            shares.last_at = now  # what `charge` would do, without a call
            return
        if connection.ended:  # nothing is noted of it any more
            account = long_of(connection.origin) if long else account
        elif long or connection in self._long.times:
            account = self._long.account_of(connection, boxes, now, max(0.0, used - COMMIT))
        shares.charge(account, used, now, self._turn(), boxes)

    def count_waiting(self, connection: _S, seconds: float) -> None:
        """Count that a connection has waited for the answer to something small that goes on elsewhere."""
        if self._shares.contended:
            self._shares.count_waiting(connection.account or connection.origin, seconds, self._clock.seconds())

    def debt(self, origin: str) -> float:
        """Seconds that an address has yet to wait for what was done for it; 0 while no others ask."""
        now = self._clock.seconds()
        return max(self._shares.debt(origin, now), self._shares.debt(long_of(origin), now))

    def _release_long(self) -> None:
        self._release = None
        self._go_on_later()

    def _holds(self, account: str) -> bool:
        """Whether nothing of an account is begun now."""
        return self._release is not None and is_long(account)

    def _go_on_later(self, seconds: float = 0) -> None:
        """Serve those that wait; a subclass does."""
        raise NotImplementedError

    def _charge_first(self, connection: _S, used: float, boxes: int) -> None:
        """Count what went first for its address."""
        self._shares.charge(connection.origin, used, self._clock.seconds(), self._turn(), boxes)

    @property
    def contended(self) -> bool:
        """Whether several accounts are asked for: addresses, or one's long boxes beside its short ones."""
        return self._shares.contended
