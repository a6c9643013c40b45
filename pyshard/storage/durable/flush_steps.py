"""One step of a checkpoint: records are flushed to LMDB piece by piece, until all are or the step's time is used. Pure.

How long a record takes isn't known before. Where LMDB's file has many free pages, and no two of them side by side, it
looks through all of them for each record of several pages; and a page that isn't in memory is read from the disk.

Rules:

- a step has less time while several addresses ask, who wait for it with their changes; one piece is flushed at least;
- what is left is due at once. While others ask, it waits for three times as long as the step has taken: so they have
  three quarters of the writer's time. A step that could flush all that was due leaves it at that;
- nobody has that time who doesn't ask in it. Others ask as long as one did so within that time, and as long again as it
  may have waited for the step and a group. So who asks now and then has a short step, and hardly anything else;
- no piece is longer than the time that is left, as far as the piece before it tells.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

#: Seconds for which an address counts as one that asks: longer than it may have waited, or was told to wait.
ASKS = 10.0

_ALONE = 0.2  # seconds of a step while one address asks alone
_BESIDE = 0.05  # the same while several ask
_TIMES = 3  # how many times as long as a step the others have behind it
_WAITED = 0.1  # seconds that who asks one thing after the other may have waited, but for the step
_FIRST = 16  # records of the first piece
_LEAST = 4  # records of a piece


class FlushPace:
    """When the next step may begin. All times are in seconds of one clock."""

    def __init__(self) -> None:
        self._until = -inf
        self._within = _WAITED

    def may_begin(self, now: float, several_ask: Callable[[float], bool]) -> bool:
        """Whether one may begin now.

        :param several_ask: tells whether several addresses have asked for something in so many seconds.
        """
        return now >= self._until or not several_ask(self._within)

    def end(self, began: float, now: float, all_done: bool, several_ask: Callable[[float], bool]) -> float:
        """A step is done.

        :param all_done: whether it has flushed all that was due.
        :param several_ask: see `may_begin`.
        :return: the seconds that it has taken, with those in which others have the time.
        """
        rest = 0.0 if all_done else _TIMES * (now - began)
        self._until, self._within = now + rest, rest + _WAITED
        return now - began + (rest if several_ask(self._within) else 0.0)


def flush_in_time(
    db_keys: Sequence[bytes],
    flush: Callable[[Sequence[bytes]], None],
    steady: Callable[[], float],
    several_ask: bool,
) -> int:
    """Flush records, from the front on, for as long as a step may take.

    :param flush: flushes a piece of them.
    :return: how many were flushed.
    """
    last = steady()
    until = last + (_BESIDE if several_ask else _ALONE)
    done, size = 0, _FIRST
    while done < len(db_keys):
        flush(db_keys[done : done + size])
        done += size
        last, before = steady(), last
        if last >= until:
            break
        size = max(_LEAST, min(2 * size, int(size * (until - last) / max(last - before, 1e-9))))
    return min(done, len(db_keys))
