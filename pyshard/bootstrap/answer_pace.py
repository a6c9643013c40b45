"""How soon a shard is asked again that is asked all the time, by the bytes of its answers. Pure.

To read and to decode them takes a bootstrap's time, and a shard may answer what it likes. The reports of an honest one
are so short that it never rests.
"""

from __future__ import annotations

from math import inf

#: Bytes a second that a shard may answer in the long run. To read them takes a hundredth of a processor.
BYTES = 1024 * 1024

_AT_ONCE = 0.1  # seconds in which that many may come at once, as when several ask


class AnswerPace:
    """The pace of one kind of questions to one shard. Times are in seconds of one clock."""

    def __init__(self) -> None:
        self._until = -inf

    def rests(self, now: float) -> bool:
        """Whether nothing is to be asked now."""
        return now < self._until - _AT_ONCE

    def answered(self, size: int, now: float) -> None:
        """Note an answer of so many bytes."""
        self._until = max(self._until, now) + size / BYTES
