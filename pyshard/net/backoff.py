"""Retry with backoff: how long to wait after the nth failure in a row.

Rules:

- The pause doubles with each failure, from `settings.RETRY_FIRST` up to `settings.RETRY_LONGEST` seconds.
- Where the peer has replicas, another one leads about a lease after it was lost. So the pauses are shorter there, also
  after many failures: whoever dials looks for the new primary between them.
- Chance takes up to half of it away, so that clients that failed together don't come back together.
- A success makes the next pause short again.
"""

from __future__ import annotations

from random import Random

import attrs

from pyshard.settings import settings

_LOOKS = 5  # pauses within a lease, at the least
_MOST_DOUBLINGS = 20  # the bound is reached long before; a power of thousands would be no float any more


def longest_pause(failures: int, first: float, longest: float) -> float:
    """The longest pause after so many failures in a row.

    :param failures: 1 or more.
    :param first: seconds after the first failure.
    :param longest: seconds that no pause exceeds.
    :return: seconds.
    """
    return min(first * 2.0 ** min(failures - 1, _MOST_DOUBLINGS), longest)


def longest_between_looks(lease: float | None) -> float:
    """Seconds that no pause before a shard is dialed again exceeds.

    :param lease: of its group of replicas; None: it has none.
    """
    return settings.RETRY_LONGEST if lease is None else min(settings.RETRY_LONGEST, lease / _LOOKS)


@attrs.define
class Backoff:
    """Counts failures in a row, and says how long to wait.

    :param random: takes up to half of each pause away.
    :ivar failures: how many there were since the last success.
    :ivar longest: seconds that no pause exceeds.
    """

    random: Random
    failures: int = 0
    longest: float = settings.RETRY_LONGEST

    def failed(self) -> None:
        """Count a failure."""
        self.failures += 1

    def reset(self) -> None:
        """Count a success: begin anew."""
        self.failures = 0

    def pause(self) -> float:
        """Seconds to wait now; different each time."""
        longest = longest_pause(self.failures, settings.RETRY_FIRST, self.longest)
        return longest * (0.5 + self.random.random() / 2)
