"""A page of keys of a durable store: a walk over the entries of the merged view, in slot order."""

from __future__ import annotations

from collections.abc import Iterator

from pyshard.metrics.disk_reads import disk_reads
from pyshard.model.slot_ranges import SlotRanges
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.interface import Page, PageBounds
from pyshard.storage.look_budget import FIRST, LookBudget
from pyshard.storage.page_walk import Step, page_of


def page_between(
    view: MergedView, index: int, ranges: SlotRanges, place: tuple[int, bytes | None], bounds: PageBounds, now: int
) -> Page:
    """The next keys of an index in some ranges.

    :param ranges: in order.
    :param place: a slot and a key: of that slot only the keys behind that one; None: all of the slot.
    :param bounds: what ends the page.
    :param now: milliseconds since 1970.
    """
    looks = LookBudget(disk_reads)
    return page_of(_steps_between(view, index, ranges, place, now, looks), bounds, looks)


def _steps_between(
    view: MergedView, index: int, ranges: SlotRanges, place: tuple[int, bytes | None], now: int, looks: LookBudget
) -> Iterator[Step]:
    """The entries of an index in some ranges, whose bytes are taken from what may be looked at."""
    slot, after = place
    passed = b"" if after is None else lmdb_encoding.database_key(index, slot, after)
    for start, end in ranges:
        first = max(passed, lmdb_encoding.PREFIX.pack(index, start))
        entries = view.entries(first, lmdb_encoding.PREFIX.pack(index, end))
        for number, (db_key, value) in enumerate(entries):
            if number % FIRST == 0:
                looks.look()
            if db_key != passed:
                yield _step(db_key, value, now, looks)


def _step(db_key: bytes, value: memoryview, now: int, looks: LookBudget) -> Step:
    """An entry of the merged view as a step of a walk."""
    slot = lmdb_encoding.PREFIX.unpack_from(db_key)[1]
    looks.took(len(value))
    if not value:
        return slot, None, False
    key = lmdb_encoding.whole_key(memoryview(db_key), value)
    return slot, key, not 0 < lmdb_encoding.expiry_of(value) <= now
