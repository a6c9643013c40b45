"""The keys of one index in slot order, which pages of a store in memory need and a dict doesn't have.

Rules:

- keys are in *bins*, one for each bucket of 8,192 slots; a bin is put in order when a page asks for it, not before;
- a bin stays in order, so that the next page finds it nearly so, and computes the slots of new keys alone;
- a bucket with many keys is divided: each of its slots gets its own bin, so a page orders few keys in any case;
- a removed key stays in its bin as a dead entry. A bin is made anew when its dead entries take about as much memory as
  its live ones at the least do, and goes with its last key: so the longest keys leave next to nothing;
- of a key that was removed and added again, a bin that is made anew keeps the newer object, which the index has;
- a walk comes by dead entries, too, so that whoever asked for it can count them;
- every other question (is a key there, what is its record) is for the dict of the index.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Container, Iterable, Iterator
from itertools import chain

from pyshard.storage.page_walk import Step
from pyshard.storage.slot_histogram import BUCKET_BITS

_MANY = 4096  # entries of a bucket's bin; with more, each slot gets its own
_SOME_BINS = 500  # bins that are worth to be told of
_LIVE = 64  # bytes that a live entry takes, with its key, at the least
_DEAD = 41  # bytes that a dead entry takes beside its key's
_FEW_DEAD = 256  # bytes of dead entries of a bucket that don't make its bin anew
_SPARSE = 8  # with fewer than one bin in so many slots it is quicker to put the bins in order than to try all slots


_NO_OFFSETS = array("H")  # never changed


class _Bin:
    """The keys of a slot. Their list stays the same object (see `SlotIndex`).

    :ivar keys: each key that was added; one that was removed and added again is there twice.
    :ivar dead: how many entries stand for removed keys.
    :ivar dead_bytes: what these take.
    :ivar ordered: how many of the first keys are in order.
    """

    __slots__ = ("dead", "dead_bytes", "keys", "ordered")

    def __init__(self) -> None:
        self.keys: list[bytes] = []
        self.dead = self.dead_bytes = self.ordered = 0

    def order(self) -> None:
        """Put the keys in order."""
        if self.ordered < len(self.keys):
            self.keys.sort()
            self.ordered = len(self.keys)


class _Bucket(_Bin):
    """The keys of a bucket.

    :ivar offsets: the slots of the keys that are in order, from the bucket's first slot on.
    """

    __slots__ = ("offsets",)

    def __init__(self) -> None:
        self.keys = []
        self.dead = self.dead_bytes = self.ordered = 0
        self.offsets = _NO_OFFSETS

    def clear(self) -> None:
        """Have no key any more."""
        self.keys.clear()
        self.offsets = _NO_OFFSETS
        self.dead = self.dead_bytes = self.ordered = 0

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


class SlotIndex:
    """The keys of an index.

    Python's garbage collector looks through all lists now and then, which takes half a second when millions of keys are
    in them. A daemon can spare it lists that it will have for long (`gc.freeze`). So `grown` tells when there are many
    more than before, and each bin keeps its list.

    :param slot_of: the slot of a key.
    :param present: the keys that the index has.
    :param grown: called when there are some more bins than ever before: some hundred, and an eighth of all.
    """

    def __init__(
        self,
        slot_of: Callable[[bytes], int],
        present: Container[bytes],
        grown: Callable[[], object] = lambda: None,
    ) -> None:
        self._slot_of = slot_of
        self._present = present
        self._grown = grown
        self._bins = 0
        self._most_bins = _SOME_BINS
        self._buckets: dict[int, _Bucket] = {}
        self._spare: _Bucket | None = None  # an empty one, so that a key that comes and goes costs little
        self._divided: dict[int, dict[int, _Bin]] = {}  # bucket → slot → bin

    def __len__(self) -> int:
        """How many entries all bins have."""
        bins_of_slots = (keys_bin for bins in self._divided.values() for keys_bin in bins.values())
        return sum(len(keys_bin.keys) for keys_bin in chain(self._buckets.values(), bins_of_slots))

    def add(self, slots: Iterable[int], keys: Iterable[bytes]) -> None:
        """Add keys that the index has now and didn't have before."""
        buckets = self._buckets
        for slot, key in zip(slots, keys, strict=True):
            bucket = slot >> BUCKET_BITS
            keys_bin = buckets.get(bucket)
            if keys_bin is None:
                self._bin_of(slot).keys.append(key)
            else:
                keys_bin.keys.append(key)
                if len(keys_bin.keys) > _MANY:
                    self._divide(bucket)

    def note_removed(self, slot: int, size: int) -> None:
        """Count a key of this slot as removed.

        :param size: bytes of the key.
        """
        bucket = slot >> BUCKET_BITS
        keys_bin: _Bin | None = self._buckets.get(bucket)
        few = _FEW_DEAD
        if keys_bin is None:
            keys_bin, few = self._divided[bucket][slot], 0
        keys_bin.dead = dead = keys_bin.dead + 1
        keys_bin.dead_bytes = dead_bytes = keys_bin.dead_bytes + size + _DEAD
        live = len(keys_bin.keys) - dead
        if not live:
            self._drop_bin(slot)
        elif dead_bytes > live * _LIVE + few:
            keys_bin.keys[:] = self._live(keys_bin.keys)
            keys_bin.dead = keys_bin.dead_bytes = keys_bin.ordered = 0

    def walk(self, start: int, after: bytes | None, end: int) -> Iterator[Step]:
        """The entries of the slots [start, end), in order of slot and key; those of removed keys, too.

        :param after: of the first slot only the entries behind this key; None: all.
        """
        present = self._present
        last: bytes | None = None
        for slot, key in self._entries(start, after, end):
            yield slot, key, key != last and key in present
            last = key

    def bucket_counts(self) -> Iterator[tuple[int, int]]:
        """Each bucket with how many keys it has."""
        for bucket, keys_bin in self._buckets.items():
            yield bucket, len(keys_bin.keys) - keys_bin.dead
        for bucket, bins in self._divided.items():
            yield bucket, sum(len(keys_bin.keys) - keys_bin.dead for keys_bin in bins.values())

    def _entries(self, start: int, after: bytes | None, end: int) -> Iterator[tuple[int, bytes]]:
        """Slot and key of the entries; for the parameters see `walk`."""
        for bucket in range(start >> BUCKET_BITS, ((end - 1) >> BUCKET_BITS) + 1):
            if bucket in self._divided:
                bins = self._divided[bucket]
                for slot in _slots_of(bins, max(start, bucket << BUCKET_BITS), min(end, (bucket + 1) << BUCKET_BITS)):
                    bins[slot].order()
                    keys = bins[slot].keys
                    at = bisect_right(keys, after) if after is not None and slot == start else 0
                    for position in range(at, len(keys)):
                        yield slot, keys[position]
            elif bucket in self._buckets:
                yield from self._entries_of(bucket, start, after, end)

    def _entries_of(self, bucket: int, start: int, after: bytes | None, end: int) -> Iterator[tuple[int, bytes]]:
        """The entries of a bucket that isn't divided."""
        keys_bin, first = self._buckets[bucket], bucket << BUCKET_BITS
        keys_bin.order_by(lambda key: self._slot_of(key) - first)
        keys, offsets = keys_bin.keys, keys_bin.offsets
        at = bisect_left(offsets, start - first) if start > first else 0
        if after is not None and start >= first:
            at = bisect_right(keys, after, at, bisect_right(offsets, start - first, at))
        for position in range(at, len(keys)):
            slot = first + offsets[position]
            if slot >= end:
                break
            yield slot, keys[position]

    def _bin_of(self, slot: int) -> _Bin:
        """The bin of a slot that has one of its own, or of a bucket that had none; made if it isn't there."""
        bucket = slot >> BUCKET_BITS
        if bucket in self._divided:
            found = self._divided[bucket].get(slot)
            if found is not None:
                return found
            made = self._divided[bucket][slot] = _Bin()
        else:
            made = self._buckets[bucket] = self._spare or _Bucket()
            self._spare = None
        self._bins += 1
        if self._bins > self._most_bins:
            self._most_bins = self._bins + self._bins // 8 + _SOME_BINS
            self._grown()
        return made

    def _drop_bin(self, slot: int) -> None:
        """Let go of the bin of a slot, or of its bucket, of which no key is left."""
        bucket = slot >> BUCKET_BITS
        self._bins -= 1
        if bucket in self._divided:
            del self._divided[bucket][slot]
        else:
            self._spare = spare = self._buckets.pop(bucket)
            spare.clear()

    def _divide(self, bucket: int) -> None:
        """Give each slot of a bucket its own bin."""
        live = self._live(self._buckets.pop(bucket).keys)
        self._bins -= 1
        self._divided[bucket] = {}
        self.add(map(self._slot_of, live), live)

    def _live(self, keys: Iterable[bytes]) -> list[bytes]:
        """Those keys that the index has, each once, and the last of equal ones."""
        return list({key: key for key in keys if key in self._present}.values())


def _slots_of(bins: dict[int, _Bin], start: int, end: int) -> Iterable[int]:
    """Those of the slots [start, end) that have a bin, in order.

    Few bins are put in order. Of many the slots are tried one by one, so that a walk that ends soon costs little.
    """
    if len(bins) * _SPARSE < end - start:
        return sorted(slot for slot in bins if start <= slot < end)
    return filter(bins.__contains__, range(start, end))
