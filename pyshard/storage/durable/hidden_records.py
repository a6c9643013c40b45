"""Hidden records of a durable store: how slots become hidden or visible, and how what is left over is removed.

Rules:

- ranges change as a part of a group. Records stay as they are: who may see them changes;
- what is left over is removed through the log, some hundred records at a time. When nothing of it is left, the last
  group says so, and the slots are free;
- what isn't there isn't left over, so slots without records are free at once;
- what is given up and isn't all counted, as at a member that was told of it late, is counted behind, some at a time
  (`pyshard.storage.durable.given_up_counts`);
- where there are many indexes and ranges, records that nobody wants lie between those that are wanted. They are told
  of, so that whoever asks can count them. A few of them are walked through; then it goes on behind all of them.
"""

from __future__ import annotations

from collections.abc import Iterator

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.durable.wanted_places import WantedPlaces
from pyshard.storage.hidden_counts import Tallies, tallies_of
from pyshard.storage.store_index import cost

#: How many times the time of a trim is counted as background work: nobody waits for what it gives back.
TRIM_COUNTED = 2

_LOOKS = 4  # records that are looked at in the time in which one is removed
_IN_VAIN = 16  # records that are walked through in the time in which others are looked for


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
    found: list[tuple[bytes, memoryview]] = []
    removed = 0
    for looked_at, (db_key, value) in enumerate(records_between(view, counters, left, changes.trimmed or place)):
        if removed >= most or looked_at >= most * _LOOKS:
            more = True
            break
        changes.trimmed = db_key
        if value is not None:
            found.append((db_key, value))
            removed += lmdb_encoding.looks(value)
    else:
        more = False
    for db_key, value in found:
        number, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
        key = lmdb_encoding.whole_key(memoryview(db_key), value)
        old = lmdb_encoding.unpack(key, value)
        assert old is not None  # the key is the value's own
        size = cost(key, old)
        DurableIndex(view, number, counters, changes).remove(db_key, key, slot, size)
        counters.hidden.note(number, slot, -1, -size)
    if left and not more:
        set_ranges(view, counters, changes, counters.hidden.ranges.trimmed())
    return more


def recount(view: MergedView, counters: Counters) -> None:
    """Count anew all that is hidden."""
    ranges = counters.hidden.ranges
    counters.hidden.set_ranges(StoreRanges(), lambda _: ())
    left = tallies_of(_counted(view, counters, ranges.left))
    counters.hidden.set_ranges(ranges, lambda some: _counted(view, counters, some), left)


def _counted(view: MergedView, counters: Counters, ranges: SlotRanges) -> Iterator[tuple[int, int, int]]:
    """Index id, slot and used bytes of each record in some ranges."""
    for db_key, value in records_between(view, counters, ranges):
        if value is not None:
            number, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
            yield number, slot, lmdb_encoding.used_by(db_key, value)


def records_between(
    view: MergedView, counters: Counters, ranges: SlotRanges, place: bytes = b""
) -> Iterator[tuple[bytes, memoryview | None]]:
    """Database key and value of the records in some ranges, in order, and of others between them the key alone.

    A large record is followed by its key alone, as often as others could be looked at meanwhile.

    :param place: from here on.
    """
    wanted = WantedPlaces(sorted(counters.documents), ranges)
    span = wanted.span_at(place)
    while span is not None:
        place, in_vain = max(place, span[0]), 0
        for db_key, value in view.entries(place, wanted.behind):
            if db_key >= span[1]:
                span = wanted.span_at(db_key)
                if span is None:
                    return
            if db_key >= span[0]:
                in_vain = 0
                yield db_key, value or None
            else:
                in_vain += 1
                yield db_key, None
            for _ in range(1, lmdb_encoding.looks(value)):
                yield db_key, None
            if in_vain == _IN_VAIN:
                break
        else:
            return
