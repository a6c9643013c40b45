"""Whose boxes a daemon serves now, and whose connection waits for others: fair between connections and addresses.

A *box* is one AMP message. A *round* is one iteration of the reactor's loop: boxes are served for a bounded time in it.

Rules:

- While little is asked, a box is served at once. Who has more than the round's time waits, read once more at the most.
- In each later round those that wait are served, first the connection that has used least time
  (`pyshard.server.fair_queue`), each with one box or a short slice of time. If one still has more, it waits again.
- A round is short once somebody has more than a slice and waits again, so that the reactor reads soon what others ask.
  It is longer while all that wait have one box each: so hundreds of clients are served in one round.
- While several addresses ask, none has more than its share of the time (`pyshard.server.address_time_shares`). Until it
  has some again, nothing is read from its connections. One that has had little is served at once.
- Each address has two shares: one for its connections with boxes that take long, one for the others. All long boxes of
  a round together are bounded, with the reads and writes that take long.
- All TLS handshakes in progress have one share together (`pyshard.server.handshake_turns`).
- A box that is larger than any that took a short time over its connection counts as one that takes long. So nobody
  has long boxes served as short ones by connecting anew for each. One that comes in parts counts as a whole.
- A connection that its peer has ended is ended when it would be its turn, or before a box that may take long.
- Replicas of this shard wait for nobody, as everybody's answers wait for them (`pyshard.shard.large_changes`). Their
  questions are small: what sends a large box is read as others are.
- What brings on a move of slots goes first, within bounds (`pyshard.server.first_served`). Long boxes are held then.
- Peers that have shown no token yet come last, but always get a small part, since everybody begins as one.
- What Python's garbage collector takes is nobody's, nor what others have the processor for (`pyshard.server.own_time`).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from math import inf
from typing import TypeVar

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.metrics.collector_time import COLLECTOR_TIME, CollectorTime
from pyshard.metrics.disk_reads import disk_reads
from pyshard.server.address_time_shares import SHORT
from pyshard.server.counted_time import WATCHED, CountedTime
from pyshard.server.first_served import FirstServed
from pyshard.server.long_boxes import long_of
from pyshard.server.own_time import LONG
from pyshard.server.peer_class import PeerClass
from pyshard.server.served_connection import Served
from pyshard.settings import settings

_WALL = 3  # times as long as a processor worked on it a step of a handshake counts at the most, where others work, too
_QUESTION = 65_536  # bytes of a replica's question at the most: a tenth has the largest
_HANDSHAKES = "handshakes"  # what counts as their address
_LONGEST = 1.0  # seconds that a slice counts at the most, since the clock may have been set
_TURN = 0.0005  # seconds after which a turn of the reactor counts as over where they aren't numbered

_S = TypeVar("_S", bound=Served)


class ServingTurns(CountedTime[_S]):
    """Serves the boxes of all connections of one daemon.

    :param clock: the reactor: measures how long boxes take, and calls back in its next turn.
    :param turn: the number of the reactor's turn; without it, time is divided into turns.
    :param processor: seconds of a processor that this thread has had. Where others want it, too, a short box may seem
        to take long.
    :param collector: knows how long Python's garbage collector took, which is nobody's time.
    :param reads: as that of `OwnTime`.
    """

    def __init__(
        self,
        clock: IReactorTime,
        turn: Callable[[], int] | None = None,
        processor: Callable[[], float] = COLLECTOR_TIME.processor,
        collector: CollectorTime = COLLECTOR_TIME,
        reads: Callable[[], int] = disk_reads,
    ) -> None:
        super().__init__(clock, turn or (lambda: int(clock.seconds() / _TURN)), processor, collector, reads)
        self._known: PeerClass[_S] = PeerClass(settings.SERVED_AT_ONCE, settings.SERVED_SLICE)
        self._strangers: PeerClass[_S] = PeerClass(settings.STRANGERS_SERVED, settings.STRANGERS_SERVED)
        self._first: FirstServed[_S] = FirstServed(clock, self.own_time, self._charge_first)
        self._in_line: dict[_S, str] = {}  # those that wait, and for which account
        self._unread: set[_S] = set()  # those of which nothing is read until their turn
        self._read_on: set[str] = set()  # accounts of which one such connection is read in this turn
        self._called: _S | None = None  # the first of them, which is read though long things had their time
        self._turn_of: _S | None = None
        self._waits_again = False  # whether that one has more than its slice
        self._next: IDelayedCall | None = None
        self._read = self._read_in_turn  # one object for all connections
        self._counted = 0.0  # seconds of serving that were counted since a connection is being read

    def reading(self, connection: _S, read: Callable[[], object]) -> Callable[[], object]:
        """What a connection's reading is to be, so that its address has no more than its share of the time.

        :param read: reads, and has `serve` called for what has come.
        """
        return partial(self._read, connection, read)

    def serve(self, connection: _S) -> None:
        """Serve what has come over a connection: now, or when it is its turn."""
        more = True
        while more and connection.replicates:  # until it has asked too often
            more = connection.serve_next()
        if not more:
            return
        if connection.moves and not self._first.serve(connection):
            if connection.ended:
                self.forget(connection)
            return
        peers = self._strangers if connection.role is None else self._known
        its_turn = connection is self._turn_of
        most = peers.in_turn if its_turn else peers.left
        shares, began = self._shares, connection.heard
        account = connection.account or self._long.first_account(connection, began)
        held = self._release is not None
        size = connection.unserved_bytes if shares.contended or held else 0
        if size > connection.short_up_to and account is connection.origin:
            account = connection.account = long_of(account)
        if (shares.contended or held) and account is not connection.origin and not its_turn and connection.is_left:
            connection.end_unserved()
            return
        if held and account is not connection.origin:
            most = 0.0
        elif shares.contended:  # who has had little needn't wait for those that have had much
            room = shares.room(account, began, self._turn())
            if its_turn or connection.role is None or room == inf:
                most = min(most, room)
            elif account is not connection.origin and self._long.turn_is_spent:
                most = 0.0
            else:
                most = room
        if most <= 0:
            self._wait(connection)
            return
        watched = began < self._watched_until
        had = self._processor() if watched else None
        self.own_time.look(began)
        more, passed, boxes, nobodys = True, 0.0, 0, self._collector.seconds
        while more and 0 <= passed < most:
            more = connection.serve_next()
            boxes += 1
            passed = self._clock.seconds() - began - (self._collector.seconds - nobodys)
        passed = min(passed, _LONGEST) if passed >= 0 else most
        used, now = passed if passed < LONG else self.own_time.of_box(passed, had), began + passed
        if size > connection.short_up_to and connection.unserved_bytes >= size:  # there is only a part of a box yet
            pass  # it says nothing of how long that takes; `reading` counts the time
        elif shares.contended or used >= SHORT or account != shares.last or account is not connection.origin:
            self._counted += passed
            long = used >= SHORT * boxes
            if long or connection in self._long.times or account is not connection.origin:
                processor = used if not long else 0.0 if had is None else self._processor() - had
                account = self._long.account_of(connection, boxes, now, processor, size > connection.short_up_to)
            shares.charge(account, used, now, self._turn(), boxes)
            if connection.role is not None:
                self._handshakes.known += used
            if not long and not more:
                connection.short_up_to = max(connection.short_up_to, size)
            if long:
                self._watched_until = now + WATCHED
                self._long.add(used)
        else:  # what `charge` would do, without a call
            shares.last_at = now
        if connection.ended:
            self.forget(connection)
        elif its_turn or passed >= most:
            peers.waiting.charge(connection, account, used)
        if not its_turn:
            peers.left -= passed
            if peers.left < peers.at_once / 2:  # in good time, so that what comes in one turn seldom has to wait
                self._go_on_later()
        if passed >= most:
            self._wait(connection)

    def bring_forward(self, connection: _S) -> None:
        """Have a connection that waits wait no longer, if it goes first by now."""
        if connection in self._in_line and self._first.may(connection):
            self._leave_line(connection)
            self._clock.callLater(0, lambda: connection.ended or connection.take_turn())

    def forget(self, connection: _S) -> None:
        """Forget a connection that has ended."""
        self._handshakes.forget(connection)
        self._long.times.pop(connection, None)
        self._leave_line(connection)

    # ------------------------------------------------------------------ inside

    def _read_in_turn(self, connection: _S, read: Callable[[], object]) -> object:
        if connection.replicates:
            if connection.unserved_bytes <= _QUESTION:
                return read()
            connection.replicates = False
        if connection.handshaking:
            return self._shake_hands(connection, read)
        if connection.moves and self._first.may(connection):
            return self._first.read(connection, read)
        shares, held = self._shares, self._release is not None
        if not (shares.contended or held):  # `serve` counts enough to notice when another address asks
            return read()
        began = self._clock.seconds()
        account = connection.account or self._long.first_account(connection, began)
        if account is not connection.origin and connection.is_left:
            return connection.end_unserved()
        spent = held or (connection is not self._called and self._long.turn_is_spent)
        if (spent and account is not connection.origin) or shares.room(account, began, self._turn()) <= 0:
            connection.wait_unread()
            self._unread.add(connection)
            self._wait_in_line(connection)
            return None
        self.own_time.look(began)
        self._counted, had = 0.0, self._processor() if began < self._watched_until else None
        nobodys, before = self._collector.seconds, connection.unserved_bytes
        result = read()
        now, holds = self._clock.seconds(), connection.unserved_bytes
        rest = self.own_time.of_box(now - began - self._counted - (self._collector.seconds - nobodys), had)
        if rest > 0:
            self._note_use(connection, rest, now, had)
            part = (holds - before) / holds if holds > max(before, connection.short_up_to) else 0  # of a large box
            shares.charge(connection.account, rest, now, self._turn(), part)
        return result

    def _leave_line(self, connection: _S) -> None:
        self._unread.discard(connection)
        if connection is self._called:
            self._called = None
        self._in_line.pop(connection, None)
        for peers in (self._known, self._strangers):  # it may have been noted as each
            for account in (connection.origin, long_of(connection.origin)):
                peers.waiting.remove(connection, account)

    def _shake_hands(self, connection: _S, read: Callable[[], object]) -> object:
        """Read from a connection whose TLS handshake isn't complete, or have it wait unread."""
        handshakes, began, spent = self._handshakes, self._clock.seconds(), self._long.turn_is_spent
        if self._shares.contended and not handshakes.may_go_on(connection, began, self._turn(), spent):
            connection.wait_unread()
            handshakes.wait(connection)
            self._go_on_later()
            return None
        self._counted, had = 0.0, self._processor()
        result = read()  # what the garbage collector takes meanwhile counts as others' use of the processor does
        now = self._clock.seconds()
        used = max(0.0, min(now - began - self._counted, _WALL * (self._processor() - had)))
        handshakes.count(connection, used, now, self._turn())
        self._shares.charge(_HANDSHAKES, used, now, self._turn(), 0)
        if used >= SHORT:
            self._long.add(used)
        return result

    def _call_handshake(self) -> None:
        """Have one of the handshakes that wait read on."""
        handshakes = self._handshakes
        while (connection := handshakes.call(self._clock.seconds(), self._turn())) is not None:
            if not connection.peer_has_ended:
                connection.take_turn()
                break
            connection.end_unserved()
        if handshakes:
            self._go_on_later(handshakes.seconds_to_wait(self._clock.seconds()))

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
        self._called = None
        self._call_handshake()
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
                    self._called = self._called or connection
                try:
                    connection.take_turn()
                finally:
                    self._turn_of = None
                if self._waits_again or self._long.turn_is_spent:
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
        if self._holds(account):
            return False
        if not shares.contended:
            return True
        return account not in self._read_on and shares.room(account, self._clock.seconds(), self._turn()) > 0

    def _wait_of(self, account: str) -> float:
        return _LONGEST if self._holds(account) else self._shares.wait(account, self._clock.seconds())
