"""Copies small objects of a store in memory when they keep far more memory from use than they take.

A record and a key are objects of Python's, which takes small ones out of pools of one size each
(`pyshard.storage.memory.allocator_pools`). Whoever leaves a single document in each pool, size by size, has a shard
take many times of what its documents count. Copies of them fill few pools, and the other pools are free for any size.

Rules:

- what counts is how much room pools in use have, beside what the store holds. Nobody pays for that but who looks;
- objects of those sizes alone are copied whose pools have much room: a quarter for values, half for keys. These have to
  be taken out of their dict and put in again, since it has one object with the slot order and the expiries;
- some are copied in a step, and after each step the index is as it was, to whoever looks;
- while there is more room than a quarter of what the store holds, each change has some copied as well. So whoever
  leaves room behind pays for it, and can't leave it faster than it is won back;
- what didn't help isn't done again before there is half as much more to win, or a time has passed: a second, twice as
  long each time, five minutes at the most. Others have objects in pools, too, as snapshots have that keep what has
  changed. Whether it helped goes by the sizes that it began with: meanwhile somebody may leave others behind. If most
  of it was done for changes, they may have left as much of those sizes, so that tells nothing;
- larger objects are left alone. They are the C library's, which joins free neighbors of any sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from pyshard.model.key_slots import SLOTS
from pyshard.storage.dict_values import values_of
from pyshard.storage.memory.allocator_pools import PoolUse, ReadPools, copied, lengths_in
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.memory.key_bins import Place

_LOOKED_AT = 40  # records that are looked at in the time in which one is swept
_COPY = 2  # records that are looked at in the time in which a value is copied
_COPY_OF_KEY = 5  # the same for a key
_LATE = 4  # the part of what the store holds that is much room: then there is a hurry
_HURRY = 3  # times that more is done in a step then
_FOR_A_CHANGE = (
    8  # records that are then looked at for each change: a whole copy takes three, or five, times its records
)
_MOST_FOR_CHANGES = 24_000  # records that are looked at for the changes of a batch: some milliseconds
_LOOK_EVERY = 0.4  # seconds between two looks, at the least: so each sweep of a store that has nothing to do looks
_LOOK_REST = 200  # times that a look took: so long it is before the next one
_FEW = 16_777_216  # bytes of room in pools that aren't worth it
_PART = 8  # the same, as a part of what the store holds
_WORTH_IT = 64  # the part of the room that is worth it, of pools of one size
_WON = 4  # the part of the room that is to be won, or it didn't help
_FIRST_REST = 1.0  # seconds until it is tried again after that
_LONGEST_REST = 300.0

_BEGIN: Place = (0, b"")


def room_in(pools: Iterable[PoolUse]) -> int:
    """Bytes of room that pools in use have."""
    return sum(pool.size * pool.room for pool in pools)


def sparse(pools: Sequence[PoolUse]) -> dict[int, PoolUse]:
    """Those pools, by size, that have much room: a quarter, and a part of all that counts."""
    worth_it = room_in(pools) // _WORTH_IT
    return {pool.size: pool for pool in pools if pool.size * pool.room > worth_it and 3 * pool.room > pool.objects}


def lengths_of(sizes: Iterable[int]) -> frozenset[int]:
    """The lengths of values, and of keys, that are from pools of some sizes."""
    return frozenset(length for size in sizes for length in lengths_in(size))


class Worth:
    """Whether a compaction is worth it. Pure."""

    def __init__(self) -> None:
        self._in_vain = 0  # bytes that the last one left if it didn't help, and nobody has freed since
        self._rest = self._rests_until = 0.0

    def is_worth_it(self, room: int, held: int, now: float) -> bool:
        """Whether to begin.

        :param room: bytes of room that pools in use have.
        :param held: bytes that the store's records count.
        :param now: in seconds.
        """
        self._in_vain = min(self._in_vain, room)
        is_much = room > max(_FEW, held // _PART)
        return is_much and (now >= self._rests_until or room > self._in_vain + self._in_vain // 2)

    def ended(self, before: int, after: int, room: int, now: float) -> None:
        """Note what one has won.

        :param before: bytes of room that those pools had, when it began, of which it copied objects.
        :param after: what pools of these sizes have now.
        :param room: what all have now.
        """
        helped = after < before - before // _WON
        self._in_vain = 0 if helped else room
        self._rest = 0 if helped else min(2 * self._rest, _LONGEST_REST) or _FIRST_REST
        self._rests_until = now + self._rest


def copy_some(index: MemoryIndex, keys: list[bytes], of_values: Collection[int], of_keys: Collection[int]) -> int:
    """Have copies of those values, and of those keys, that have some lengths.

    :param keys: a list of the slot order, of keys that the index has; it has the copies afterwards.
    :return: what it took, in records that are looked at.
    """
    took, values = len(keys), values_of(index.records, keys)
    for key, value in zip(keys, values, strict=True):
        assert value is not None  # the index has each of these keys
        if len(value) in of_values:
            index.records[key] = copied(value)
            took += _COPY
    for at, key in enumerate(keys):
        if len(key) in of_keys:
            keys[at] = new = copied(key)
            index.replace_key(key, new)
            took += _COPY_OF_KEY
    return took


class Compaction:
    """The compaction of a store.

    :param pools: tells of the allocator's pools.
    :param steady: the clock that times looks.
    :ivar is_late: whether there was much room at the last look (`_LATE`), and it is worth it.
    """

    def __init__(self, pools: ReadPools, steady: Callable[[], float]) -> None:
        self._pools, self._steady = pools, steady
        self._worth = Worth()
        self._next_look = steady()
        self.is_late = False
        self._before: Mapping[int, PoolUse] = {}  # sparse pools, by size, when the present one began
        self._of_values = self._of_keys = frozenset[int]()  # the lengths of what it copies
        self._left: list[MemoryIndex] = []  # the indexes that it hasn't done
        self._place = _BEGIN  # up to here the last of them is done
        self._for_changes = 0  # records that may be looked at for changes in the present one, less those for sweeps
        self._owed = 0  # those of them that weren't looked at yet; less than 0: so many more were

    def step(self, indexes: Iterable[MemoryIndex], most: int, held: int) -> bool:
        """Copy some records, if that is worth it.

        :param most: how many records a sweep of the store may remove.
        :param held: bytes that the store's records count.
        :return: whether there is more to do.
        """
        if not self._is_under_way(indexes, held):
            return False
        most *= _LOOKED_AT * (_HURRY if self.is_late else 1)
        self._for_changes -= most
        self._go_on(most)
        return bool(self._left)

    def keep_up(self, indexes: Iterable[MemoryIndex], changes: int, held: int) -> None:
        """Copy some records for changes that were made; for the other parameters see `step`.

        :param changes: how many.
        """
        if self._is_under_way(indexes, held):
            most = min(_FOR_A_CHANGE * changes, _MOST_FOR_CHANGES)
            self._for_changes += most
            self._owed += most
            if self._owed > 0:  # a list of keys is done as a whole, so the next changes may have nothing to do
                self._owed = min(0, self._go_on(self._owed))

    def _is_under_way(self, indexes: Iterable[MemoryIndex], held: int) -> bool:
        """Whether there is something to copy, after a look if it is time for one."""
        if self._steady() >= self._next_look:
            pools = self._look()
            room, few = room_in(pools), sparse(pools)
            worth_it = bool(self._left) or self._worth.is_worth_it(room, held, self._steady())
            self.is_late = worth_it and room > held // _LATE
            if not worth_it:
                return False
            if not self._left:
                self._begin(indexes, few)
            self._of_values = lengths_of(few)  # others may have become so meanwhile
            self._of_keys = lengths_of(size for size, pool in few.items() if pool.room > pool.objects)
        return bool(self._left)

    def _begin(self, indexes: Iterable[MemoryIndex], few: Mapping[int, PoolUse]) -> None:
        self._before, self._left, self._place, self._for_changes = few, [*indexes], _BEGIN, 0

    def _go_on(self, most: int) -> int:
        """Copy some records.

        :param most: how many are looked at, about, or fewer if they are copied.
        :return: how many more might be.
        """
        most = self._copy(most)
        if self._left:
            return most
        pools = self._look()
        if self._for_changes <= 0:
            after = room_in(pool for pool in pools if pool.size in self._before)
            self._worth.ended(room_in(self._before.values()), after, room_in(pools), self._steady())
        return most

    def _copy(self, most: int) -> int:
        """See `_go_on`."""
        while self._left and most > 0:
            index = self._left[-1]
            if index.dropped or not index.records or self._place[0] >= SLOTS:
                self._left.pop()
                self._place = _BEGIN
                continue
            keys, self._place = index.slot_index.live_at(self._place)
            most -= 1 + copy_some(index, keys, self._of_values, self._of_keys)
        return most

    def _look(self) -> Sequence[PoolUse]:
        """How well pools are filled."""
        began = self._steady()
        pools = self._pools()
        ended = self._steady()
        self._next_look = ended + max(_LOOK_EVERY, _LOOK_REST * (ended - began))
        return pools
