"""How many documents lie where on the hash line: the counts behind the histogram in `stat`.

Rules:

- a *bucket* is 8,192 neighboring slots (the last one has fewer), and a store keeps one count for each;
- a histogram is made of whole buckets, so its bars may be off by 8,192 slots at each bound.
"""

from __future__ import annotations

from array import array

from pyshard.model.key_slots import SLOTS

BUCKET_BITS = 13
BUCKETS = (SLOTS >> BUCKET_BITS) + 1


def new_bucket_counts(saved: bytes = b"") -> array[int]:
    """Counts for all buckets.

    :param saved: what `tobytes` of such counts gave; default: every count is 0.
    :raises ValueError: `saved` has another number of buckets.
    """
    counts = array("I", saved or bytes(4 * BUCKETS))
    if len(counts) != BUCKETS:
        raise ValueError(f"counts of {len(counts):,} buckets, not of {BUCKETS:,}")
    return counts


def histogram(bucket_counts: array[int], start: int, end: int, bars: int) -> list[int]:
    """Cut the slots [start, end) into equal bars, and count each bucket of them in the bar where its middle is.

    :param bars: how many bars; at least 1.
    :return: documents in each bar.
    """
    result = [0] * bars
    for bucket in range(start >> BUCKET_BITS, ((end - 1) >> BUCKET_BITS) + 1):
        middle = (bucket << BUCKET_BITS) + (1 << (BUCKET_BITS - 1))
        bar = (middle - start) * bars // (end - start)
        result[max(0, min(bar, bars - 1))] += bucket_counts[bucket]
    return result
