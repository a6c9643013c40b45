"""How many documents lie where on the hash line: the counts behind the histogram in `stat`.

Rules:

- a *bucket* is 8,192 neighboring slots (the last one has fewer), and a store keeps one count for each;
- a histogram is made of whole buckets, so its bars may be off by 8,192 slots at each bound.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from itertools import pairwise

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


def histogram(
    bucket_counts: array[int], start: int, end: int, bars: int, hidden: Sequence[Mapping[int, int]] = ()
) -> list[int]:
    """Cut the slots [start, end) into equal bars, and count each bucket of them in the bar where its middle is.

    :param bars: how many bars; at least 1.
    :param hidden: bucket → documents of those that don't count.
    :return: documents in each bar.
    """

    firsts = [start - (start - end) * bar // bars for bar in range(1, bars)]  # slots of the bars behind the first one
    up_to_middle = (1 << (BUCKET_BITS - 1)) - 1
    inner = [(slot + up_to_middle) >> BUCKET_BITS for slot in firsts]
    bounds = [start >> BUCKET_BITS, *inner, ((end - 1) >> BUCKET_BITS) + 1]
    found = [sum(bucket_counts[begin:behind]) for begin, behind in pairwise(bounds)]
    for counts in hidden:
        for bar, (begin, behind) in enumerate(pairwise(bounds)):
            if found[bar]:
                found[bar] -= sum(counts.get(bucket, 0) for bucket in range(begin, behind))
    return found
