"""How far a pull of ranges is, and how fast it goes. Pure."""

from __future__ import annotations

from collections import deque

import attrs

_WINDOW = 5.0  # seconds over which the rate is measured


@attrs.define
class PullProgress:
    """How far a pull is. All times are in seconds of one clock.

    :ivar copies: how often it has begun.
    :ivar rows: documents that the copy has had at the most: one that comes again is no further one.
    :ivar size: bytes of all that was taken for it.
    :ivar expected: bytes that the copy will have, more or less; 0: it isn't known yet.
    :ivar sequence: all groups up to this number are taken; 0: the copy isn't complete.
    :ivar behind: bytes of changes in the last answer; 0: it had none, or the copy isn't complete.
    :ivar even: when the last answer came with all that the source had; None: there was none.
    :ivar chasing: since when it follows without having been even, later by the time for which it compared meanwhile;
        None: it compares, or doesn't follow now.
    """

    copies: int = 0
    rows: int = 0
    size: int = 0
    expected: int = 0
    sequence: int = 0
    behind: int = 0
    even: float | None = None
    chasing: float | None = None
    _began: float = 0.0
    _pages: deque[tuple[float, int]] = attrs.field(factory=deque)  # of late: when it was taken, bytes

    def begin(self, expected: int, now: float) -> None:
        """Note that a copy is begun."""
        self.copies += 1
        self.rows = self.size = 0
        self.expected = expected
        self._began = now
        self._pages.clear()

    def add(self, rows: int, size: int, now: float) -> None:
        """Note that a page of the copy is taken.

        :param rows: documents that the copy has now.
        :param size: bytes of the page.
        """
        self.rows = max(self.rows, rows)
        self.size += size
        self._pages.append((now, size))
        self._drop_old(now)

    def rate(self, now: float) -> float:
        """Bytes of the copy that were taken in a second of late."""
        self._drop_old(now)
        taken = sum(size for _, size in self._pages)
        return taken / min(_WINDOW, max(1.0, now - self._began)) if taken else 0.0

    def is_past(self, other: PullProgress) -> bool:
        """Whether it has gone on since it was like this, or has begun anew because it had to."""
        if self.sequence < other.sequence:
            return True
        return self._place > other._place

    @property
    def _place(self) -> tuple[int, float, int]:
        return self.sequence, self.even or 0.0, self.rows

    def _drop_old(self, now: float) -> None:
        while self._pages and self._pages[0][0] <= now - _WINDOW:
            self._pages.popleft()
