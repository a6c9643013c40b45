"""Which addresses have connected too often of late without coming to anything, so that others come in. Pure.

The system keeps new connections in one queue, first come, first served. Whoever opens hundreds a second fills it, and
everybody else waits until those were accepted. A connection that is closed at once costs a tenth of one that is made.

Rules:

- An attempt to connect is a connection that has come to nothing yet. Where there are tokens, it comes to something when
  the peer has presented one; without them, when the peer has sent something. It comes to nothing after all if the peer
  ends it before what it has asked is answered.
- Each address has a bounded number of attempts, and gets so many a second back. Past it, its new connections are closed
  at once.
- The bound is higher while nobody else asks, so that a program may open hundreds of connections at once.
- A daemon also counts how often an address connects, whatever comes of it, in the same way and with other bounds.
- An attempt is forgotten with time though it is still in progress. So whoever holds connections open in silence keeps
  nobody out, neither others nor those of its own address.
"""

from __future__ import annotations

_FEW = 1000  # addresses that are never looked through


class ConnectionAttempts:
    """The attempts to connect to one daemon. All times are in seconds of one clock.

    :param beside: attempts that an address may have while others ask.
    :param alone: attempts that it may have else.
    :param forgotten: attempts of an address that are forgotten in a second.
    """

    def __init__(self, beside: float = 100, alone: float = 400, forgotten: float = 50) -> None:
        self._beside, self._alone, self._forgotten = beside, alone, forgotten
        self._origins: dict[str, tuple[float, float]] = {}  # address → how many attempts it had, and when that was so
        self._most_origins = _FEW

    def admits(self, origin: str, now: float, beside: bool) -> bool:
        """Whether one more connection from an address may be made.

        :param beside: whether others ask.
        """
        return self._of(origin, now) + 1 <= (self._beside if beside else self._alone)

    def is_often(self, origin: str, now: float) -> bool:
        """Whether an address has had a third of what it may have while others ask."""
        return self._of(origin, now) + 1 > self._beside / 3

    def add(self, origin: str, now: float) -> None:
        """Count a connection that was made."""
        if len(self._origins) >= self._most_origins and origin not in self._origins:
            self._origins = {one: its for one, its in self._origins.items() if self._of(one, now) > 0}
            self._most_origins = 2 * len(self._origins) + _FEW  # so that each look is paid for by as many addresses
        self._origins[origin] = self._of(origin, now) + 1, now

    def succeeded(self, origin: str, now: float) -> None:
        """Take one back: it has come to something."""
        left = self._of(origin, now) - 1
        if left > 0:
            self._origins[origin] = left, now
        else:
            self._origins.pop(origin, None)

    def __len__(self) -> int:
        """How many addresses are known."""
        return len(self._origins)

    def _of(self, origin: str, now: float) -> float:
        count, at = self._origins.get(origin, (0.0, now))
        return max(0.0, count - max(0.0, now - at) * self._forgotten)
