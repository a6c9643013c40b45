"""The connections over which a shard's moves are brought on: which of them go first (`pyshard.server.first_served`).

While slots are closed, or are to be, what takes long is held, too: else each step would wait for somebody's.

Rules:

- a bootstrap that asks how the moves are goes first while one is under way: it also tells what becomes of it;
- who follows a move goes first while its slots are closed, or are to be. To copy them, and to catch up, it asks as
  everybody does. One connection follows a move, the newest;
- a move that has ended, or waits for its turn, has nobody go first. So nobody does while there are no moves;
- a connection that asks for something else doesn't go first, until it asks for moves again;
- what takes long is held for a bounded time, and for a fifth of the time at the most, however often slots are closed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable
from math import inf
from typing import NamedTuple, Protocol

from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.slot_ranges import without
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.shard.assignment import Assignment

#: Seconds for which what takes long is held at the most.
HELD = 0.3

_HELD_AGAIN = 5 * HELD  # seconds behind the beginning of one, it may be held again


class Carrier(Hashable, Protocol):
    """A connection.

    :ivar moves: see `pyshard.server.served_connection.Served`.
    """

    moves: bool

    def bring_forward(self) -> None:
        """Have it wait no longer, if it goes first by now."""
        ...


class Going(NamedTuple):
    """The moves of a shard that go on.

    :ivar under_way: the names of those that were begun, and aren't decided; or are, while their slots are closed yet.
    :ivar closing: those of them whose slots are closed, or are to be.
    """

    under_way: frozenset[str] = frozenset()
    closing: frozenset[str] = frozenset()


def going(shard: str, moves: Collection[RangeMove], ranges: StoreRanges) -> Going:
    """Which moves go on. Pure.

    :param shard: the shard's name.
    :param ranges: its store's.
    """
    own = [move for move in moves if shard in (move.source, move.target)]
    closing = frozenset(move.name for move in own if move.phase is Phase.SEALING or _is_closed(shard, move, ranges))
    return Going(closing.union(move.name for move in own if move.phase is Phase.COPYING), closing)


def going_of(assignment: Assignment | None, ranges: StoreRanges) -> Going:
    """The same of a shard, by what it was told."""
    return Going() if assignment is None else going(assignment.name, assignment.state.moves, ranges)


def _is_closed(shard: str, move: RangeMove, ranges: StoreRanges) -> bool:
    """Whether a move's slots are closed at a shard: they are sealed, or committed to it and not owned yet."""
    if shard == move.source:
        return move.name in ranges.sealed
    return move.phase is Phase.COMMITTED and bool(without(move.ranges, ranges.owned)) and move.name in ranges.staged


class MoveCarriers:
    """Those of one shard.

    :param find: gives the moves that go on.
    :param seconds: the clock.
    :ivar hold: has what takes long not be begun for so many seconds; 0: it may be again.
    """

    def __init__(self, find: Callable[[], Going], seconds: Callable[[], float]) -> None:
        self._find = find
        self._seconds = seconds
        self.hold: Callable[[float], None] = lambda _: None
        self._held_at = -inf
        self._closing: frozenset[str] = frozenset()
        self._asking: set[Carrier] = set()
        self._following: dict[str, Carrier] = {}  # by the move's name

    def asks(self, connection: Carrier) -> None:
        """Note that how the moves are is asked over a connection."""
        if connection not in self._asking:
            self._asking.add(connection)
            self.update()

    def follows(self, connection: Carrier, name: str) -> None:
        """Note that a move's changes are asked for over a connection.

        :param name: of who follows; not all of them are moves.
        """
        if self._following.get(name) is not connection and name in self._find().under_way:
            earlier = self._following.get(name)
            if earlier is not None:
                self.forget(earlier)
            self._following[name] = connection
            self.update()

    def goes_on(self, name: str) -> bool:
        """Whether a follower of this name is of a move that goes on. Writers are slowed down for such ones alone."""
        return name in self._find().under_way

    def forget(self, connection: Carrier) -> None:
        """A connection asks for something else, or is gone."""
        self._asking.discard(connection)
        for name in [name for name, its in self._following.items() if its is connection]:
            del self._following[name]
        connection.moves = False

    def update(self) -> None:
        """The shard's moves may have gone on."""
        found, before = self._find(), self._closing
        self._closing = found.closing
        if found.closing - before and self._seconds() >= self._held_at + _HELD_AGAIN:
            self._held_at = self._seconds()
            self.hold(HELD)
        elif before and not found.closing:
            self.hold(0)
        for name in self._following.keys() - found.under_way:
            self.forget(self._following[name])
        first = {its for name, its in self._following.items() if name in found.closing}
        if found.under_way:
            first |= self._asking
        for connection in self._asking.union(self._following.values()):
            went, connection.moves = connection.moves, connection in first
            if connection.moves and not went:
                connection.bring_forward()
