"""How much of the time that something took counts: what others had the processor for is nobody's time.

Where processors are few, or virtual, the system gives them to other processes in the middle of whatever is being done:
for milliseconds, and for tenths of a second on a busy machine. Whoever was served in that moment would wait for that,
up to four times as long (`pyshard.server.address_time_shares`).

Rules:

- Only what took long is looked at.
- A box that seems to have taken long counts as one that has just done so, if it wasn't measured. The next ones are. So
  nobody's boxes are taken for long ones for what others did, and one box in 0.1 s may count too little.
- Of that as much counts, at the most, as this thread has had of a processor since the last look. That was shortly
  before it began, so a little more counts than it had.
- If the system has read from a disk for this thread meanwhile, all of it counts: others wait for that as well.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from pyshard.metrics.disk_reads import disk_reads

#: Seconds up to which all of a time counts.
SHORTEST = 0.002

#: The same of a box, which others have to wait for if it takes longer. It is to be measured from then on.
LONG = 0.00015

_FRESH = 0.001  # seconds for which a look does: a look takes 2 µs


class OwnTime:
    """The own time of one thread.

    :param processor: seconds of a processor that the calling thread has had.
    :param reads: as `disk_reads`.
    """

    def __init__(self, processor: Callable[[], float], reads: Callable[[], int] = disk_reads) -> None:
        self._processor = processor
        self._reads = reads
        self._at = -inf  # when it was looked last
        self._had, self._read = 0.0, 0  # what was seen then

    def look(self, now: float) -> None:
        """Look, before something begins, what the thread has had until then.

        :param now: the time, in seconds of any clock.
        """
        if not 0 <= now - self._at < _FRESH:
            self._at, self._had, self._read = now, self._processor(), self._reads()

    def of(self, passed: float) -> float:
        """Seconds that count of those that something took that has just ended, and began after the last look."""
        if passed < SHORTEST or self._reads() != self._read:
            return passed
        return min(passed, max(0.0, self._processor() - self._had))

    def of_box(self, passed: float, had: float | None) -> float:
        """The same of a box, which counts as a long one by what it took.

        :param had: what the processor's clock said when it began; None: it wasn't asked.
        """
        if passed < LONG or self._reads() != self._read:
            return passed
        if had is not None:
            return min(passed, max(0.0, self._processor() - had))
        return LONG if passed < SHORTEST else self.of(passed)
