"""An index of a store in memory as it was at one moment, record by record, while the index goes on changing.

Nothing is copied at that moment. The records are given in the order of slot and key, as they are now; of a record that
changes before its turn what it was is kept.

Rules:

- whoever changes a record says so, once or more often (`pyshard.storage.memory.index_watchers`);
- a record whose version is higher than any was at the moment isn't given, unless what it was is kept;
- each step looks at a bounded number of records, and holds few bytes of them;
- what was given isn't kept any more, and what changes behind that isn't either;
- of a key that came since and has gone again nothing is kept: there may be any number of them, and none of them counts
  for the store;
- what had expired at the moment isn't given, but counted.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from sys import getsizeof
from typing import Protocol

from pyshard.model.key_slots import SLOTS
from pyshard.model.slot_ranges import SlotRanges, holds_all, in_ranges, positions_in, span
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.columns import picker, total_size
from pyshard.storage.memory.index_watchers import Watcher
from pyshard.storage.memory.key_bins import Place
from pyshard.storage.memory.slot_index import SlotIndex

#: Bytes of memory that a value takes beside its record, and a key beside its text.
KEPT_BYTES = 45

_EXPIRY_BYTES = 32  # of memory, that an expiry takes beside its place in a dict
_SLICE = 256  # records that are looked at together
_SLICE_BYTES = 1_048_576  # of them, or one more record

#: A record as it was: its key, what `MemoryIndex.records` has of it, and its expiry; None: one that isn't given.
Found = tuple[bytes, bytes, int] | None


class Tables(Protocol):
    """The dicts of an index; see `MemoryIndex`. It has others now and then."""

    @property
    def records(self) -> Mapping[bytes, bytes]:
        """Key → version and record."""
        ...

    @property
    def expiries(self) -> Mapping[bytes, int]:
        """Key → expiry."""
        ...


class IndexAtMoment(Watcher):
    """What an index has when this is made.

    :param tables: the index.
    :param slot_index: its keys in their order.
    :param newest: no record has a higher version, and each one that is written from now on has one. What comes from
        elsewhere may have any.
    :param now: what has expired by then isn't given, in milliseconds since 1970; 0: everything is.
    :param ranges: which slots are wanted, in order; None: all.
    :ivar expired: how many records had expired, of those that were looked at or have changed.
    :ivar kept: how many records were kept, ever.
    """

    def __init__(
        self,
        tables: Tables,
        slot_index: SlotIndex,
        newest: int,
        now: int = 0,
        ranges: SlotRanges | None = None,
    ) -> None:
        self._tables = tables
        self._slot_index = slot_index
        self._now = now
        self._ranges = ranges
        self.newest = newest
        self._since = VERSION.pack(newest + 1)  # values from here on came since, or have changed
        self._reached: Place = (-1, b"") if tables.records else (SLOTS, b"")  # all up to here was given
        self._kept: dict[bytes, bytes | None] = {}  # what wasn't given yet and has changed; None: it isn't to be given
        self._expiries: dict[bytes, int] = {}  # of these
        self._bytes = 0
        self._going: bytes | None = None  # a key that isn't to be given, and may be about to go
        self.expired = self.kept = 0

    @property
    def pinned(self) -> int:
        """Bytes of memory that are kept for it."""
        return self._bytes + getsizeof(self._kept) + getsizeof(self._expiries)

    def keep(self, key: bytes, slot: int) -> None:
        """Keep what a record is, or that there is none, if it wasn't given yet: it is about to change."""
        if self._going is not None:
            self._drop_gone(self._going)
        if (slot, key) <= self._reached or not in_ranges(slot, self._ranges):
            return
        if key not in self._kept:
            value, expires = self._as_it_was(key)
            self._kept[key] = value
            if value is not None:
                self.kept += 1
                self._bytes += len(value) + len(key) + 2 * KEPT_BYTES
                if expires:
                    self._expiries[key] = expires
                    self._bytes += _EXPIRY_BYTES
        if self._kept[key] is None and key in self._tables.records:
            self._going = key

    def keep_column(self, keys: Sequence[bytes], slots: Sequence[int]) -> None:
        """See `Watcher`: of records that have an expiry more is to be kept than a value."""
        expiries = self._tables.expiries
        if expiries and not expiries.keys().isdisjoint(keys):
            for key, slot in zip(keys, slots, strict=True):
                if key in expiries:
                    self.keep(key, slot)

    def keep_replaced(self, keys: Sequence[bytes], slots: Sequence[int], values: Sequence[bytes]) -> None:
        """See `Watcher`: keep what wasn't given yet, is wanted, and isn't kept already."""
        if max(values) >= self._since:
            pick = picker([position for position, value in enumerate(values) if value < self._since])
            keys, slots, values = pick(keys), pick(slots), pick(values)
        if self._ranges is not None and not holds_all(self._ranges, slots):
            pick = picker(positions_in(slots, self._ranges))
            keys, slots, values = pick(keys), pick(slots), pick(values)
        if keys and self._reached[0] >= 0 and span(slots)[0] <= self._reached[0]:
            places = enumerate(zip(slots, keys, strict=True))
            pick = picker([position for position, place in places if place > self._reached])
            keys, values = pick(keys), pick(values)
        if not self._kept.keys().isdisjoint(keys):
            pick = picker([position for position, key in enumerate(keys) if key not in self._kept])
            keys, values = pick(keys), pick(values)
        self._kept.update(zip(keys, values, strict=True))
        self.kept += len(keys)
        self._bytes += total_size(keys) + total_size(values) + 2 * KEPT_BYTES * len(keys)

    def found(self) -> Iterator[Found]:
        """All records, each once, and None for each place that has none, and for each range without any place."""
        while self._reached < (SLOTS, b""):
            yield from self._next_slice() or (None,)
        while self._kept:
            yield self._was_kept(*self._kept.popitem())

    def _drop_gone(self, key: bytes) -> None:
        """Keep nothing of a key that isn't to be given, if it has gone: if it comes again, that is known then, too."""
        self._going = None
        if key not in self._tables.records and self._kept.get(key, key) is None:
            del self._kept[key]

    def _next_slice(self) -> list[Found]:
        """The next few records, which count as given."""
        start, after = self._reached
        first, end = self._next_range(max(start, 0))
        places = self._slot_index.walk(first, after if first == start else None, end)
        kept, records, plain = self._kept, self._tables.records, self._ranges is None and not self._tables.expiries
        found: list[Found] = []
        size = 0
        for slot, key, visible in islice(places, _SLICE):
            assert key is not None
            one: Found = None
            if key in kept:
                one = self._was_kept(key, kept.pop(key))
            elif visible and plain:  # as is mostly so
                value = records[key]
                one = (key, value, 0) if value < self._since else None
            elif visible:  # only wanted slots are walked through
                was, expires = self._as_it_was(key)
                one = None if was is None else (key, was, expires)
            found.append(one)
            if one is not None:
                size += len(one[1])
                if size >= _SLICE_BYTES:
                    self._reached = slot, key
                    return found
        self._reached = (slot, key or b"") if len(found) == _SLICE else (end, b"")
        return found

    def _next_range(self, slot: int) -> tuple[int, int]:
        """The wanted slots from one on, up to the end of their range. So others aren't looked at."""
        if self._ranges is None:
            return slot, SLOTS
        later = bisect_right(self._ranges, slot, key=lambda wanted: wanted[1])
        return (
            (max(slot, self._ranges[later][0]), self._ranges[later][1]) if later < len(self._ranges) else (SLOTS, SLOTS)
        )

    def _as_it_was(self, key: bytes) -> tuple[bytes | None, int]:
        """What a record is of which nothing is kept, and its expiry; None: it wasn't there, or had expired."""
        value = self._tables.records.get(key)
        if value is None or value >= self._since:
            return None, 0
        expires = self._tables.expiries.get(key, 0)
        if 0 < expires <= self._now:
            self.expired += 1
            return None, 0
        return value, expires

    def _was_kept(self, key: bytes, value: bytes | None) -> Found:
        """What was kept of a key, and isn't any more."""
        if value is None:
            return None
        expires = self._expiries.pop(key, 0)
        self._bytes -= len(value) + len(key) + 2 * KEPT_BYTES + (_EXPIRY_BYTES if expires else 0)
        return key, value, expires
