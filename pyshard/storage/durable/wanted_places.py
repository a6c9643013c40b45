"""Which database keys are of some indexes and slots, in their order. Pure.

There may be a thousand of both, and a million of their pairs, of which nearly none has a record. So nobody asks for
each pair: whoever walks through records asks here what is wanted next, behind the place where one was found.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from pyshard.model.slot_ranges import SlotRanges
from pyshard.storage.durable.lmdb_encoding import PREFIX

#: From the first of some database keys on, and up to the second, which isn't one of them.
Span = tuple[bytes, bytes]


class WantedPlaces:
    """The database keys of some slots, in each of some indexes.

    :param indexes: ids, in order.
    :param ranges: the slots.
    """

    def __init__(self, indexes: Sequence[int], ranges: SlotRanges) -> None:
        self._indexes = indexes
        self._ranges = ranges

    @property
    def behind(self) -> bytes:
        """No wanted key is here or behind it."""
        return PREFIX.pack(self._indexes[-1], self._ranges[-1][1]) if self._indexes and self._ranges else b""

    def span_at(self, place: bytes) -> Span | None:
        """The first span that ends behind a place; None: there is none.

        :param place: a database key, or the beginning of one.
        """
        number, slot = PREFIX.unpack(place[: PREFIX.size].ljust(PREFIX.size, b"\0"))
        at = bisect_left(self._indexes, number)
        if at == len(self._indexes) or not self._ranges:
            return None
        within = 0
        if self._indexes[at] == number:
            within = bisect_right(self._ranges, slot, key=lambda wanted: wanted[1])
            if within == len(self._ranges):
                at, within = at + 1, 0
                if at == len(self._indexes):
                    return None
        start, end = self._ranges[within]
        return PREFIX.pack(self._indexes[at], start), PREFIX.pack(self._indexes[at], end)
