"""The dicts of indexes that have lost their records give their memory back, and nobody sees a difference."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import Callable, Iterator
from sys import getsizeof

import pytest
from hypothesis import given, settings
from storage.memory.alike_stores import Step, check_alike, steps_on
from stores import PLENTY, at_once
from twisted.internet.task import Clock

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import Pop, Remove, Run, Touch, Write
from pyshard.storage import MemoryStore, Task
from pyshard.storage.memory import spare_room
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.memory.table_renewal import TableRenewal, TableRenewals

BATCH = 2000
KEYS = [b"%d" % number for number in range(30)]
LONG_KEYS = [b"%d" % number + b" " * 300 for number in range(4)]


def apply(store: MemoryStore, number: int, run: Run) -> None:
    """Apply one run in an index."""
    name = b"i%d" % number if number else b""
    (answer,) = at_once(store.apply([Task(run, number, [slot_of(key, name) for key in run.keys])], PLENTY, PLENTY))
    assert answer.errors == {}


def fill(store: MemoryStore, number: int, keys: list[bytes], ttl: int | None = None) -> None:
    """Write documents, in batches."""
    for start in range(0, len(keys), BATCH):
        part = keys[start : start + BATCH]
        apply(store, number, Write("", part, [b"1"] * len(part), None, [ttl] * len(part) if ttl else None))


def take_out(store: MemoryStore, number: int, keys: list[bytes], verb: type[Remove] | type[Pop] = Remove) -> None:
    """Remove documents, in batches."""
    for start in range(0, len(keys), BATCH):
        apply(store, number, verb("", keys[start : start + BATCH]))


def sweep(store: MemoryStore) -> int:
    """Sweep as a daemon does; how many times."""
    times = 1
    while at_once(store.sweep(100)):
        times += 1
    return times


def table_bytes(store: MemoryStore) -> int:
    """Bytes of the dicts of all indexes."""
    return sum(
        getsizeof(table)
        for index in store._indexes.values()
        for table in (index.records, index.expiries, index.slot_index._buckets, index.slot_index._divided)
    )


def being_renewed(store: MemoryStore) -> MemoryIndex | None:
    """The index that is being copied."""
    return None if store._reclamation.renewals.present is None else store._reclamation.renewals.present.index


def by_remove(store: MemoryStore, number: int, keys: list[bytes], clock: Clock) -> None:
    """By the verb `remove`."""
    take_out(store, number, keys)


def by_pop(store: MemoryStore, number: int, keys: list[bytes], clock: Clock) -> None:
    """By the verb `pop`."""
    take_out(store, number, keys, Pop)


def by_expiry(store: MemoryStore, number: int, keys: list[bytes], clock: Clock) -> None:
    """By a time to live that is over."""
    for start in range(0, len(keys), BATCH):
        part = keys[start : start + BATCH]
        apply(store, number, Touch("", part, [1000] * len(part)))
    clock.advance(2)
    sweep(store)


Way = Callable[[MemoryStore, int, list[bytes], Clock], None]


@pytest.mark.parametrize("left", [0, 1, 500])
@pytest.mark.parametrize("way", [by_remove, by_pop, by_expiry])
def test_indexes_that_lost_their_records(way: Way, left: int) -> None:
    """Of many indexes that were filled one after the other what is left takes what it counts, and a little."""
    clock, indexes = Clock(), 6
    clock.advance(1000)
    store = MemoryStore("1d", clock.seconds)
    keys = [b"%d" % number for number in range(10_000)]
    at_once(store.set_indexes({f"i{number}": number for number in range(1, indexes + 1)}))
    gc.collect()
    one = 0
    tracemalloc.start()
    try:
        for number in range(1, indexes + 1):
            fill(store, number, keys)
            if number == 1:
                one = tracemalloc.get_traced_memory()[0]
            way(store, number, keys[left:], clock)
            sweep(store)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert [len(store._indexes[number].records) for number in range(1, indexes + 1)] == [left] * indexes
    assert table_bytes(store) < indexes * (300 * left + 8000 + 60_000 * bool(left))  # the latter for 1,221 bins
    assert taken < 1.2 * store.used + 0.1 * one + indexes * 250_000 * (left > 1)  # bins have lists with some room


@pytest.mark.parametrize("become", ["alone", "member"])
def test_a_large_index_takes_small_steps(become: str) -> None:
    """What is left of a large index is copied a part at a time, while it changes; of a replica's, too."""
    store = MemoryStore("1d", lambda: 0.0)
    keys = [b"%d" % number for number in range(60_000)]
    fill(store, 0, keys, ttl=100_000)
    take_out(store, 0, keys[12_000:])
    before, records = table_bytes(store), store._indexes[0].records
    if become == "member":
        at_once(store.be_member())
    steps, expected = 0, set(keys[:12_000])
    while at_once(store.sweep(100)):
        steps += 1
        if store._reclamation.renewals.present is not None:
            assert len(store._reclamation.renewals.present._records) <= steps * 2500
            if become == "alone":
                take_out(store, 0, [keys[steps]])
                fill(store, 0, [b"new %d" % steps], ttl=100_000)
                expected ^= {keys[steps], b"new %d" % steps}
                assert not store._reclamation.renewals.present._changed  # each batch has that put right
    assert steps > 10
    index = store._indexes[0]
    assert index.records is not records
    assert table_bytes(store) < before / 3
    assert index.records.keys() == index.expiries.keys() == expected
    assert records == {}  # which nobody uses, and which has let go of everything by and by
    assert sweep(store) == 1


