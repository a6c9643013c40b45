"""The keys of one index in slot order, which pages of a store in memory need and a dict doesn't have.

Rules:

- keys are in *bins*, one for each bucket of 8,192 slots; a bin is sorted when a page asks for it, not before;
- a bucket with many keys is divided: each of its slots gets its own bin, so a page sorts few keys in any case;
- the bin of a single slot stays sorted, so that the next page finds it nearly so;
- a removed key stays in its bin as a dead entry; a bin with more dead entries than live ones is made anew;
- every other question (is a key there, what is its record) is for the dict of the index.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import chain

from pyshard.storage.slot_histogram import BUCKET_BITS

_MANY = 4096  # entries of a bucket's bin; with more, each slot gets its own
_FEW_DEAD = 16  # dead entries that never make a bin anew


class _Bin:
    """Some keys.

    :ivar keys: each key that was added; one that was removed and added again is there twice.
    :ivar dead: how many entries stand for removed keys.
    """

    __slots__ = ("dead", "keys")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.dead = 0


class SlotIndex:
    """The keys of an index.

    :param slot_of: the slot of a key.
    :param present: the keys that the index has.
    """

    def __init__(self, slot_of: Callable[[bytes], int], present: Container[bytes]) -> None:
        self._slot_of = slot_of
        self._present = present
        self._buckets: dict[int, _Bin] = {}
        self._divided: dict[int, dict[int, _Bin]] = {}  # bucket → slot → bin

    def __len__(self) -> int:
        """How many entries all bins have."""
        bins_of_slots = (keys_bin for bins in self._divided.values() for keys_bin in bins.values())
        return sum(len(keys_bin.keys) for keys_bin in chain(self._buckets.values(), bins_of_slots))

    def add(self, slots: Iterable[int], keys: Iterable[bytes]) -> None:
        """Add keys that the index has now and didn't have before."""
        buckets, divided = self._buckets, self._divided
        for slot, key in zip(slots, keys, strict=True):
            bucket = slot >> BUCKET_BITS
            keys_bin = buckets.get(bucket)
            if keys_bin is None:
                bins, number = (divided[bucket], slot) if bucket in divided else (buckets, bucket)
                bins.setdefault(number, _Bin()).keys.append(key)
            else:
                keys_bin.keys.append(key)
                if len(keys_bin.keys) > _MANY:
                    self._divide(bucket)

    def note_removed(self, slot: int) -> None:
        """Count a key of this slot as removed."""
        bucket = slot >> BUCKET_BITS
        bins, number = (self._divided[bucket], slot) if bucket in self._divided else (self._buckets, bucket)
        keys_bin = bins[number]
        keys_bin.dead += 1
        if keys_bin.dead > _FEW_DEAD and keys_bin.dead * 2 > len(keys_bin.keys):
            keys_bin.keys, keys_bin.dead = self._live(keys_bin.keys), 0
            if not keys_bin.keys:
                del bins[number]

    def between(self, start: int, after: bytes | None, end: int) -> Iterator[bytes]:
        """The keys of the slots [start, end), in order of slot and key.

        :param after: of the first slot only the keys behind this one; None: all.
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

    def bucket_counts(self) -> Iterator[tuple[int, int]]:
        """Each bucket with how many keys it has."""
        for bucket, keys_bin in self._buckets.items():
            yield bucket, len(keys_bin.keys) - keys_bin.dead
        for bucket, bins in self._divided.items():
            yield bucket, sum(len(keys_bin.keys) - keys_bin.dead for keys_bin in bins.values())

    def _in_order(self, keys: list[bytes], after: bytes | None) -> Iterator[bytes]:
        """The live keys of a slot's bin, in order; the bin stays sorted."""
        keys.sort()
        last = after
        for position in range(0 if after is None else bisect_right(keys, after), len(keys)):
            key = keys[position]
            if key != last and key in self._present:
                yield key
            last = key

    def _divide(self, bucket: int) -> None:
        """Give each slot of a bucket its own bin."""
        live = self._live(self._buckets.pop(bucket).keys)
        self._divided[bucket] = {}
        self.add(map(self._slot_of, live), live)

    def _live(self, keys: list[bytes]) -> list[bytes]:
        """Those keys that the index has, each once."""
        return [key for key in dict.fromkeys(keys) if key in self._present]
