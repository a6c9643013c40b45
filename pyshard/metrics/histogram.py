"""A histogram with fixed bounds: how many values were at most so large, and their sum."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

#: Bounds of times, in seconds: from what a batch in memory takes to what a client waits for.
SECONDS = (
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

#: Bounds of sizes, in bytes: from a small change to the largest group.
BYTES = (256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304, 16_777_216)


class Histogram:
    """Counts values by size.

    :param bounds: the largest value that each bucket counts, rising. One more bucket has what is larger.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self._bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def described(self) -> dict[str, object]:
        """What `stat` has of it: the bounds, the count of each bucket, and the sum of all values."""
        return {"bounds": list(self._bounds), "counts": list(self._counts), "sum": round(self._sum, 6)}
