"""Histograms count each value in its bucket."""

from __future__ import annotations

from pyshard.metrics.histogram import BYTES, SECONDS, Histogram


def test_buckets() -> None:
    """A value at a bound is within it; what is above all bounds has a bucket, too."""
    histogram = Histogram((1, 10))
    for value in (0, 1, 1.5, 10, 11, 1000):
        histogram.add(value)
    assert histogram.described() == {"bounds": [1, 10], "counts": [2, 2, 2], "sum": 1023.5}


def test_bounds_rise() -> None:
    """Both sets of bounds do."""
    for bounds in (SECONDS, BYTES):
        assert list(bounds) == sorted(set(bounds))
