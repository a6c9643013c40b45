"""The keys of one index in slot order, for pages of a store in memory.

Keys are kept in bins, for each *bucket* of 8,192 slots one, and put in order when a page is asked for. A bucket with
many keys has a bin for each of its slots, so that a page puts few keys in order, however many there are; and the bin of
one slot stays in order, so that the next page finds it nearly so. Removing leaves a key in its bin and counts it as
dead; a bin with more dead entries than live ones is made anew.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import chain

from pyshard.storage.histogram import BUCKET_BITS

_MANY = 4096  # entries of a bucket's bin from which on each slot has its own
_FEW_DEAD = 16


class _Bin:
    """Some keys.

    :ivar keys: those that were added; one that was removed and added again comes twice.
    :ivar dead: how many of the entries stand for a key that was removed.
    """

    __slots__ = ("dead", "keys")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.dead = 0


class SlotOrder:
    """The keys of an index.

    :param slot_of: the slot of a key.
    :param there: the keys that there are.
    """

    def __init__(self, slot_of: Callable[[bytes], int], there: Container[bytes]) -> None:
        self._slot_of = slot_of
        self._there = there
        self._buckets: dict[int, _Bin] = {}
        self._divided: dict[int, dict[int, _Bin]] = {}  # bucket → slot → bin

    def __len__(self) -> int:
        """How many entries all bins have."""
        slots = (one for bins in self._divided.values() for one in bins.values())
        return sum(len(one.keys) for one in chain(self._buckets.values(), slots))

    def add(self, slots: Iterable[int], keys: Iterable[bytes]) -> None:
        """Take keys that weren't there before, and are now."""
        buckets, divided = self._buckets, self._divided
        for slot, key in zip(slots, keys, strict=True):
            bucket = slot >> BUCKET_BITS
            one = buckets.get(bucket)
            if one is None:
                bins, number = (divided[bucket], slot) if bucket in divided else (buckets, bucket)
                bins.setdefault(number, _Bin()).keys.append(key)
            else:
                one.keys.append(key)
                if len(one.keys) > _MANY:
                    self._divide(bucket)

    def removed(self, slot: int) -> None:
        """Take note that a key of this slot is not there any more."""
        bucket = slot >> BUCKET_BITS
        bins, number = (self._divided[bucket], slot) if bucket in self._divided else (self._buckets, bucket)
        one = bins[number]
        one.dead += 1
        if one.dead > _FEW_DEAD and one.dead * 2 > len(one.keys):
            one.keys, one.dead = self._live(one.keys), 0
            if not one.keys:
                del bins[number]

    def between(self, start: int, after: bytes | None, end: int) -> Iterator[bytes]:
        """The keys of the slots [start, end) in order.

        :param after: of the first slot only the keys behind this one.
        """
        for bucket in range(start >> BUCKET_BITS, ((end - 1) >> BUCKET_BITS) + 1):
            if bucket in self._divided:
                bins = self._divided[bucket]
                for slot in sorted(bins):
                    if start <= slot < end:
                        yield from self._in_order(bins[slot].keys, after if slot == start else None)
            elif bucket in self._buckets:
                for slot, key in sorted((self._slot_of(key), key) for key in self._live(self._buckets[bucket].keys)):
                    if start <= slot < end and not (slot == start and after is not None and key <= after):
                        yield key

    def counted(self) -> Iterator[tuple[int, int]]:
        """Each bucket, and how many of the keys are in it."""
        for bucket, one in self._buckets.items():
            yield bucket, len(one.keys) - one.dead
        for bucket, bins in self._divided.items():
            yield bucket, sum(len(one.keys) - one.dead for one in bins.values())

    def _in_order(self, keys: list[bytes], after: bytes | None) -> Iterator[bytes]:
        """The keys of a slot's bin that are there; it stays in order."""
        keys.sort()
        last = after
        for place in range(0 if after is None else bisect_right(keys, after), len(keys)):
            key = keys[place]
            if key != last and key in self._there:
                yield key
            last = key

    def _divide(self, bucket: int) -> None:
        """Give each slot of a bucket a bin of its own."""
        live = self._live(self._buckets.pop(bucket).keys)
        self._divided[bucket] = {}
        self.add(map(self._slot_of, live), live)

    def _live(self, keys: list[bytes]) -> list[bytes]:
        """Those keys that are there, each once."""
        return [key for key in dict.fromkeys(keys) if key in self._there]
