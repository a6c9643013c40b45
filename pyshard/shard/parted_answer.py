"""An answer with groups of changes that is given in parts, since they may be more than a box holds.

Rules:

- what wasn't given yet counts among the bytes that the daemon holds for whoever asks;
- it ends when all was given, or when nobody has asked for the next part for a while.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.settings import settings

_PART = 4 * 1024 * 1024  # bytes of groups in one answer


def unheld(_: int) -> None:
    """For whom no bytes are counted."""


class PartedAnswer:
    """The groups of one answer. It has none before `begin`.

    :param clock: ends it when nobody asks for more.
    :param hold: told how many bytes more, or fewer, are held; it may end the connection over which they are asked for.
    :ivar data: the groups; nothing when it has ended.
    :ivar given: how many bytes of them were given.
    """

    def __init__(self, clock: IReactorTime, hold: Callable[[int], object] = unheld) -> None:
        self._clock = clock
        self._hold = hold
        self._held = 0
        self._ends: IDelayedCall | None = None
        self.data = b""
        self.given = 0

    def begin(self, data: bytes) -> tuple[bytes, bool]:
        """Give the first part of groups; as `next_part`."""
        self.data = data
        return self.next_part()

    def next_part(self) -> tuple[bytes, bool]:
        """The next bytes, and whether there are more."""
        part = self.data[self.given : self.given + _PART]
        self.given += len(part)
        if self.given >= len(self.data):
            self.end()
            return part, False
        if self._ends is None:
            self._ends = self._clock.callLater(settings.REST_KEPT, self.end)
            self._held = len(self.data)
            self._hold(self._held)
        else:
            self._ends.reset(settings.REST_KEPT)
        return part, True

    def end(self) -> None:
        """Keep nothing any more."""
        self.data = b""
        if self._ends is not None and self._ends.active():
            self._ends.cancel()
        held, self._held = self._held, 0
        if held:
            self._hold(-held)
