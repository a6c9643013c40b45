"""For how long a pull has come no further, though its source answers. Pure.

Rules:

- only what a source can't give for ever counts as coming on: documents that the copy didn't have, rows that were found
  equal, buckets that were fetched again, and copies and differences, of which a move has a few. Pages that repeat,
  groups, and numbers that the source tells of itself don't;
- time in which the source can't be reached doesn't count, nor time in which this side waits for itself;
- a source that ends each connection, and can be reached again soon, counts as one that answers;
- it is asked what has come on some times in a minute, so what comes on in between counts from then on.
"""

from __future__ import annotations

import attrs

#: Seconds within which a source that has ended a connection counts as one that answers all the time, if it does then.
_SOON = 10.0


@attrs.define
class PullStall:
    """How long it is since a pull came on. All times are in seconds of one clock."""

    _place: tuple[int, ...] = ()  # the farthest one
    _spent: float = 0.0  # seconds that count, until `_since`
    _since: float | None = None  # None: the time doesn't count now
    _lost: float | None = None  # when the last connection ended; None: there was none

    def connected(self, now: float) -> None:
        """The source has been reached."""
        if self._lost is not None and now - self._lost <= _SOON:
            self._spent += max(0.0, now - self._lost)
        self._since, self._lost = now, None

    def disconnected(self, now: float) -> None:
        """The connection has ended."""
        self.hold(now)
        self._lost = now

    def hold(self, now: float) -> None:
        """What is waited for isn't the source's."""
        self._spent = self.seconds(now)
        self._since = None

    def go_on(self, now: float) -> None:
        """Something is wanted of the source again."""
        self._since = now

    def reached(self, place: tuple[int, ...], now: float) -> None:
        """Note where the pull is: it has come on if it never was as far.

        :param place: numbers, of which the first ones weigh most.
        """
        if place > self._place:
            self._place = place
            self.brought_on(now)

    def brought_on(self, now: float) -> None:
        """Note that it has come on, or that nothing is wanted of the source now."""
        self._spent = 0.0
        if self._since is not None:
            self._since = now

    def seconds(self, now: float) -> float:
        """How long it hasn't come on."""
        return self._spent + (0.0 if self._since is None else max(0.0, now - self._since))
