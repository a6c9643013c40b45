"""One index of a store in memory: columns of keys do what the plain twin does key by key."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_answers import VERSION
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.slot_histogram import BUCKET_BITS, new_bucket_counts
from pyshard.storage.store_index import StoredRecord, cost, growth

KEYS = [b"%d" % number for number in range(6)]

stored_records = st.builds(StoredRecord, st.integers(1, 9), st.sampled_from([0, 0, 0, 5, 10]), st.binary(max_size=3))
contents = st.dictionaries(st.sampled_from(KEYS), stored_records)


class Owner:
    """As much of a store as its indexes use."""

    def __init__(self) -> None:
        self.held = self.expired = 0
        self.touched = False
        self.bucket_counts: array[int] = new_bucket_counts()
        self.noted_in: dict[int, MemoryIndex] = {}

    def grown(self) -> None:
        """Nobody needs to know."""


def filled(records: Mapping[bytes, StoredRecord]) -> tuple[Owner, MemoryIndex]:
    """An index with these records, each put by itself."""
    owner = Owner()
    index = MemoryIndex(owner, b"pages")
    for key, stored in records.items():
        index.put(key, index.slot_of(key), stored, None, cost(key, stored))
    return owner, index


def written_one_by_one(
    index: MemoryIndex, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
) -> int:
    """As `MemoryIndex.write`, key by key."""
    grown = 0
    for key, slot, record, version in zip(keys, slots, records, versions, strict=True):
        new, old = StoredRecord(version, 0, record), index.find(key, slot)
        index.put(key, slot, new, old, growth(key, new, old))
        grown += growth(key, new, old)
    return grown


def everything(owner: Owner, index: MemoryIndex) -> object:
    """All that an index and its owner have."""
    in_order = [key for _, key, visible in index.walk(0, None, SLOTS, 0) if visible]
    return (
        owner.held,
        owner.bucket_counts,
        index.records,
        index.expiries,
        in_order,
    )


@given(contents, st.lists(st.sampled_from(KEYS), unique=True), st.data())
def test_write(before: dict[bytes, StoredRecord], keys: list[bytes], data: st.DataObject) -> None:
    """`write` leaves what `put` leaves key by key, and counts right."""
    records = data.draw(st.lists(st.binary(max_size=5), min_size=len(keys), max_size=len(keys)))
    versions = range(1000, 1000 + len(keys))
    slots = [slot_of(key, b"pages") for key in keys]
    results = []
    for write in (MemoryIndex.write, written_one_by_one):
        owner, index = filled(before)
        grown = write(index, keys, slots, records, versions)
        results.append((grown, everything(owner, index)))
        written = {key: StoredRecord(1, 0, record) for key, record in zip(keys, records, strict=True)}
        after = before | written
        assert owner.held == sum(cost(key, stored) for key, stored in after.items())
        assert sum(owner.bucket_counts) == len(after)
        assert len(index._schedule) == len(index.expiries) == sum(1 for stored in after.values() if stored.expires)
        assert all(owner.bucket_counts[slot >> BUCKET_BITS] for slot in slots)
        assert grown == owner.held - sum(cost(key, stored) for key, stored in before.items())
    assert results[0] == results[1]


@pytest.mark.parametrize("now", [4, 5, 6, 10])
@given(contents, st.lists(st.sampled_from(KEYS)))
def test_has_and_read(now: int, records: dict[bytes, StoredRecord], keys: list[bytes]) -> None:
    """`has` and `read` give for each key what `find` finds, unless it has expired."""
    _, index = filled(records)
    slots = [index.slot_of(key) for key in keys]
    found = [index.find(key, slot) for key, slot in zip(keys, slots, strict=True)]
    live = [None if stored is None or 0 < stored.expires <= now else stored for stored in found]
    assert index.has(keys, slots, now) == [stored is not None for stored in live]
    assert index.read(keys, slots, now, 1 << 20) == [
        None if stored is None else VERSION.pack(stored.version) + stored.record for stored in live
    ]


@given(contents)
def test_leaving_the_counts(records: dict[bytes, StoredRecord]) -> None:
    """A dropped index is in no bucket any more; its records are still counted as used."""
    owner, index = filled(records)
    used = owner.held
    index.leave_counts()
    assert (sum(owner.bucket_counts), owner.held) == (0, used)


class _Unasked(dict[bytes, int]):
    """Expiries that nobody asks for."""

    def get(self, key: bytes, default: object = None) -> int:
        raise AssertionError(f"the expiry of {key!r} was asked for")


def test_expiries_that_are_far() -> None:
    """While no key of the index can have expired, reads ask for no expiry, however many keys have one."""
    _, index = filled({b"0": StoredRecord(1, 0, b"zero"), b"1": StoredRecord(2, 10_000, b"one")})
    index.expiries = _Unasked(index.expiries)
    keys = [b"0", b"1"]
    slots = list(map(index.slot_of, keys))
    values = [VERSION.pack(1) + b"zero", VERSION.pack(2) + b"one"]
    assert index.read(keys, slots, 5, 99) == index.read_at_hand(keys, 99, 5) == values
    assert index.has([b"1", b"2"], slots, 5) == [True, False]
    assert index.read_at_hand(keys, 99, 10_000) is None
    with pytest.raises(AssertionError, match="was asked for"):
        index.read(keys, slots, 10_000, 99)
