"""The store in memory: what it promises beyond the contract of all stores (tests/storage/contract/)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from stores import INDEXES, PLENTY, at_once, task
from twisted.internet.defer import Deferred

from pyshard.errors import IndexNotFound
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.slot_ranges import EVERYTHING, in_ranges, without
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.batch_operations import Pop, Read, Remove, Run, Touch, Write
from pyshard.storage import IStore, MemoryStore, Page, PageBounds
from pyshard.storage.batch_executor import no_such_index
from pyshard.storage.interface import Task
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.memory.slot_index import SlotIndex


def new_store() -> MemoryStore:
    """An empty store, for which no time passes."""
    return MemoryStore("1d", lambda: 0.0)


def apply(store: MemoryStore, run: Run) -> None:
    """Apply one run, in the default index."""
    (answer,) = at_once(store.apply([task(run)], PLENTY, PLENTY))
    assert answer.errors == {}


def in_order(keys: list[bytes]) -> list[bytes]:
    """Keys in (slot, key) order."""
    return sorted(keys, key=lambda key: (slot_of(key), key))


#: Keys of the first 8,192 slots: the first bucket.
FIRST_BUCKET = in_order([key for key in (b"%d" % number for number in range(100_000)) if slot_of(key) < 8192])


def entries(store: MemoryStore) -> int:
    """How many entries the buckets of the default index have, living and dead."""
    return len(store._indexes[0].slot_index)


def test_it_is_a_store() -> None:
    """It keeps the identity it is given, and says that a restart loses its data."""
    store: IStore = new_store()
    assert (store.identity, store.ephemeral) == ("1d", True)


def test_versions_begin_with_the_time() -> None:
    """A store that takes the place of one that was lost gives higher versions, by the microsecond."""
    store = MemoryStore("1d", lambda: 1234.5)
    apply(store, Write("", [b"a"], [b"one"]))
    (answer,) = at_once(store.apply([task(Read("", [b"a"]))], PLENTY, PLENTY))
    assert answer.results == [VERSION.pack(1_234_500_001) + b"one"]


def test_every_method_answers_at_once() -> None:
    """Nothing waits for a turn of the reactor."""
    store = new_store()
    asked: list[Deferred[Any]] = [
        store.apply([], PLENTY, PLENTY),
        store.page(0, 0, None, SLOTS, PageBounds(1, 1)),
        store.set_indexes({"pages": 1}),
        store.remember(b""),
        store.sweep(1),
        store.close(),
    ]
    assert [one.called for one in asked] == [True] * 6


def test_closing_lets_go() -> None:
    """A closed store has no document any more."""
    store = new_store()
    apply(store, Write("", [b"a"], [b"one"]))
    at_once(store.close())
    assert (store.documents, store.used) == (0, 0)


def test_pages_with_many_dead_entries() -> None:
    """Pages are right while keys are removed, and some of them added again."""
    assert len(FIRST_BUCKET) > 60
    store = new_store()
    apply(store, Write("", FIRST_BUCKET, [b""] * len(FIRST_BUCKET)))
    living = list(FIRST_BUCKET)
    for number in range(len(FIRST_BUCKET)):
        apply(store, Pop("", [FIRST_BUCKET[number]]))
        if number % 3 == 0:
            apply(store, Write("", [FIRST_BUCKET[number]], [b""]))
        else:
            living.remove(FIRST_BUCKET[number])
        assert at_once(store.page(0, 0, None, SLOTS, PageBounds(PLENTY, PLENTY))) == Page(living, False)
        assert sum(store.histogram(0, SLOTS, 10)) == len(living)


@pytest.mark.parametrize("verb", [Pop, Remove])
def test_buckets_forget_removed_keys(verb: type[Pop | Remove]) -> None:
    """A key that comes and goes all the time leaves a bounded number of entries behind."""
    store = new_store()
    apply(store, Write("", FIRST_BUCKET[:3], [b""] * 3))
    for _ in range(1000):
        apply(store, Write("", FIRST_BUCKET[3:4], [b""]))
        apply(store, verb("", FIRST_BUCKET[3:4]))
        assert entries(store) <= 3 + 17 + 1
    apply(store, verb("", FIRST_BUCKET[:3]))
    assert store.documents == 0


def test_empty_buckets_go() -> None:
    """A bucket goes with its last key."""
    store = new_store()
    apply(store, Write("", FIRST_BUCKET[:17], [b""] * 17))
    apply(store, Pop("", FIRST_BUCKET[:16]))
    assert 1 <= entries(store) < 10
    apply(store, Pop("", FIRST_BUCKET[16:17]))
    assert entries(store) == 0
    assert at_once(store.page(0, 0, None, SLOTS, PageBounds(PLENTY, PLENTY))) == Page([], False)


def test_key_that_came_back_is_read_by_one_entry() -> None:
    """A key that was removed and written again counts once."""
    store = new_store()
    apply(store, Write("", [b"a"], [b"one"]))
    apply(store, Pop("", [b"a"]))
    apply(store, Write("", [b"a"], [b"two"]))
    assert at_once(store.page(0, 0, None, SLOTS, PageBounds(10, 10))) == Page([b"a"], False)
    assert (store.documents, sum(store.histogram(0, SLOTS, 1))) == (1, 1)
    (answer,) = at_once(store.apply([task(Read("", [b"a"]))], PLENTY, PLENTY))
    assert answer.results == [VERSION.pack(2) + b"two"]


def test_expiries_that_were_changed_are_forgotten() -> None:
    """Keys that are touched all the time, to live longer or shorter, leave no old expiries behind."""
    store = new_store()
    schedule = store._indexes[0]._schedule
    apply(store, Write("", FIRST_BUCKET[:10], [b""] * 10, None, [1000] * 10))
    for each in range(1000):
        apply(store, Touch("", FIRST_BUCKET[:10], [1000 + each * 7919 % 5000] * 10))
        assert len(schedule) == 10
    apply(store, Touch("", FIRST_BUCKET[:5], [0] * 5))
    assert len(schedule) == 5
    apply(store, Remove("", FIRST_BUCKET[:10]))
    assert len(schedule) == 0


def test_no_such_index() -> None:
    """The error names the id."""
    error = no_such_index(7)
    assert (type(error), str(error)) == (IndexNotFound, "the index with id 7 has been dropped")


def test_work_for_indexes_that_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that is kept for followers, and a sweep, cost the same with many indexes that nobody uses."""
    looked_at: list[MemoryIndex] = []
    for name, real in (("changes", MemoryIndex.changes), ("sweep", MemoryIndex.sweep)):

        def noted(self: MemoryIndex, *args: Any, real: Callable[..., object] = real) -> object:
            looked_at.append(self)
            return real(self, *args)

        monkeypatch.setattr(MemoryIndex, name, noted)
    now = 1.0
    store = MemoryStore("1d", lambda: now)
    at_once(store.set_indexes(INDEXES | {f"index {number}": number for number in range(10, 100)}, 100))
    follower, used = store.follow("f", store.sequence), [INDEXES[""], INDEXES["pages"]]
    for name in ("", "pages"):
        (answer,) = at_once(store.apply([task(Write(name, [b"a"], [b"one"], None, [1]))], PLENTY, PLENTY))
        assert answer.errors == {}
    groups = at_once(follower.groups(PLENTY))
    assert [[change.index for change in group.changes] for group in groups] == [[number] for number in used]
    assert looked_at == [store._indexes[number] for number in used]
    looked_at.clear()
    now = 2.0
    assert at_once(store.sweep(1000)) is False
    (group,) = at_once(follower.groups(PLENTY))
    assert [(change.index, change.record) for change in group.changes] == [(number, None) for number in used]
    assert looked_at == [store._indexes[number] for number in used] * 2