def test_a_dropped_index_is_not_renewed() -> None:
    """Its renewal ends with it."""
    store = MemoryStore("1d", lambda: 0.0)
    at_once(store.set_indexes({"i1": 1}))
    keys = [b"%d" % number for number in range(40_000)]
    fill(store, 1, keys)
    take_out(store, 1, keys[5000:])
    assert at_once(store.sweep(100))
    assert being_renewed(store) is store._indexes[1]
    at_once(store.set_indexes({}))
    sweep(store)
    assert being_renewed(store) is None
    assert (store.documents, store.used, store._dropped) == (0, 0, [])


def test_a_small_index_does_not_wait_for_a_large_one() -> None:
    """It is renewed at once while the large one is being copied."""
    store = MemoryStore("1d", lambda: 0.0)
    at_once(store.set_indexes({"i1": 1, "i2": 2}))
    keys = [b"%d" % number for number in range(40_000)]
    fill(store, 1, keys)
    take_out(store, 1, keys[6000:])
    assert at_once(store.sweep(100))
    fill(store, 2, keys[:4000])
    take_out(store, 2, keys[3:4000])
    assert at_once(store.sweep(100))
    assert being_renewed(store) is store._indexes[1]
    assert getsizeof(store._indexes[2].records) < 1000


# ---------------------------------------------------------------------- nobody sees a difference


def begin(renewals: TableRenewals, index: MemoryIndex, room: int) -> int:
    """Begin to copy an index, however few records it has."""
    if renewals.present is None:
        renewals.present = TableRenewal(index)
    return room


@pytest.fixture
def always_renewed(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each dict takes too much, and none is copied at once."""
    with monkeypatch.context() as patched:
        patched.setattr(spare_room, "_FEW", -1)
        patched.setattr(spare_room, "_EACH_RECORD", 0)
        patched.setattr(TableRenewals, "_renew", begin)
        yield


@pytest.mark.usefixtures("always_renewed")
@settings(max_examples=150)
@given(steps_on([*KEYS, *LONG_KEYS], "renew"))
def test_whatever_happens(steps: list[Step]) -> None:
    """A store whose dicts are renewed gives the same as one whose dicts aren't; also to who reads a snapshot of it."""

    def renew(store: MemoryStore, number: int) -> None:
        store._reclamation.renewals.step(
            store._indexes.values(), number // 30
        )  # so it takes a few steps, and is changed meanwhile

    def sweep(store: MemoryStore, number: int) -> None:  # without the renewals that a sweep of the store brings on
        store._indexes[0].sweep(store._now(), number)
        store._changed()

    renewed = check_alike([*KEYS, *LONG_KEYS], steps, {"renew": renew}, sweep)
    while renewed._reclamation.renewals.present is not None:
        renew(renewed, 1000)


def same_objects(index: MemoryIndex) -> bool:
    """Whether a dict has the very keys of the slot order, so that no key is in memory twice."""
    kept = {key: key for _, key, present in index.slot_index.walk(0, None, SLOTS) if present and key is not None}
    objects = {id(keys_bin_key) for keys_bin in index.slot_index._buckets.values() for keys_bin_key in keys_bin.keys}
    return kept.keys() == index.records.keys() and all(id(key) in objects for key in index.records)


def test_a_key_is_in_memory_once() -> None:
    """Also one that was removed and added again, before it was copied or afterwards."""
    store = MemoryStore("1d", lambda: 0.0)
    index = store._indexes[0]
    for again in (True, False):
        keys = [b"%d" % number for number in range(12_000)]  # ten to a bin
        fill(store, 0, keys, ttl=100_000)
        renewal = TableRenewal(index)
        if not again:
            renewal.copy(1 << 40)
        take_out(store, 0, keys[::5])
        fill(store, 0, [b"%d" % number for number in range(0, 12_000, 5)], ttl=100_000)  # equal ones
        renewal.copy(1 << 40)
        renewal.finish()
        assert same_objects(index)
        for keys_bin in index.slot_index._buckets.values():
            keys_bin.forget_dead(index.records)
        assert same_objects(index)
