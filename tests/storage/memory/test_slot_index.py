"""Keys in slot order: pages are right after any additions and removals, and cheap however many keys a bucket has."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.storage.memory import slot_index as order_module
from pyshard.storage.memory.slot_index import SlotIndex

BUCKET = 8192


@pytest.fixture(autouse=True)
def few_are_many() -> Iterator[None]:
    """A bucket is divided at six entries, and a bin made anew as soon as the dead ones weigh as much."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(order_module, "_MANY", 5)
        patch.setattr(order_module, "_FEW_DEAD", 0)
        yield


def slot_of(key: bytes) -> int:
    """A slot that the key names: two buckets, of which the second has three slots."""
    return [0, BUCKET, BUCKET + 128, 2 * BUCKET - 128][key[0] % 4]


def between(order: SlotIndex, start: int, after: bytes | None, end: int) -> list[bytes]:
    """The keys that a walk comes by and that are there."""
    return [key for _, key, visible in order.walk(start, after, end) if visible and key is not None]


class Index:
    """A slot index, and the keys that are to be in it."""

    def __init__(self) -> None:
        self.there: set[bytes] = set()
        self.order = SlotIndex(slot_of, self.there)

    def add(self, *keys: bytes) -> None:
        """Add keys that aren't there."""
        self.there.update(keys)
        self.order.add(map(slot_of, keys), keys)

    def remove(self, key: bytes) -> None:
        """Remove a key."""
        self.there.remove(key)
        self.order.note_removed(slot_of(key), len(key))

    def expected(self, start: int, after: bytes | None, end: int) -> list[bytes]:
        """What `walk` gives, by sorting all keys."""
        keys = sorted(self.there, key=lambda key: (slot_of(key), key))
        inside = [key for key in keys if start <= slot_of(key) < end]
        return [key for key in inside if after is None or slot_of(key) != start or key > after]


KEYS = [bytes([slot, number]) for slot in range(4) for number in range(6)]


@given(st.lists(st.sampled_from(KEYS), max_size=80), st.data())
def test_keys_are_given_in_order_whatever_came_and_went(moves: list[bytes], data: st.DataObject) -> None:
    """Each move adds a key that isn't there, or removes it; pages asked for in between put bins in order."""
    index = Index()
    for key in moves:
        if key in index.there:
            index.remove(key)
        else:
            index.add(key)
        start = data.draw(st.sampled_from([0, 1, BUCKET, BUCKET + 128, 2 * BUCKET - 128]))
        end = data.draw(st.sampled_from([BUCKET, BUCKET + 1, 2 * BUCKET]))
        after = data.draw(st.none() | st.sampled_from(KEYS))
        assert between(index.order, start, after, end) == index.expected(start, after, end)
        counted = dict(index.order.bucket_counts())
        buckets = [slot_of(key) // BUCKET for key in index.there]
        assert {bucket: count for bucket, count in counted.items() if count} == {
            bucket: buckets.count(bucket) for bucket in set(buckets)
        }
    assert between(index.order, 0, None, 3 * BUCKET) == index.expected(0, None, 3 * BUCKET)


def test_many_keys_of_a_bucket_are_looked_at_once() -> None:
    """Slots of keys are computed once, when the bucket is divided; pages and additions compute none."""
    asked: list[bytes] = []

    def slot(key: bytes) -> int:
        asked.append(key)
        return slot_of(key)

    keys = [bytes([1 + number % 3, number]) for number in range(60)]
    order = SlotIndex(slot, set(keys))
    order.add(map(slot_of, keys), keys)
    assert sorted(asked) == sorted(keys[:6])
    asked.clear()
    assert len(between(order, 0, None, 2 * BUCKET)) == 60
    assert asked == []


@pytest.mark.parametrize("count", [4, 40])
def test_a_key_that_comes_and_goes_leaves_few_entries(count: int) -> None:
    """A key that is removed and added all the time leaves a bounded number of entries, in either kind of bucket."""
    index = Index()
    index.add(*(bytes([1, number]) for number in range(count)))
    for _ in range(1000):
        index.remove(bytes([1, 0]))
        index.add(bytes([1, 0]))
        assert len(index.order) <= 3 * count + 3
    for number in range(count):
        index.remove(bytes([1, number]))
    for key in (b"\1\0", b"\1\1", b"\1\2"):
        index.add(key)
        index.remove(key)
    assert len(index.order) <= 3
    assert between(index.order, 0, None, 2 * BUCKET) == []


def test_slots_are_computed_once() -> None:
    """A bucket is put in order for the first page; later ones compute the slots of keys that came since, and no others.

    Two thousand pages of the last slot cost no more than one.
    """
    asked: list[bytes] = []

    def slot(key: bytes) -> int:
        asked.append(key)
        return slot_of(key)

    keys = [bytes([1, number]) for number in range(4)]
    present = set(keys)
    order = SlotIndex(slot, present)
    order.add(map(slot_of, keys), keys)
    for _ in range(10):
        assert between(order, BUCKET + 1, None, 2 * BUCKET) == []
    assert sorted(asked) == keys
    asked.clear()
    new = b"\1\x63"
    present.add(new)
    order.add([slot_of(new)], [new])
    for _ in range(10):
        assert between(order, 0, None, 2 * BUCKET) == [*keys, new]
    assert asked == [new]


@pytest.mark.parametrize("buckets", [1, 40])
def test_a_walk_that_ends_soon_is_cheap(buckets: int) -> None:
    """Whoever wants one key of many buckets doesn't have all of them put in order."""
    asked: list[bytes] = []

    def slot(key: bytes) -> int:
        asked.append(key)
        return key[0] * BUCKET

    keys = [bytes([bucket, number]) for bucket in range(buckets) for number in range(3)]
    order = SlotIndex(slot, set(keys))
    order.add(map(slot, keys), keys)
    asked.clear()
    assert next(order.walk(0, None, buckets * BUCKET))[1] == keys[0]
    assert asked == keys[:3]


def slot_by_number(key: bytes) -> int:
    """Slots over all buckets; each key has one of its own."""
    return int(key) * 1000


def test_the_garbage_collector_can_be_spared(few_are_many: None) -> None:
    """It is told when there are more bins than ever before, seldom enough; and bins keep their lists for good."""
    told: list[int] = []
    there: set[bytes] = set()
    order = SlotIndex(slot_by_number, there, lambda: told.append(len(there)))
    for number in range(10_000):
        key = b"%d" % number
        there.add(key)
        order.add([slot_by_number(key)], [key])
    assert 5 < len(told) < 25
    lists = {id(one.keys) for one in order._buckets.values()}
    assert len(between(order, 0, None, 10_000 * 1000)) == 10_000
    assert {id(one.keys) for one in order._buckets.values()} == lists
    for key in list(there):
        there.remove(key)
        order.note_removed(slot_by_number(key), len(key))
    told.clear()
    for number in range(10_000):
        key = b"%d" % number
        there.add(key)
        order.add([slot_by_number(key)], [key])
    assert told == []


def test_lists_stay_when_they_are_made_anew() -> None:
    """A bin whose entries are mostly dead gets others in the same list."""
    index = Index()
    index.add(*KEYS[:5])
    (keys_bin,) = index.order._buckets.values()
    before = id(keys_bin.keys)
    for key in KEYS[:3]:
        index.remove(key)
    assert (keys_bin.dead, len(keys_bin.keys), id(keys_bin.keys)) == (0, 2, before)
