"""Bins of keys in slot order: what one is put in order by, and the bins of a bucket that has more than one.

Rules:

- a bin is put in order when somebody asks for it, not before; it stays in order, so that only keys that came since are
  looked at the next time;
- a bin has a bounded weight: a key weighs 1, a long one as much as so many short ones that take its bytes. So to put
  one in order takes some milliseconds at the most, whatever keys somebody has made up;
- a bucket whose bin becomes too heavy is divided between two entries: by slots, or within a slot by keys;
- two neighbors that have become light are one again. So what bounds a bin takes little beside what is in it.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterator
from typing import TypeAlias

#: Bytes that a live entry takes, with its key, at the least: a longer key weighs 1 for each of them.
LIVE = 64

#: Bytes of a key from which on it weighs more than 1.
LONG = 1024

#: Weight of a bin; one that is heavier is divided.
MOST = 4096

#: An entry's slot, and its key: entries are in this order.
Place: TypeAlias = tuple[int, bytes]

_NO_OFFSETS = array("H")  # never changed


class KeyBin:
    """Keys of one bucket. Their list stays the same object (see `pyshard.storage.memory.slot_index.SlotIndex`).

    :ivar keys: each key that was added; one that was removed and added again is there twice.
    :ivar dead: how many entries stand for removed keys.
    :ivar dead_bytes: what these take.
    :ivar long: what long keys weigh beside 1 each.
    :ivar ordered: how many of the first keys are in order.
    :ivar offsets: the slots of these, from the bucket's first slot on.
    """

    __slots__ = ("dead", "dead_bytes", "keys", "long", "offsets", "ordered")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.dead = self.dead_bytes = self.long = self.ordered = 0
        self.offsets = _NO_OFFSETS

    @property
    def live(self) -> int:
        """How many entries stand for keys that are there."""
        return len(self.keys) - self.dead

    @property
    def weight(self) -> int:
        """What all entries weigh together."""
        return len(self.keys) + self.long

    def clear(self) -> None:
        """Have no key any more."""
        self.keys.clear()
        self.offsets = _NO_OFFSETS
        self.dead = self.dead_bytes = self.long = self.ordered = 0

    def order_by(self, offset_of: Callable[[bytes], int]) -> None:
        """Put the keys in order by slot.

        :param offset_of: the slot of a key, from the bucket's first slot on.
        """
        if self.ordered < len(self.keys):
            offsets = self.offsets[: self.ordered]
            offsets.extend(map(offset_of, self.keys[self.ordered :]))
            pairs = sorted(zip(offsets, self.keys, strict=True))
            self.offsets = array("H", [offset for offset, _ in pairs])
            self.keys[:] = [key for _, key in pairs]
            self.ordered = len(pairs)

    def forget_dead(self, present: Container[bytes]) -> None:
        """Keep those keys alone that are there, each once, and the last of equal ones."""
        self.keys[:] = list({key: key for key in self.keys if key in present}.values())
        self.offsets = _NO_OFFSETS
        self.dead = self.dead_bytes = self.ordered = 0
        self.long = sum([len(key) // LIVE for key in self.keys if len(key) > LONG]) if self.long else 0

    def split(self) -> KeyBin:
        """Give the second half of the keys, which are in order and none of them dead, to a bin of their own."""
        half, other = len(self.keys) // 2, KeyBin()
        other.keys, self.keys[half:] = self.keys[half:], []
        other.offsets, self.offsets = self.offsets[half:], self.offsets[:half]
        self.ordered, other.ordered = len(self.keys), len(other.keys)
        other.long = sum([len(key) // LIVE for key in other.keys if len(key) > LONG]) if self.long else 0
        self.long -= other.long
        return other

    def take(self, other: KeyBin) -> None:
        """Take all entries of another bin."""
        self.keys += other.keys
        self.dead += other.dead
        self.dead_bytes += other.dead_bytes
        self.long += other.long

    def entries(self, first: int, start: int, after: bytes | None, end: int) -> Iterator[Place]:
        """The entries of the slots [start, end), of a bin that is in order.

        :param first: the bucket's first slot.
        :param after: of the slot `start` only the entries behind this key; None: all.
        """
        keys, offsets = self.keys, self.offsets
        at = bisect_left(offsets, start - first) if start > first else 0
        if after is not None and start >= first:
            at = bisect_right(keys, after, at, bisect_right(offsets, start - first, at))
        for position in range(at, len(keys)):
            slot = first + offsets[position]
            if slot >= end:
                break
            yield slot, keys[position]


class DividedBucket:
    """The bins of a bucket that is divided: at least two, each with entries before those of the next.

    :param keys_bin: the bucket's only bin until now.
    """

    def __init__(self, keys_bin: KeyBin) -> None:
        self.bins = [keys_bin]
        self._bounds: list[Place] = []  # of each bin but the first: no entry of it comes before

    def place_of(self, slot: int, key: bytes) -> int:
        """The number of the bin where an entry is, or belongs."""
        return bisect_right(self._bounds, (slot, key))

    def from_place(self, slot: int, key: bytes, end: int) -> Iterator[KeyBin]:
        """The bins with entries from a place on, before the slot `end`; in order."""
        for number in range(self.place_of(slot, key), len(self.bins)):
            if number and self._bounds[number - 1][0] >= end:
                break
            yield self.bins[number]

    def bin_at(self, place: Place, behind: Place) -> tuple[KeyBin, Place]:
        """The bin to which a place belongs, and the place of the next one.

        :param behind: the place of the first bin behind the bucket.
        """
        number = self.place_of(*place)
        return self.bins[number], self._bounds[number] if number < len(self._bounds) else behind

    def insert(self, number: int, keys_bin: KeyBin, bound: Place) -> None:
        """Have a new bin.

        :param number: its own from now on.
        :param bound: no entry of it comes before.
        """
        self.bins.insert(number, keys_bin)
        self._bounds.insert(number - 1, bound)

    def remove(self, number: int) -> None:
        """Have a bin no more, which has no entries; its neighbor gets what would belong there."""
        del self.bins[number]
        del self._bounds[max(number - 1, 0)]

    def merge(self, number: int) -> bool:
        """Make a light bin and a neighbor one, if both together are no more than half as heavy as one may be."""
        for left in (number - 1, number):
            if 0 <= left < len(self.bins) - 1 and self.bins[left].weight + self.bins[left + 1].weight <= MOST // 2:
                self.bins[left].take(self.bins[left + 1])
                self.remove(left + 1)
                return True
        return False
