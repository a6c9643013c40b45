"""When the writer thread does the store's own background work: sweeps and trims, in steps. Pure.

Rules:

- while somebody asks, it has a sixth of the writer's time at the most: after each step the next one waits five times as
  long as that one took, with what its pages took to flush. What isn't urgent counts its time more than once;
- then it goes with the next small updates of others, so that it needs no sync of its own. It goes alone if none come
  within a short time. So it always goes on, whatever others ask;
- where nobody has asked anything for that time, one step follows the other.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, TypeVar

_U = TypeVar("_U")

_TIMES = 5  # how many times as long as a step took the next one may have to wait
_WINDOW = 0.05  # seconds in which somebody who asks one thing after the other asks again


class BackgroundUpdates(Generic[_U]):
    """Updates that leave time to all others. All times are in seconds of one clock."""

    def __init__(self) -> None:
        self._waiting: deque[_U] = deque()
        self._until = 0.0  # what the last step took is made up for then
        self._look_at = 0.0  # until then somebody may ask again
        self._seen = 0  # what was asked when that was looked at last

    def add(self, update: _U) -> None:
        """Have an update wait."""
        self._waiting.append(update)

    def remaining(self, asked: int, now: float, in_company: bool = False) -> float | None:
        """Seconds for which the next step is to wait yet, if nobody asks anything meanwhile; None: nothing waits.

        :param asked: how many things others have asked for, ever.
        :param in_company: whether it could go with the update of somebody else.
        """
        if asked != self._seen:
            self._seen, self._look_at = asked, now + _WINDOW
        if not self._waiting:
            return None
        until = self._until if in_company else self._until + _WINDOW
        return max(0.0, min(self._look_at, until) - now)

    def take(self, now: float) -> _U:
        """The update that is to be done next; there must be one. What it takes is counted afterwards."""
        self._until = now
        return self._waiting.popleft()

    def count(self, seconds: float, now: float) -> None:
        """Note that background work took so much of the writer's time until now, or had others take it."""
        if seconds > 0:
            self._until = max(self._until, now) + _TIMES * seconds
