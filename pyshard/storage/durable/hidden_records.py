"""Hidden records of a durable store: how slots become hidden or visible, and how what is left over is removed.

Rules:

- ranges change as a part of a group. Records stay as they are: who may see them changes;
- what is left over is removed through the log, some hundred records at a time. When nothing of it is left, the last
  group says so, and the slots are free;
- what isn't there isn't left over, so slots without records are free at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.hidden_counts import Tallies
from pyshard.storage.store_index import cost

#: How many times the time of a trim is counted as background work: nobody waits for what it gives back.
TRIM_COUNTED = 2


def set_ranges(
    view: MergedView, counters: Counters, changes: GroupChanges, ranges: StoreRanges, given_up: Tallies | None = None
) -> None:
    """Have other ranges.

    :param given_up: see `HiddenCounts.set_ranges`.
    """
    counters.hidden.set_ranges(ranges, lambda some: _counted(view, counters, some), given_up)
    changes.ranges = ranges


def free_what_is_empty(view: MergedView, counters: Counters, changes: GroupChanges) -> None:
    """Have no slots left over if they have no records."""
    ranges = counters.hidden.ranges
    if ranges.left and counters.hidden.nothing_is_left():
        set_ranges(view, counters, changes, ranges.trimmed())


def trim(view: MergedView, counters: Counters, changes: GroupChanges, place: bytes, most: int) -> bool:
    """Remove records that are left over; a store that follows another one leaves that to it.

    :param place: no such record has a lower database key.
    :param most: how many, at the most.
    :return: whether there are more.
    """
    if counters.follows:
        return False
    left = counters.hidden.ranges.left
    found = list(islice(records_between(view, counters, left, changes.trimmed or place), most))
    for db_key, value in found:
        number, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
        key = lmdb_encoding.whole_key(memoryview(db_key), value)
        old = lmdb_encoding.unpack(key, value)
        assert old is not None  # the key is the value's own
        size = cost(key, old)
        DurableIndex(view, number, counters, changes).remove(db_key, key, slot, size)
        counters.hidden.note(number, slot, -1, -size)
    if found:
        changes.trimmed = found[-1][0]
    if len(found) < most and left:
        set_ranges(view, counters, changes, counters.hidden.ranges.trimmed())
    return len(found) == most


def recount(view: MergedView, counters: Counters) -> None:
    """Count anew all that is hidden."""
    ranges = counters.hidden.ranges
    counters.hidden.set_ranges(StoreRanges(), lambda _: ())
    counters.hidden.set_ranges(ranges, lambda some: _counted(view, counters, some))


def _counted(view: MergedView, counters: Counters, ranges: SlotRanges) -> Iterator[tuple[int, int, int]]:
    """Index id, slot and used bytes of each record in some ranges."""
    for db_key, value in records_between(view, counters, ranges):
        number, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
        yield number, slot, lmdb_encoding.used_by(db_key, value)


def records_between(
    view: MergedView, counters: Counters, ranges: SlotRanges, place: bytes = b""
) -> Iterator[tuple[bytes, memoryview]]:
    """Database key and value of the records in some ranges, in order, from a place on."""
    for number in sorted(counters.documents):
        for start, end in ranges:
            first, behind = (lmdb_encoding.PREFIX.pack(number, slot) for slot in (start, end))
            if place < behind:
                yield from view.between(max(first, place), behind)
