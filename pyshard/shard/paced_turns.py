"""Turns of the reactor for work that takes many steps, so that others are served between them.

Rules:

- All that wait have one turn after the other, each for one step.
- Between two turns others have some times as long as the first of them took, also if nobody waited for the second one
  meanwhile. So all such work of a shard together leaves them most of its time, however much of it there is.
- Where it is said to whom the time is left, they have a multiple of that while somebody asks, and less while nobody
  does.
- Work that would come to nothing at that pace has half of the time, whoever asks.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

_REST = 3  # times that a turn took, where nobody says whether clients ask
_REST_BESIDE = 40  # the same while clients ask
_REST_ALONE = 1  # the same while none does
_REST_LATE = 1  # the same of what would come to nothing
_LONGEST = 2.0  # seconds that a rest is at the most, since the clock may have been set

_T = TypeVar("_T")


class PacedTurns:
    """Turns of one shard.

    :param clock: the reactor: measures turns, and times them.
    :param asked: how many things clients have asked for, ever; None: they get no more time than anybody.
    :param hurried: whether the work would come to nothing at that pace.
    """

    def __init__(
        self, clock: IReactorTime, asked: Callable[[], int] | None = None, hurried: Callable[[], bool] = lambda: False
    ) -> None:
        self._clock = clock
        self._asked = asked
        self._hurried = hurried
        self._seen = 0  # what was asked for until the last turn
        self._waiting: deque[Deferred[None]] = deque()
        self._scheduled = False  # whether the next turn is, or one is being taken
        self._free_at = 0.0  # until then others have the time

    def next(self) -> Deferred[None]:
        """Wait for a turn.

        :return: a Deferred that fires when it has come. The turn is what its callbacks do.
        """
        turn: Deferred[None] = Deferred()
        self._waiting.append(turn)
        if not self._scheduled:
            self._scheduled = True
            self._clock.callLater(self._rest(), self._take)
        return turn

    async def until_given(self, step: Callable[[], _T | None]) -> _T:
        """Do a step in each of one's turns, until one of them gives something.

        :param step: gives it; None: there is more to do before.
        :raises Exception: whatever a step raises.
        """
        while True:
            await self.next()
            if (given := step()) is not None:
                return given

    def _take(self) -> None:
        began = self._clock.seconds()
        self._waiting.popleft().callback(None)
        self._scheduled = bool(self._waiting)
        ended = self._clock.seconds()
        self._free_at = ended + min(_LONGEST, max(0.0, self._times() * (ended - began)))
        if self._scheduled:
            self._clock.callLater(self._rest(), self._take)

    def _times(self) -> int:
        """How many times as long as the turn that has ended others have."""
        if self._asked is None:
            return _REST
        seen, self._seen = self._seen, self._asked()
        if self._hurried():
            return _REST_LATE
        return _REST_ALONE if self._seen == seen else _REST_BESIDE

    def _rest(self) -> float:
        return min(_LONGEST, max(0.0, self._free_at - self._clock.seconds()))
