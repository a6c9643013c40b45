"""How much writers may write while a checkpoint takes longer than what they write gives it. Pure.

Rules:

- what is written while a checkpoint goes on has the room of the next one, which begins when this one is done. Mostly
  that is half as much at the most: each group flushes about twice as much as it brings;
- nobody is slowed while flushes take all that is due, while less than half of the room is used, or a smaller part of
  it than is flushed of the checkpoint;
- else what is left of the room may be written in the time that the checkpoint will still take, as the last steps tell.
  What was wrongly expected is put right by what is left then, so the room is used up no sooner than it ends;
- writers get a little in any case.
"""

from __future__ import annotations

from math import inf

import attrs

_USED = 0.5  # of the room, below which nobody is slowed
_NEWER = 0.3  # part of the newest step in what a record takes
_LEAST = 262_144.0  # bytes a second that writers get in any case: a client's box within its deadline


@attrs.define
class CheckpointAllowance:
    """What writers may write.

    :ivar rate: bytes of changes in a second; inf: as many as they like.
    """

    rate: float = inf
    _each: float = 0.0  # seconds for a record

    def flushed(self, records: int, seconds: float) -> None:
        """Note what a step has taken.

        :param seconds: with those in which no next one may begin.
        """
        if records:
            each = seconds / records
            self._each = each if not self._each else (1 - _NEWER) * self._each + _NEWER * each

    def look(self, used: float, written: int, done: int, left: int) -> None:
        """Find the rate anew.

        :param used: which part of the room is used.
        :param written: bytes of changes that have used it.
        :param done: records of the checkpoint that are flushed.
        :param left: those that aren't.
        """
        if used < _USED or used * (done + left) <= done:
            self.rate = inf
        else:
            self.rate = max(_LEAST, written * max(0.0, 1 - used) / used / max(left * self._each, 1e-3))
