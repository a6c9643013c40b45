"""Renews the dicts of indexes that have lost most of their records, so that the memory of these can be used again.

A dict keeps the place of each key that was removed (`pyshard.storage.memory.spare_room`), and none of them counts: of a
thousand indexes that were filled and emptied one after the other each would take as much as a full one.

Rules:

- the dicts of an index that has no records are cleared. Those of others are copied to new ones, by the keys that the
  slot order has: to go through a dict means to go by all of its empty places as well;
- an index with many records is copied some at a time, and one such index after the other. It goes on with its dicts
  until the new ones have everything: no look-up asks twice;
- small values are copied, too: those that are left may each be alone in a pool (`pyshard.storage.memory.compaction`);
- what changes meanwhile is put right at the end of its batch (`settle`), so little is ever to be put right at once;
- old dicts let go of what is in them some at a time, too;
- a step takes a millisecond or two. It takes longer when the new dict grows, 15 ms at half a million records, and when
  a dict is freed, 4 ms for each million of keys that it had. Both took longer when those were written.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from sys import getsizeof

from pyshard.model.key_slots import SLOTS
from pyshard.storage.memory.allocator_pools import copied
from pyshard.storage.memory.dict_lookups import stored_key
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.memory.index_watchers import Watcher
from pyshard.storage.memory.key_bins import Place
from pyshard.storage.memory.spare_room import takes_too_much

_COPIED = 20  # records that are copied in the time in which one is swept
_FREED = 8192  # bytes of a dict that are freed in the time in which a record is copied
_FOR_A_CHANGE = 2  # records that are copied, or freed, for each change where a store is to keep up with changes
_ALL_BINS = 500  # records that are copied in the time in which all bins are looked for


class TableRenewal(Watcher):
    """New dicts of an index, to which its records are copied.

    :param index: it tells of each record that is about to change.
    """

    def __init__(self, index: MemoryIndex) -> None:
        self.index = index
        self._records: dict[bytes, bytes] = {}
        self._expiries: dict[bytes, int] = {}
        self._reached: Place = (0, b"")  # all before it is copied
        self._changed: set[bytes] = set()  # keys before it that may have other values since
        index.watch(self)

    def keep(self, key: bytes, slot: int) -> None:
        """See `Watcher`."""
        if (slot, key) < self._reached:
            self._changed.add(key)

    def settle(self) -> None:
        """Copy what has changed once more."""
        changed, self._changed = self._changed, set()
        for key in changed:
            self._records.pop(key, None)
            self._expiries.pop(key, None)
            if key in self.index.records:
                self._copy(stored_key(self.index.records, key))  # which may be another object, if it went and came

    def copy(self, most: int) -> bool:
        """Copy some records.

        :param most: how many are looked at, about.
        :return: whether all are copied.
        """
        self.settle()
        records, copied = self.index.records, self._records
        while most > 0 and self._reached[0] < SLOTS:
            keys, self._reached = self.index.slot_index.bin_at(self._reached)
            most -= 1 + len(keys)
            for key in reversed(keys):  # of equal ones the last is the one that the index has
                if key in records and key not in copied:
                    self._copy(key)
        return self._reached[0] >= SLOTS

    def finish(self) -> Sequence[dict[bytes, bytes] | dict[bytes, int]]:
        """Have the index use the new dicts; everything is copied. Gives those that it had."""
        index = self.index
        assert len(self._records) == len(index.records)
        assert len(self._expiries) == len(index.expiries)
        old = index.records, index.expiries
        index.unwatch(self)
        index.renew(self._records, self._expiries)
        return old

    def _copy(self, key: bytes) -> None:
        self._records[key] = copied(self.index.records[key])
        expires = self.index.expiries.get(key)
        if expires is not None:
            self._expiries[key] = expires


class TableRenewals:
    """The renewals of a store's indexes.

    :ivar present: the one that takes several steps.
    """

    def __init__(self) -> None:
        self.present: TableRenewal | None = None
        self._old: list[dict[bytes, bytes] | dict[bytes, int]] = []

    @property
    def under_way(self) -> bool:
        """Whether there are other dicts with keys, and values, that indexes have: copies of these free nothing."""
        return self.present is not None or bool(self._old)

    def settle(self) -> None:
        """Put right what a batch has changed."""
        if self.present is not None:
            self.present.settle()

    def step(self, indexes: Iterable[MemoryIndex], most: int) -> bool:
        """Renew some dicts, and give back what others don't use.

        :param most: how many records a sweep of the store may remove.
        :return: whether there is more to do.
        """
        if self.present is not None and self.present.index.dropped:
            self.present = None
        room = self._let_go(most * _COPIED)
        for index in indexes:
            index.unused.give_back()
            if room > 0 and (takes_too_much(index.records) or takes_too_much(index.expiries)):
                room = self._renew(index, room)
        self._copy(max(room, most))
        return room <= 0 or self.present is not None or bool(self._old)

    def keep_up(self, changes: int) -> None:
        """Go on with what was begun, for changes that were made.

        :param changes: how many.
        """
        if self._let_go(_FOR_A_CHANGE * changes) > 0:
            self._copy(_FOR_A_CHANGE * changes)

    def _copy(self, most: int) -> None:
        """Copy some records of the present index, and have it use its new dicts if these are the last."""
        if self.present is not None and self.present.copy(most):
            self._old += self.present.finish()
            self.present = None

    def _renew(self, index: MemoryIndex, room: int) -> int:
        """Renew the dicts of an index that has few records, or begin with those of one that has many.

        :param room: how much may be done.
        :return: how much may be done after that.
        """
        if len(index.records) <= room:
            if self.present is not None and self.present.index is index:
                return room  # the next step of it does that
            room -= (getsizeof(index.records) + getsizeof(index.expiries)) // _FREED
            if not index.records:
                index.records.clear()
                index.expiries.clear()
                return room
            renewal = TableRenewal(index)
            renewal.copy(2 * SLOTS)
            renewal.finish()
            return room - len(index.records) - _ALL_BINS
        if self.present is None:
            self.present = TableRenewal(index)
        return room

    def _let_go(self, room: int) -> int:
        """Let go of what old dicts have.

        :param room: how much may be done.
        :return: how much may be done after that.
        """
        while self._old and room > 0:
            table = self._old[-1]
            for _ in range(min(len(table), room)):
                table.popitem()
                room -= 1
            if not table:
                self._old.pop()
        return room