def test_work_for_many_ranges_of_many_indexes(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is given up is counted, and removed, in steps that look for few ranges, however many have nothing."""
    looks = 0
    store = MemoryStore("1d", lambda: 1.0)
    names = {f"index {number}": number for number in range(1, 100)}
    at_once(store.set_indexes(names, 100))
    keys = [b"%d" % number for number in range(100)]
    for number in names.values():  # nearly all of them lie elsewhere
        index, run = store._indexes[number], Write("", keys, [b"one"] * len(keys))
        at_once(store.apply([Task(run, number, [index.slot_of(key) for key in keys])], PLENTY, PLENTY))
    given = tuple((20_000 * number, 20_000 * number + 10) for number in range(400))
    kept = without(EVERYTHING, given)
    walk = SlotIndex.walk

    def counted(self: SlotIndex, *args: Any) -> object:
        nonlocal looks
        looks += 1
        return walk(self, *args)

    def steps(step: Callable[[], bool]) -> int:
        nonlocal looks
        found, more = 0, True
        while more:
            looks, more, found = 0, step(), found + 1
            assert looks <= 2500
        return found

    monkeypatch.setattr(SlotIndex, "walk", counted)
    assert steps(lambda: at_once(store.count_ahead(kept, 500))) > 10
    at_once(store.own(kept))
    assert store.ranges.left
    assert steps(lambda: at_once(store.sweep(100)) or bool(store.ranges.left)) > 10
    assert store.documents == sum(len(index.records) for index in store._indexes.values())
    there = [index.slot_of(key) for index in store._indexes.values() for key in index.records]
    assert not any(in_ranges(slot, given) for slot in there)
