"""How much a store may still look at for one batch, or for one page of keys: bytes of records, and reads from a disk.

Rules:

- only a store that pays for them counts them: LMDB's binding touches each page of a value that it gives, wanted or not;
- the store counts, and whoever serves the batch or the page ends it when nothing is left;
- the first record always passes, however large it is, and so do the first few keys, wherever they are;
- what isn't in memory takes a thousand times as long, so keys are looked at in parts: small ones, until nothing of one
  came from a disk. A large record alone may need thousands of reads, so they are counted behind each of these.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pyshard.settings import settings

#: Keys of the first part, and of each one behind a part for which a disk was read.
FIRST = 32

_LARGE = 65_536  # bytes of a record behind which the reads are counted

_LARGEST = 256  # keys of a part: what was in memory says nothing of the next ones


class LookBudget:
    """What is left.

    :param reads: as `pyshard.metrics.disk_reads.disk_reads`; None: the store reads from no disk.
    :ivar whole: how many bytes there were.
    :ivar left: how many there are; 0 or below when no more may be looked at.
    """

    __slots__ = ("_last", "_reads", "_reads_left", "_used", "left", "whole")

    def __init__(self, reads: Callable[[], int] | None = None) -> None:
        self.left = self.whole = settings.LOOKED_AT_ONCE
        self._reads = reads
        self._reads_left = settings.DISK_READS_AT_ONCE
        self._last: int | None = None
        self._used = False

    def parts(self, count: int) -> Iterator[slice]:
        """Which of many keys to look at together, part by part, until nothing is left. There is one part at least.

        :param count: how many keys there are.
        """
        if self._reads is None:
            yield slice(0, count)
            return
        if self._used or count > FIRST:
            self.look()
        self._used = True
        begin, size = 0, FIRST
        while True:
            yield slice(begin, begin + size)
            begin += size
            if begin >= count:
                return
            size = FIRST if self.look() else min(2 * size, _LARGEST)
            if self.left <= 0:
                return

    def took(self, size: int) -> None:
        """Count a record that was looked at.

        :param size: its bytes.
        """
        self.left -= size
        if size >= _LARGE:
            self.look()

    def look(self) -> bool:
        """Count what was read from a disk since the last look; whether that was anything."""
        if self._reads is None:
            return False
        last, self._last = self._last, self._reads()
        if last is None or last == self._last:
            return False
        self._reads_left -= self._last - last
        if self._reads_left <= 0:
            self.left = min(self.left, 0)
        return True
