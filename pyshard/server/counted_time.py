"""What is counted of a daemon's time for addresses, beside what their connections' turns take; and which of it is held.

Rules: those of `pyshard.server.address_time_shares`, and which boxes are long says `pyshard.server.long_boxes`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Generic, TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.metrics.collector_time import CollectorTime
from pyshard.server.address_time_shares import ASKS, COMMIT, QUANTUM, SHORT, SHORTEST_PAUSE, AddressShares
from pyshard.server.handshake_turns import HandshakeTurns
from pyshard.server.long_boxes import LongBoxes, is_long, long_of
from pyshard.server.own_time import LONG, OwnTime
from pyshard.server.peer_class import CREDIT
from pyshard.server.served_connection import Served

#: Seconds after a long box in which it is measured how much of the processor each takes.
WATCHED = 0.1

_OWN_AGAIN = 0.05  # seconds within which the daemon has something to read itself again, while others change things
_OWN = "this daemon"  # what counts as its own address

_S = TypeVar("_S", bound=Served)


class CountedTime(Generic[_S]):
    """The time of one daemon.

    :param clock: times all.
    :param turn: the number of the reactor's turn.
    :param processor: seconds of a processor that this thread has had.
    :param collector: knows how long Python's garbage collector took, which is nobody's time.
    :param reads: as that of `OwnTime`.
    :ivar own_time: how much of a time counts.
    """

    def __init__(
        self,
        clock: IReactorTime,
        turn: Callable[[], int],
        processor: Callable[[], float],
        collector: CollectorTime,
        reads: Callable[[], int],
    ) -> None:
        self.own_time = OwnTime(processor, reads)
        self._collector = collector
        self._processor = processor
        self._watched_until = 0.0  # until then it is measured how much of the processor each thing takes
        self._handshakes: HandshakeTurns[_S] = HandshakeTurns(CREDIT)
        self._clock = clock
        self._turn = turn
        self._shares = AddressShares()
        self._long: LongBoxes[_S] = LongBoxes(self._shares, turn)
        self._write = self._write_counted  # one object for all connections
        self._release: IDelayedCall | None = None  # while boxes that take long are held

    def writing(self, connection: _S, write: Callable[[], object]) -> Callable[[], object]:
        """What a connection's writing is to be, so that the time that it takes is counted."""
        return partial(self._write, connection, write)

    def own(self, work: Callable[[], object]) -> Callable[[], object]:
        """What work of the daemon's own is to be, so that others leave it time as they do for an address that asks."""

        def counted() -> object:
            began = self._clock.seconds()
            self.own_time.look(began)
            nobodys = self._collector.seconds
            result = work()
            now = self._clock.seconds()
            used = self.own_time.of(max(0.0, now - began - (self._collector.seconds - nobodys)))
            self._shares.charge(_OWN, used, now, self._turn(), 1)
            self._shares.own_until = now + _OWN_AGAIN
            return result

        return counted

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

    def count_elsewhere(self, connection: _S, used: float, boxes: float = 1, any_takes: float = 0.0) -> None:
        """Count time of a processor that another thread spent on boxes of a connection, which may have ended.

        :param boxes: how many alike ones would have taken that.
        :param any_takes: seconds that the smallest one would have taken, too. They make no box a long one.
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
        boxes = max(boxes, used / max(used - any_takes, QUANTUM))
        shares.charge(account, used, now, self._turn(), boxes, True)

    def answer(self, connection: _S, give: Callable[..., object], *arguments: object) -> None:
        """Give a connection an answer that was long in coming, and count the time that it takes."""
        began, had = self._clock.seconds(), self._processor() if self._shares.contended else None
        give(*arguments)
        passed = self._clock.seconds() - began
        self.count_elsewhere(connection, passed if passed < LONG else self.own_time.of_box(passed, had))

    def count_waiting(self, connection: _S, seconds: float) -> None:
        """Count that a connection has waited for the answer to something small that goes on elsewhere."""
        if self._shares.contended:
            self._shares.count_waiting(connection.account or connection.origin, seconds, self._clock.seconds())

    def rests(self, connection: _S, when_over: Callable[[], object]) -> bool:
        """Whether a connection's address leaves its time to others now, so that late answers to it wait, too.

        :param when_over: is called when it does no longer, if it does now.
        """
        if not self._shares.contended:
            return False
        seconds = self._shares.wait(connection.account or connection.origin, self._clock.seconds())
        if seconds <= SHORTEST_PAUSE:
            return False
        self._clock.callLater(seconds, when_over)  # that is soon if nobody asks any more
        return True

    def debt(self, origin: str) -> float:
        """Seconds that an address has yet to wait for what was done for it; 0 while no others ask."""
        now = self._clock.seconds()
        return max(self._shares.debt(origin, now), self._shares.debt(long_of(origin), now))

    def _write_counted(self, connection: _S, write: Callable[[], object]) -> object:
        if not self._shares.contended or connection.replicates:
            return write()
        began = self._clock.seconds()
        self.own_time.look(began)
        had = self._processor() if began < self._watched_until else None
        nobodys = self._collector.seconds
        result = write()
        now = self._clock.seconds()
        used = self.own_time.of_box(now - began - (self._collector.seconds - nobodys), had)
        self._note_use(connection, used, now, had)
        self.count(connection.account or connection.origin, used)
        return result

    def _note_use(self, connection: _S, used: float, now: float, had: float | None) -> None:
        """Note the time that it took to read or to write. If that was long, it counts as a long box does.

        :param had: what the processor's clock said before, if it was asked.
        """
        if connection.role is not None:
            self._handshakes.known += used
        if used >= SHORT:
            self._long.add(used)
            processor = 0.0 if had is None else self._processor() - had
            self._watched_until = now + WATCHED
            if not connection.ended:
                self._long.account_of(connection, 1, now, min(used, processor))

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
    def asked(self) -> bool:
        """Whether anybody has asked for anything just now."""
        return self._clock.seconds() - self._shares.last_at < ASKS

    @property
    def contended(self) -> bool:
        """Whether several accounts are asked for: addresses, or one's long boxes beside its short ones."""
        return self._shares.contended
