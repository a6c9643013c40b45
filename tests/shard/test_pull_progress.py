"""How far a pull is, and how fast it goes, by value."""

from __future__ import annotations

import attrs

from pyshard.shard.pull_progress import PullProgress


def test_rate() -> None:
    """Of the last seconds, or since the copy began; nothing once it is complete."""
    progress = PullProgress()
    assert progress.rate(0.0) == 0.0
    progress.begin(0, 100.0)
    progress.add(1, 500, 100.1)
    assert progress.rate(100.1) == 500.0
    for second in range(1, 20):
        progress.add(10, 1000, 100.0 + second)
    assert progress.rate(119.0) == 1000.0
    assert progress.rate(122.0) == 400.0
    assert progress.rate(130.0) == 0.0
    assert (progress.rows, progress.size) == (10, 19_500)  # the same ten again


def test_begun_anew() -> None:
    """What an earlier copy had doesn't count."""
    progress = PullProgress()
    progress.begin(7, 1.0)
    progress.add(1, 500, 2.0)
    progress.begin(9, 3.0)
    assert (progress.copies, progress.rows, progress.size, progress.expected) == (2, 0, 0, 9)
    assert progress.rate(3.0) == 0.0


def test_is_past() -> None:
    """It is where it failed until it has gone on from there, or has to begin anew."""
    progress = PullProgress(copies=1, rows=500, size=7)
    failed = attrs.evolve(progress)
    assert not progress.is_past(failed)
    assert not attrs.evolve(progress, copies=2, rows=400).is_past(failed)  # it will fail there again
    assert not attrs.evolve(progress, size=10_000).is_past(failed)  # the same rows came again
    assert attrs.evolve(progress, rows=501).is_past(failed)
    even = attrs.evolve(progress, sequence=9, even=3.0)
    assert even.is_past(failed)
    assert not even.is_past(attrs.evolve(even))
    assert attrs.evolve(even, even=4.0).is_past(even)
    assert attrs.evolve(even, sequence=10, even=3.0).is_past(even)
    assert PullProgress(copies=2).is_past(even)
