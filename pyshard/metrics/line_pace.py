"""How many lines of one kind may stand in a log: what others bring about could fill it. Pure."""

from __future__ import annotations

#: Seconds whose lines may come at once when it was quiet before.
BURST = 10.0


class LinePace:
    """How many lines may stand in a log, by the time. Pure.

    :param lines: how many a second.
    :ivar left_out: how many didn't, since it was last set to 0.
    """

    def __init__(self, lines: float) -> None:
        self._lines = lines
        self._left = BURST * lines
        self._at: float | None = None
        self.left_out = 0

    def admits(self, now: float) -> bool:
        """Whether one more line may; if not, it is counted.

        :param now: the time, in seconds.
        """
        passed = 0.0 if self._at is None else max(0.0, now - self._at)
        self._at = now
        self._left = min(BURST * self._lines, self._left + passed * self._lines)
        needed = 2 if self.left_out else 1  # with the one that tells how many were left out
        if self._left < needed:
            self.left_out += 1
            return False
        self._left -= needed
        return True

    def ending(self, now: float) -> str | None:
        """What a line ends with that says itself how many like it were left out before; None: it may not stand.

        :param now: the time, in seconds.
        """
        if not self.admits(now):
            return None
        left_out, self.left_out = self.left_out, 0
        return f"; {left_out:,} such lines before were left out" if left_out else ""
