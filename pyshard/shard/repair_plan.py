"""Which rows of a copy that differs from its source are fetched again. Pure.

Rules:

- only buckets that differ are fetched again (`pyshard.protocol.row_digests`). Where more than a quarter of them do, the
  whole copy is begun anew: something is wrong with all of it;
- they are fetched a portion at a time. While a portion is fetched, the copy takes no changes, and the target remembers
  something of each row that it has in it. So a portion is small, unless a single bucket is large.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pyshard.model.slot_ranges import SlotRanges, union
from pyshard.protocol.row_digests import BucketDigest, RowDigests
from pyshard.settings import settings

_MOST_PARTS = 4  # no more than one bucket in so many may differ
_MOST_ROWS = 50_000  # of a portion, on either side: some seconds of work, and some megabytes to remember


@attrs.frozen
class RepairPortion:
    """Buckets that are fetched again together.

    :param buckets: how many.
    :param ranges: their slots.
    """

    buckets: int
    ranges: SlotRanges


def repair_portions(mine: RowDigests, theirs: Sequence[BucketDigest]) -> list[RepairPortion] | None:
    """What is to be fetched again.

    :param mine: digests of the copy's rows.
    :param theirs: those of the source's rows.
    :return: in the order of slots; none: nothing differs; None: too much does.
    """
    differing = mine.differing(theirs)
    if len(differing) * _MOST_PARTS > len(theirs):
        return None
    portions: list[RepairPortion] = []
    here, rows = mine.buckets(), 0
    for number in differing:
        more, slots = max(here[number].rows, theirs[number].rows), mine.slots_of(number)
        rows += more
        together = union(portions[-1].ranges, slots) if portions else ()
        if together and rows <= _MOST_ROWS and len(together) <= settings.MAX_SHARD_RANGES:
            portions[-1] = RepairPortion(portions[-1].buckets + 1, together)
        else:
            portions.append(RepairPortion(1, slots))
            rows = more
    return portions
