"""Rests between what shards are told: as long as it took, while others ask. So half of the time is theirs.

The state of a large cluster is written to thousands of shards, a few in each turn of the reactor. Whoever asks one
thing after the other would have one answer in such a turn, and a tenth of the rate that it has alone.

Rules:

- all counts that is written to shards and read of them, and what it takes to begin it;
- while nobody asks there is no rest. So a cluster is told some twice as late as it could be;
- a rest has a bound, from when something was begun before it. So shards that write without an end delay no others.
"""

from __future__ import annotations

from collections.abc import Callable

#: Seconds after something was begun until the next thing may be, at the latest. Little takes half as long.
LONGEST = 0.02


class PushRests:
    """The rests of one bootstrap.

    :param seconds: the time.
    :param others_ask: whether anybody asks this daemon for anything.
    """

    def __init__(self, seconds: Callable[[], float], others_ask: Callable[[], bool]) -> None:
        self._seconds = seconds
        self._others_ask = others_ask
        self._until = self._latest = 0.0

    def counted(self, work: Callable[[], object]) -> Callable[[], object]:
        """What work is to be, so that a rest follows that is as long."""

        def counting() -> object:
            began = self._seconds()
            result = work()
            now = self._seconds()
            self._until = min(max(self._until, began) + 2 * (now - began), now + LONGEST)
            return result

        return counting

    def begin(self) -> None:
        """Something is begun now, behind which there is to be a rest."""
        self._latest = self._seconds() + LONGEST

    def left(self) -> float:
        """Seconds for which nothing more is to be begun; 0: it may be."""
        left = min(self._until, self._latest) - self._seconds()
        return left if left > 0 and self._others_ask() else 0.0
