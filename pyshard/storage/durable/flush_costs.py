"""What it takes to bring changes into LMDB, borne by all who change something. Pure.

A checkpoint goes on with the group that happens to be next, for tens of milliseconds at times. Who had one small change
in that group would count as somebody who asks for large things, and leave its time to others for long.

Rule: of what isn't borne yet, each page that a group changes bears a thousandth. A flush comes about so often.
"""

from __future__ import annotations

_PAGES = 1000  # pages that are changed from one flush to the next, about: each brings about two to the next flush


class FlushCosts:
    """The costs of one store.

    :ivar owed: seconds of a processor that were spent, and that no group has borne yet.
    """

    def __init__(self) -> None:
        self.owed = 0.0

    def add(self, seconds: float) -> None:
        """Note seconds of a processor that a checkpoint took."""
        self.owed += max(0.0, seconds)

    def bear(self, pages: int) -> None:
        """Have a group bear its part.

        :param pages: that it changes, at the worst.
        """
        self.owed -= self.owed * min(1.0, pages / _PAGES)
