"""Retry with backoff: how long to wait after the nth failure in a row.

Rules:

- The pause doubles with each failure, from `settings.RETRY_FIRST` up to `settings.RETRY_LONGEST` seconds.
- Chance takes up to half of it away, so that clients that failed together don't come back together.
- A success makes the next pause short again.
"""

from __future__ import annotations

from random import Random

import attrs

from pyshard.settings import settings

_MOST_DOUBLINGS = 20  # the bound is reached long before; a power of thousands would be no float any more


def longest_pause(failures: int, first: float, longest: float) -> float:
    """The longest pause after so many failures in a row.

    :param failures: 1 or more.
    :param first: seconds after the first failure.
    :param longest: seconds that no pause exceeds.
    :return: seconds.
    """
    return min(first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), longest)


@attrs.define
class Backoff:
    """Counts failures in a row, and says how long to wait.

    :param random: takes up to half of each pause away.
    :ivar failures: how many there were since the last success.
    """

    random: Random
    failures: int = 0

    def failed(self) -> None:
        """Count a failure."""
        self.failures += 1

    def reset(self) -> None:
        """Count a success: begin anew."""
        self.failures = 0

    def pause(self) -> float:
        """Seconds to wait now; different each time."""
        longest = longest_pause(self.failures, settings.RETRY_FIRST, settings.RETRY_LONGEST)
        return longest * (0.5 + self.random.random() / 2)
