"""The store in memory: what it promises beyond the contract of all stores (tests/test_storage_contract.py)."""

from __future__ import annotations

from typing import Any, TypeVar

import pytest
from twisted.internet.defer import Deferred

from pyshard.batch import Pop, Read, Remove, Run, Write
from pyshard.errors import IndexNotFound
from pyshard.hashing import SLOTS, slot_of
from pyshard.storage import IStore, MemoryStore, Page, Task
from pyshard.storage.memory import no_such_index

_T = TypeVar("_T")

PLENTY = 1_000_000_000


def now(deferred: Deferred[_T]) -> _T:
    """The result of a Deferred that has fired."""
    results: list[_T] = []
    deferred.addCallback(results.append)
    return results[0]


def apply(store: MemoryStore, run: Run) -> None:
    """Apply one run, in the default index."""
    (answer,) = now(store.apply([Task(run, 0, [slot_of(key) for key in run.keys])], PLENTY, PLENTY))
    assert answer.errors == {}


def in_order(keys: list[bytes]) -> list[bytes]:
    """Keys in (slot, key) order."""
    return sorted(keys, key=lambda key: (slot_of(key), key))


#: Keys of the first 8,192 slots: the first bucket.
FIRST_BUCKET = in_order([key for key in (b"%d" % number for number in range(100_000)) if slot_of(key) < 8192])


def entries(store: MemoryStore) -> int:
    """How many entries the buckets of the default index have, living and dead."""
    return sum(map(len, store._indexes[0].buckets.values()))


def test_it_is_a_store() -> None:
    """It keeps the identity it is given, and says that a restart loses its data."""
    store: IStore = MemoryStore("1d")
    assert (store.identity, store.ephemeral) == ("1d", True)


def test_every_method_answers_at_once() -> None:
    """Nothing waits for a turn of the reactor."""
    store = MemoryStore("1d")
    asked: list[Deferred[Any]] = [
        store.apply([], PLENTY, PLENTY),
        store.page(0, 0, None, SLOTS, 1, 1),
        store.set_indexes({"pages": 1}),
        store.remember(b""),
        store.close(),
    ]
    assert [one.called for one in asked] == [True] * 5


def test_closing_lets_go() -> None:
    """A closed store holds no document any more."""
    store = MemoryStore("1d")
    apply(store, Write("", [b"a"], [b"one"]))
    now(store.close())
    assert (store.documents, store.used) == (0, 0)


def test_pages_with_many_dead_entries() -> None:
    """Removed keys, and keys that were removed and came back, don't disturb a page, before and after a sweep."""
    assert len(FIRST_BUCKET) > 60
    store = MemoryStore("1d")
    apply(store, Write("", FIRST_BUCKET, [b""] * len(FIRST_BUCKET)))
    living = list(FIRST_BUCKET)
    for number in range(len(FIRST_BUCKET)):
        apply(store, Pop("", [FIRST_BUCKET[number]]))
        if number % 3 == 0:
            apply(store, Write("", [FIRST_BUCKET[number]], [b""]))
        else:
            living.remove(FIRST_BUCKET[number])
        assert now(store.page(0, 0, None, SLOTS, PLENTY, PLENTY)) == Page(living, False)
        assert sum(store.histogram(0, SLOTS, 10)) == len(living)


@pytest.mark.parametrize("verb", [Pop, Remove])
def test_buckets_forget_removed_keys(verb: type[Pop | Remove]) -> None:
    """A key that comes and goes all the time leaves a bounded number of entries behind."""
    store = MemoryStore("1d")
    apply(store, Write("", FIRST_BUCKET[:3], [b""] * 3))
    for _ in range(1000):
        apply(store, Write("", FIRST_BUCKET[3:4], [b""]))
        apply(store, verb("", FIRST_BUCKET[3:4]))
        assert entries(store) <= 3 + 17 + 1
    apply(store, verb("", FIRST_BUCKET[:3]))
    assert store.documents == 0


def test_empty_buckets_go() -> None:
    """A bucket whose keys have all gone is swept away once it has more than 16 dead entries."""
    store = MemoryStore("1d")
    apply(store, Write("", FIRST_BUCKET[:17], [b""] * 17))
    apply(store, Pop("", FIRST_BUCKET[:16]))
    assert entries(store) == 17
    apply(store, Pop("", FIRST_BUCKET[16:17]))
    assert store._indexes[0].buckets == {}
    assert now(store.page(0, 0, None, SLOTS, PLENTY, PLENTY)) == Page([], False)


def test_key_that_came_back_is_read_by_one_entry() -> None:
    """A key that was removed and written again counts once."""
    store = MemoryStore("1d")
    apply(store, Write("", [b"a"], [b"one"]))
    apply(store, Pop("", [b"a"]))
    apply(store, Write("", [b"a"], [b"two"]))
    assert now(store.page(0, 0, None, SLOTS, 10, 10)) == Page([b"a"], False)
    assert (store.documents, sum(store.histogram(0, SLOTS, 1))) == (1, 1)
    (answer,) = now(store.apply([Task(Read("", [b"a"]), 0, [slot_of(b"a")])], PLENTY, PLENTY))
    assert answer.results == [b"two"]


def test_no_such_index() -> None:
    """The error names the id."""
    error = no_such_index(7)
    assert (type(error), str(error)) == (IndexNotFound, "the index with id 7 has been dropped")
