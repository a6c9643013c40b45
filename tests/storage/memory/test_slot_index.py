"""Keys in slot order: pages are right after any additions and removals, and cheap however many keys a bucket has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import chain, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyshard.storage.memory import key_bins as bins_module
from pyshard.storage.memory import slot_index as order_module
from pyshard.storage.memory.key_bins import LIVE
from pyshard.storage.memory.slot_index import SlotIndex

BUCKET = 8192

#: Weight of a bin, here.
MOST = 5

#: Comparisons of keys that no step takes.
MANY = 200

#: Bytes of a long key, which here weighs twice as much as others.
LONG = LIVE


@pytest.fixture(autouse=True)
def few_are_many() -> Iterator[None]:
    """A bucket is divided at six entries, or three long ones, and a bin made anew when the dead ones weigh as much."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (order_module, bins_module):
            patch.setattr(module, "MOST", MOST)
            patch.setattr(module, "LONG", LONG - 1)
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
        self.order.note_removed(slot_of(key), key)

    def expected(self, start: int, after: bytes | None, end: int) -> list[bytes]:
        """What `walk` gives, by sorting all keys."""
        keys = sorted(self.there, key=lambda key: (slot_of(key), key))
        inside = [key for key in keys if start <= slot_of(key) < end]
        return [key for key in inside if after is None or slot_of(key) != start or key > after]


KEYS = [bytes([slot, number]) + long for slot in range(4) for number in range(6) for long in (b"", b"x" * LONG)]


def check(order: SlotIndex) -> None:
    """No bin is heavier than one may be, a divided bucket has several, and no two neighbors are very light."""
    for keys_bin in order._buckets.values():
        assert len(keys_bin.keys) + sum(len(key) // LIVE for key in keys_bin.keys) == keys_bin.weight <= MOST
    for divided in order._divided.values():
        assert len(divided.bins) == len(divided._bounds) + 1 > 1
        assert divided._bounds == sorted(divided._bounds)
        for number, keys_bin in enumerate(divided.bins):
            assert len(keys_bin.keys) + sum(len(key) // LIVE for key in keys_bin.keys) == keys_bin.weight <= MOST
            assert keys_bin.live > 0
            assert all(divided.place_of(slot_of(key), key) == number for key in keys_bin.keys)
    assert order._bins == len(order._buckets) + sum(len(divided.bins) for divided in order._divided.values())


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
        check(index.order)
        counted = dict(index.order.bucket_counts())
        buckets = [slot_of(key) // BUCKET for key in index.there]
        assert {bucket: count for bucket, count in counted.items() if count} == {
            bucket: buckets.count(bucket) for bucket in set(buckets)
        }
    assert between(index.order, 0, None, 3 * BUCKET) == index.expected(0, None, 3 * BUCKET)


def test_many_keys_of_a_bucket_are_looked_at_once() -> None:
    """Slots of keys are computed once, when their bin is divided or put in order; later pages compute none."""
    asked: list[bytes] = []

    def slot(key: bytes) -> int:
        asked.append(key)
        return slot_of(key)

    keys = [bytes([1 + number % 3, number]) for number in range(60)]
    order = SlotIndex(slot, set(keys))
    order.add(map(slot_of, keys), keys)
    assert len(between(order, 0, None, 2 * BUCKET)) == 60
    assert sorted(asked) == sorted(keys)
    asked.clear()
    assert len(between(order, 0, None, 2 * BUCKET)) == 60
    assert asked == []


class Compared(bytes):
    """A key whose comparisons are counted."""

    times = 0

    def __lt__(self, other: bytes) -> bool:
        Compared.times += 1
        return super().__lt__(other)

    def __eq__(self, other: object) -> bool:
        Compared.times += 1
        return super().__eq__(other)

    def __hash__(self) -> int:
        return super().__hash__()


def compared(work: Callable[[], object]) -> int:
    """How many comparisons of keys some work takes."""
    Compared.times = 0
    work()
    return Compared.times


@pytest.mark.parametrize("text", [b"%d", b"%060d"], ids=["short", "long"])
def test_many_keys_of_one_slot(text: bytes) -> None:
    """Whoever makes up keys of one slot makes no page, no write and no removal of one key long."""
    there: set[bytes] = set()
    order = SlotIndex(lambda _: 7, there)
    keys = [Compared(text % (number * 7919 % 5000)) for number in range(5000)]

    def add(key: bytes) -> None:
        there.add(key)
        order.add((7,), (key,))

    def remove(key: bytes) -> None:
        there.remove(key)
        order.note_removed(7, key)

    def page(after: bytes | None) -> list[bytes]:
        return [key for _, key, _ in islice(order.walk(7, after, 8), 10) if key is not None]

    assert max(compared(partial(add, key)) for key in keys) < MANY
    assert compared(partial(page, None)) < MANY
    add(Compared(b""))
    assert compared(partial(page, None)) < MANY
    assert max(compared(partial(page, key)) for key in keys[::50]) < MANY
    assert max(compared(partial(remove, key)) for key in keys[:2500]) < MANY
    assert max(compared(partial(page, key)) for key in keys[::50]) < MANY
    assert between(order, 0, None, BUCKET) == sorted(there)
    for key in (b"", *keys[2500:]):
        remove(key)
    assert (len(order), order._bins) == (0, 0)


def test_what_is_light_is_one_bin_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys that are left here and there have no bin each: its bound, a key that was removed, would stay."""
    for module in (order_module, bins_module):
        monkeypatch.setattr(module, "MOST", 40)
    index = Index()
    keys = [bytes([1, *divmod(number, 200)]) for number in range(2000)]
    index.add(*keys)
    assert index.order._bins > 60
    stay = keys[::20]
    for key in keys:
        if key not in stay:
            index.remove(key)
    assert between(index.order, 0, None, 2 * BUCKET) == stay
    assert index.order._bins < 20
    for key in stay[1:]:
        index.remove(key)
    assert not index.order._divided
    assert between(index.order, 0, None, 2 * BUCKET) == stay[:1]


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


def lists_of(order: SlotIndex) -> set[int]:
    """Which lists its bins have."""
    divided = (keys_bin for bucket in order._divided.values() for keys_bin in bucket.bins)
    return {id(keys_bin.keys) for keys_bin in chain(order._buckets.values(), divided)}


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
    assert 2 < len(told) < 25
    lists = lists_of(order)
    assert len(between(order, 0, None, 10_000 * 1000)) == 10_000
    assert lists_of(order) == lists
    for key in list(there):
        there.remove(key)
        order.note_removed(slot_by_number(key), key)
    told.clear()
    for number in range(10_000):
        key = b"%d" % number
        there.add(key)
        order.add([slot_by_number(key)], [key])
    assert told == []


def test_lists_stay_when_they_are_made_anew() -> None:
    """A bin whose entries are mostly dead gets others in the same list."""
    index = Index()
    keys = [bytes([0, number]) for number in range(5)]
    index.add(*keys)
    (keys_bin,) = index.order._buckets.values()
    before = id(keys_bin.keys)
    for key in keys[:3]:
        index.remove(key)
    assert (keys_bin.dead, len(keys_bin.keys), id(keys_bin.keys)) == (0, 2, before)
