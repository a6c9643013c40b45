"""The keys of one index in slot order, which pages of a store in memory need and a dict doesn't have.

Rules:

- keys are in *bins*, one for each bucket of 8,192 slots, or several where a bucket has many (`key_bins`). So a page
  puts few keys in order in any case, also where somebody has made up a million of one slot;
- what a key costs when it is added or removed is bounded, too: at the most a bin is made anew, or divided;
- a removed key stays in its bin as a dead entry. A bin is made anew when its dead entries take about as much memory as
  its live ones at the least do, and goes with its last key: so the longest keys leave next to nothing;
- of a key that was removed and added again, a bin that is made anew keeps the newer object, which the index has;
- a walk comes by dead entries, too, so that whoever asked for it can count them;
- every other question (is a key there, what is its record) is for the dict of the index.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from itertools import chain

from pyshard.storage.memory.key_bins import LIVE, LONG, MOST, DividedBucket, KeyBin, Place
from pyshard.storage.memory.spare_room import is_thin
from pyshard.storage.page_walk import Step
from pyshard.storage.slot_histogram import BUCKET_BITS

_SOME_BINS = 500  # bins that are worth to be told of
_DEAD = 41  # bytes that a dead entry takes beside its key's
_FEW_DEAD = 256  # bytes of dead entries that don't make a bin anew


class SlotIndex:
    """The keys of an index.

    Python's garbage collector looks through all lists now and then, which takes half a second when millions of keys are
    in them. A daemon can spare it lists that it will have for long (`gc.freeze`). So `grown` tells when there are many
    more than before, and each bin keeps its list.

    :param slot_of: the slot of a key.
    :param present: the keys that the index has.
    :param grown: called when there are some more bins than ever before: some hundred, and an eighth of all.
    :ivar present: the keys that the index has; another object has them now and then.
    """

    def __init__(
        self,
        slot_of: Callable[[bytes], int],
        present: Container[bytes],
        grown: Callable[[], object] = lambda: None,
    ) -> None:
        self._slot_of = slot_of
        self.present = present
        self._grown = grown
        self._bins = 0
        self._most_bins = _SOME_BINS
        self._buckets: dict[int, KeyBin] = {}
        self._spare: KeyBin | None = None  # an empty one, so that a key that comes and goes costs little
        self._divided: dict[int, DividedBucket] = {}

    def __len__(self) -> int:
        """How many entries all bins have."""
        divided = (keys_bin for bucket in self._divided.values() for keys_bin in bucket.bins)
        return sum(len(keys_bin.keys) for keys_bin in chain(self._buckets.values(), divided))

    def add(self, slots: Iterable[int], keys: Iterable[bytes]) -> None:
        """Add keys that the index has now and didn't have before."""
        buckets = self._buckets
        for slot, key in zip(slots, keys, strict=True):
            keys_bin = buckets.get(slot >> BUCKET_BITS)
            if keys_bin is None:
                keys_bin = self._bin_of(slot, key)
            keys_bin.keys.append(key)
            if len(key) > LONG:
                keys_bin.long += len(key) // LIVE
            if len(keys_bin.keys) + keys_bin.long > MOST:
                self._lighten(keys_bin, slot, key)

    def note_removed(self, slot: int, key: bytes) -> None:
        """Count a key of this slot as removed."""
        bucket = slot >> BUCKET_BITS
        keys_bin, number = self._buckets.get(bucket), 0
        if keys_bin is None:
            divided = self._divided[bucket]
            number = divided.place_of(slot, key)
            keys_bin = divided.bins[number]
        keys_bin.dead = dead = keys_bin.dead + 1
        keys_bin.dead_bytes = dead_bytes = keys_bin.dead_bytes + len(key) + _DEAD
        live = len(keys_bin.keys) - dead
        if not live:
            self._drop_bin(bucket, number)
        elif dead_bytes > live * LIVE + _FEW_DEAD:
            keys_bin.forget_dead(self.present)
            if bucket in self._divided:
                self._merge(bucket, number)

    def walk(self, start: int, after: bytes | None, end: int) -> Iterator[Step]:
        """The entries of the slots [start, end), in order of slot and key; those of removed keys, too.

        :param after: of the first slot only the entries behind this key; None: all.
        """
        present = self.present
        last: bytes | None = None
        for slot, key in self._entries(start, after, end):
            yield slot, key, key != last and key in present
            last = key

    def bin_at(self, place: Place) -> tuple[Sequence[bytes], Place]:
        """The keys of the bin to which a place belongs, in no order, with dead ones; and the place of the next bin."""
        keys_bin, behind = self._bin_at(place)
        return () if keys_bin is None else keys_bin.keys, behind

    def live_at(self, place: Place) -> tuple[list[bytes], Place]:
        """As `bin_at`, after the bin has forgotten dead ones. It is the bin's list: equal keys may be put into it."""
        keys_bin, behind = self._bin_at(place)
        if keys_bin is None:
            return [], behind
        if keys_bin.dead:
            keys_bin.forget_dead(self.present)
        return keys_bin.keys, behind

    def bucket_counts(self) -> Iterator[tuple[int, int]]:
        """Each bucket with how many keys it has."""
        for bucket, keys_bin in self._buckets.items():
            yield bucket, keys_bin.live
        for bucket, divided in self._divided.items():
            yield bucket, sum(keys_bin.live for keys_bin in divided.bins)

    def _entries(self, start: int, after: bytes | None, end: int) -> Iterator[Place]:
        """Slot and key of the entries; for the parameters see `walk`."""
        for bucket in range(start >> BUCKET_BITS, ((end - 1) >> BUCKET_BITS) + 1):
            bins: Iterable[KeyBin] = ()
            if bucket in self._divided:
                bins = self._divided[bucket].from_place(start, after or b"", end)
            elif bucket in self._buckets:
                bins = (self._buckets[bucket],)
            for keys_bin in bins:
                self._put_in_order(keys_bin, bucket)
                yield from keys_bin.entries(bucket << BUCKET_BITS, start, after, end)

    def _bin_at(self, place: Place) -> tuple[KeyBin | None, Place]:
        """The bin to which a place belongs, if there is one, and the place of the next bin."""
        bucket = place[0] >> BUCKET_BITS
        behind = (bucket + 1) << BUCKET_BITS, b""
        divided = self._divided.get(bucket)
        return (self._buckets.get(bucket), behind) if divided is None else divided.bin_at(place, behind)

    def _put_in_order(self, keys_bin: KeyBin, bucket: int) -> None:
        first = bucket << BUCKET_BITS
        keys_bin.order_by(lambda key: self._slot_of(key) - first)

    def _bin_of(self, slot: int, key: bytes) -> KeyBin:
        """The bin for a key of a bucket that is divided, or that has none: then it is made."""
        bucket = slot >> BUCKET_BITS
        if bucket in self._divided:
            divided = self._divided[bucket]
            return divided.bins[divided.place_of(slot, key)]
        made = self._buckets[bucket] = self._spare or KeyBin()
        self._spare = None
        self._count_bin()
        return made

    def _count_bin(self) -> None:
        self._bins += 1
        if self._bins > self._most_bins:
            self._most_bins = self._bins + self._bins // 8 + _SOME_BINS
            self._grown()

    def _lighten(self, keys_bin: KeyBin, slot: int, key: bytes) -> None:
        """Have a bin that is too heavy forget dead entries, or divide it.

        :param key: what it has got last.
        """
        if keys_bin.dead:
            keys_bin.forget_dead(self.present)
            if keys_bin.weight <= MOST // 2:  # so that it isn't to be done soon again
                return
        bucket = slot >> BUCKET_BITS
        self._put_in_order(keys_bin, bucket)
        divided = self._divided.get(bucket)
        number = 0 if divided is None else divided.place_of(slot, key)
        other = keys_bin.split()
        if divided is None:
            divided = self._divided[bucket] = DividedBucket(self._buckets.pop(bucket))
        divided.insert(number + 1, other, ((bucket << BUCKET_BITS) + other.offsets[0], other.keys[0]))
        self._count_bin()

    def _drop_bin(self, bucket: int, number: int) -> None:
        """Let go of a bin of which no key is left."""
        self._bins -= 1
        if bucket in self._divided:
            self._divided[bucket].remove(number)
            self._undivide(bucket)
        else:
            self._spare = spare = self._buckets.pop(bucket)
            spare.clear()
            if is_thin(self._buckets):
                self._buckets = dict(self._buckets)

    def _merge(self, bucket: int, number: int) -> None:
        """Merge a bin that has become lighter with a neighbor, if that is light, too."""
        if self._divided[bucket].merge(number):
            self._bins -= 1
            self._undivide(bucket)

    def _undivide(self, bucket: int) -> None:
        """Divide a bucket no more that has one bin left."""
        if len(self._divided[bucket].bins) == 1:
            (self._buckets[bucket],) = self._divided.pop(bucket).bins
            if is_thin(self._divided):
                self._divided = dict(self._divided)
