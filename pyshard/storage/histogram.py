"""How many documents lie where: a count for each *bucket* of 8,192 slots, for histograms."""

from __future__ import annotations

from array import array

from pyshard.model.keyspace import SLOTS

BUCKET_BITS = 13
BUCKETS = (SLOTS >> BUCKET_BITS) + 1


def new_counts(saved: bytes = b"") -> array[int]:
    """Counts for all buckets: none, or those that `tobytes` gave.

    :raises ValueError: it never gave these.
    """
    counts = array("I", saved or bytes(4 * BUCKETS))
    if len(counts) != BUCKETS:
        raise ValueError(f"counts of {len(counts):,} buckets, not of {BUCKETS:,}")
    return counts


def histogram(counts: array[int], start: int, end: int, bars: int) -> list[int]:
    """The counts of the buckets of [start, end), in `bars` equal parts; a bucket counts where its middle is."""
    result = [0] * bars
    for bucket in range(start >> BUCKET_BITS, ((end - 1) >> BUCKET_BITS) + 1):
        middle = (bucket << BUCKET_BITS) + (1 << (BUCKET_BITS - 1))
        bar = (middle - start) * bars // (end - start)
        result[max(0, min(bar, bars - 1))] += counts[bucket]
    return result
