"""What goes before all others, and for how much of a daemon's time: what brings on a move of slots.

While slots are closed, all that is asked for them waits. So what opens them again isn't to wait for those that ask for
all they can. Precedence must be no way to have more than the others, though, whoever gets it.

Rules:

- all that goes first has a fifth of the time together, and some at once. Past that it waits as everybody does;
- one address has half of that at the most, so that nobody uses up what others need;
- what goes first counts for its address, too: it is had sooner, and not besides.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, TypeVar

from twisted.internet.interfaces import IReactorTime

from pyshard.protocol import commands
from pyshard.server.own_time import OwnTime
from pyshard.server.served_connection import Served

#: The names of what brings moves on, and of what bootstraps ask over the same connections.
BRING_ON = frozenset(
    command.commandName
    for command in (
        commands.Configure,
        commands.ReportMoves,
        commands.ReadGroups,
        commands.ReportReplica,
        commands.Ping,
    )
)

#: Seconds that all may have at once.
AT_ONCE = 0.1

#: The part of the time that all have together.
SHARE = 0.2

#: The part of both that one address may have at the most.
OF_ONE = 0.5

_FEW = 100  # notes of addresses that are never looked through

_S = TypeVar("_S", bound=Served)
_R = TypeVar("_R")


class _Used:
    """A leaky bucket.

    :ivar seconds: that were used, and haven't leaked away yet.
    :ivar at: when that was so.
    """

    __slots__ = ("at", "seconds")

    def __init__(self) -> None:
        self.seconds = self.at = 0.0

    def left(self, share: float, now: float) -> float:
        """What is used yet.

        :param share: seconds that leak away in a second.
        """
        return max(0.0, self.seconds - share * max(0.0, now - self.at))

    def add(self, used: float, share: float, now: float) -> None:
        """Count seconds."""
        self.seconds, self.at = self.left(share, now) + used, now


class BoundedPrecedence:
    """How much time those have had that go first. Pure; all times are in seconds of one clock."""

    def __init__(self) -> None:
        self._all = _Used()
        self._of: dict[str, _Used] = {}
        self._most_notes = _FEW

    def has_room(self, origin: str, now: float) -> bool:
        """Whether something of an address may go first now. What is begun may take longer than there is room."""
        own = self._of.get(origin)
        if self._all.left(SHARE, now) >= AT_ONCE:
            return False
        return own is None or own.left(OF_ONE * SHARE, now) < OF_ONE * AT_ONCE

    def add(self, origin: str, used: float, now: float) -> None:
        """Count what went first."""
        self._all.add(used, SHARE, now)
        own = self._of.get(origin)
        if own is None:
            if len(self._of) >= self._most_notes:
                self._of = {each: its for each, its in self._of.items() if its.left(OF_ONE * SHARE, now)}
                self._most_notes = 2 * len(self._of) + _FEW
            own = self._of[origin] = _Used()
        own.add(used, OF_ONE * SHARE, now)


class FirstServed(Generic[_S]):
    """Serves what goes first in one daemon.

    :param clock: measures how long it takes.
    :param own_time: how much of a time counts.
    :param charge: counts seconds of a connection's boxes for its address.
    """

    def __init__(self, clock: IReactorTime, own_time: OwnTime, charge: Callable[[_S, float, int], object]) -> None:
        self._clock = clock
        self._own_time = own_time
        self._charge = charge
        self._precedence = BoundedPrecedence()
        self._served = 0.0  # seconds of serving that were counted, ever

    def may(self, connection: _S) -> bool:
        """Whether what comes over a connection goes first now."""
        return connection.moves and self._precedence.has_room(connection.origin, self._clock.seconds())

    def read(self, connection: _S, read: Callable[[], _R]) -> _R:
        """Read from a connection that goes first.

        :param read: reads, and has `serve` called for what has come.
        """
        began, before = self._clock.seconds(), self._served
        self._own_time.look(began)
        result = read()
        self._count(connection, self._clock.seconds() - began - (self._served - before), 0)
        return result

    def serve(self, connection: _S) -> bool:
        """Serve boxes of a connection for as long as they go first; whether there may be more."""
        more = True
        while more and self.may(connection):
            began = self._clock.seconds()
            self._own_time.look(began)
            more = connection.serve_next()
            passed = self._clock.seconds() - began
            self._served += passed
            self._count(connection, passed, 1)
        return more

    def _count(self, connection: _S, passed: float, boxes: int) -> None:
        used = self._own_time.of(max(0.0, passed))
        self._precedence.add(connection.origin, used, self._clock.seconds())
        self._charge(connection, used, boxes)
