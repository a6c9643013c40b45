"""A shard in memory takes about what its documents count, whichever of them are left; and nobody sees a difference."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

import pytest
from hypothesis import given, settings
from storage.memory.alike_stores import Step, apply, check_alike, steps_on
from stores import PLENTY, at_once
from twisted.internet.task import Clock

from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_operations import Pop, Remove, Write
from pyshard.storage import MemoryStore, Task
from pyshard.storage.memory import compaction
from pyshard.storage.memory.allocator_pools import PoolUse, lengths_in, pool_reader
from pyshard.storage.memory.compaction import Compaction, room_in
from pyshard.storage.memory.dict_lookups import stored_key

MIB = 1_048_576
MUCH = 100 * MIB
KEYS = [b"%d" % number for number in range(30)]
LONG_KEYS = [b"%d" % number + b" " * 600 for number in range(4)]
ALL_KEYS = [*KEYS, *LONG_KEYS]

ALL_LENGTHS = range(480)


def fill(store: MemoryStore, keys: list[bytes], record: bytes = b"1", ttl: int | None = None) -> None:
    """Write documents, each with a record of its own."""
    for start in range(0, len(keys), 1000):
        part = keys[start : start + 1000]
        records = [bytes(memoryview(record)) for _ in part]
        apply(store, Write("", part, records, None, [ttl] * len(part) if ttl else None))


def compact(store: MemoryStore, with_keys: bool) -> None:
    """Copy all values, and all keys."""
    made = Compaction(lambda: (), lambda: 0.0)
    made._begin(store._indexes.values(), {})
    made._of_values = frozenset(ALL_LENGTHS)
    made._of_keys = frozenset(ALL_LENGTHS if with_keys else ())
    made._copy(PLENTY)
    assert made._left == []


def room(mebibytes: int, size: int = 32) -> list[PoolUse]:
    """Pools of one size, which have so much room and next to nothing else."""
    return [PoolUse(size, 1, mebibytes * MIB // size), PoolUse(512, 10_000, 0)]


def looks(*given: list[PoolUse]) -> Callable[[], Sequence[PoolUse]]:
    """What gives the pools that are there at each look; in the end they are full."""
    left = list(given)
    return lambda: left.pop(0) if left else ()


def objects(store: MemoryStore) -> dict[bytes, set[int]]:
    """Which objects an index has as each key."""
    index, found = store._indexes[0], dict[bytes, set[int]]()
    slot_order = [key for keys_bin in index.slot_index._buckets.values() for key in keys_bin.keys]
    scheduled = [key for keys in index._schedule._sets.values() for key in keys]
    for key in [*index.records, *index.expiries, *slot_order, *scheduled, *index._schedule._passed_over]:
        found.setdefault(key, set()).add(id(key))
    return found


def sweeps(store: MemoryStore) -> int:
    """Sweep until there is no more to do; how many times."""
    return next(number for number in count(1) if not at_once(store.sweep(100)))


def test_lengths_that_are_copied() -> None:
    """Those of pools with much room: a quarter for values, half for keys. What becomes so meanwhile is copied, too."""
    clock = Clock()
    half, quarter = PoolUse(48, MIB, MIB + 1), PoolUse(64, MIB, MIB // 2)
    given = looks([half, quarter], [quarter], [PoolUse(96, 1, 10)])
    store = MemoryStore("1d", clock.seconds, steady=clock.seconds, pools=given)
    fill(store, [b"%d" % number for number in range(20_000)])
    made = store._reclamation.compaction
    assert at_once(store.sweep(100))
    assert made._of_values == {*lengths_in(48), *lengths_in(64)}
    assert made._of_keys == {*lengths_in(48)}
    clock.advance(0.2)
    assert at_once(store.sweep(10))
    assert made._of_keys == {*lengths_in(48)}
    clock.advance(0.2)
    assert at_once(store.sweep(10))
    assert (made._of_values, made._of_keys) == (frozenset(lengths_in(64)), frozenset())


def test_looks_take_a_small_part_of_the_time() -> None:
    """A look that takes 0.01 s comes every two seconds."""
    clock, times = Clock(), list[float]()

    def look() -> Sequence[PoolUse]:
        times.append(clock.seconds())
        clock.advance(0.01)
        return ()

    store = MemoryStore("1d", clock.seconds, steady=clock.seconds, pools=look)
    while clock.seconds() < 20:
        sweeps(store)
        clock.advance(0.25)
    assert len(times) in (9, 10)
    for _ in range(100):
        sweeps(store)
    assert len(times) in (9, 10)


# ---------------------------------------------------------------------- what it does


def values_left(store: MemoryStore) -> None:
    """Have values alone in their pools."""
    for size in range(80, 440, 32):
        keys = [b"%d %d" % (size, number) for number in range(6000)]
        fill(store, keys, bytes(size))
        for start in range(0, 6000, 1000):
            apply(store, Remove("", [key for key in keys[start : start + 1000] if int(key.split()[1]) % 48]))


def keys_left(store: MemoryStore) -> None:
    """Have keys alone in their pools."""
    for size in range(80, 440, 32):
        keys = [b"%d " % number + b"k" * size for number in range(6000)]
        fill(store, keys, ttl=100_000)
        for start in range(0, 6000, 1000):
            apply(store, Remove("", [key for key in keys[start : start + 1000] if int(key.split()[0]) % 48]))


@pytest.mark.parametrize("leave", [values_left, keys_left])
def test_pools_become_free(leave: Callable[[MemoryStore], None], monkeypatch: pytest.MonkeyPatch) -> None:
    """Documents that were left in nearly empty pools, size by size, fill few of them afterwards."""
    read = pool_reader()
    if not read():
        pytest.skip("this Python doesn't tell of its allocator")
    clock = Clock()
    store = MemoryStore("1d", clock.seconds, steady=clock.seconds, pools=read)
    before = room_in(read())
    leave(store)
    pinned = room_in(read()) - before
    assert pinned > 5 * MIB
    monkeypatch.setattr(compaction, "_FEW", before + MIB)  # what others in this process have doesn't count
    for _ in range(3):
        clock.advance(10)
        sweeps(store)
    assert room_in(read()) - before < pinned / 2  # what other tests of this process leave is in it, too


def test_copies_of_values() -> None:
    """Small ones are other objects, which are equal; large ones are not in pools, and stay."""
    store = MemoryStore("1d", lambda: 0.0)
    fill(store, KEYS, bytes(100))
    fill(store, LONG_KEYS, bytes(600))
    before = dict(store._indexes[0].records)
    compact(store, with_keys=False)
    after = store._indexes[0].records
    assert after == before
    assert {key for key in after if after[key] is before[key]} == set(LONG_KEYS)


def test_copies_of_keys() -> None:
    """All that an index has as a key is one new object: in its dicts, in the slot order and among the expiries."""
    clock = Clock()
    store = MemoryStore("1d", clock.seconds)
    fill(store, ALL_KEYS[::2], ttl=1000)
    fill(store, ALL_KEYS[1::2])
    index = store._indexes[0]
    clock.advance(2)
    index.sweep(2000, 5, ((0, SLOTS),))  # which passes over some of those that have expired
    assert len(index._schedule._passed_over) == 5
    before = {key: stored_key(index.records, key) for key in ALL_KEYS}
    tables = dict(index.records), dict(index.expiries)
    compact(store, with_keys=True)
    assert (index.records, index.expiries) == tables
    assert {len(found) for found in objects(store).values()} == {1}
    assert {key for key in ALL_KEYS if stored_key(index.records, key) is before[key]} == set(LONG_KEYS)
    index.sweep_again()
    sweeps(store)
    assert index.records.keys() == set(ALL_KEYS[1::2])
    assert len(index._schedule) == 0


def test_keys_that_have_gone_are_not_kept() -> None:
    """The slot order forgets them, which keeps some to begin with."""
    store = MemoryStore("1d", lambda: 0.0)
    fill(store, KEYS)
    apply(store, Pop("", KEYS[:5]))
    fill(store, [bytes(memoryview(key)) for key in KEYS[:3]])
    before = len(store._indexes[0].slot_index)
    compact(store, with_keys=True)
    assert len(store._indexes[0].slot_index) == 28 < before
    assert objects(store).keys() == set(KEYS[:3] + KEYS[5:])
    assert {len(found) for found in objects(store).values()} == {1}


@pytest.mark.parametrize("become", ["alone", "member"])
def test_small_steps(become: str) -> None:
    """A large index is copied a part at a time, while it changes; a replica's, too."""
    clock = Clock()
    store = MemoryStore("1d", clock.seconds, steady=clock.seconds, pools=looks(room(200, 48)))
    keys = [b"%d" % number for number in range(30_000)]
    fill(store, keys, bytes(16), ttl=100_000)
    store.held += 1024 * MIB  # so it has no hurry
    if become == "member":
        at_once(store.be_member())
    steps, expected, held = 0, set(keys), store.held
    objects_before = {id(key) for key in store._indexes[0].records}
    while at_once(store.sweep(100)):
        steps += 1
        copied = sum(1 for key in store._indexes[0].records if id(key) not in objects_before)
        assert copied <= 1000 * steps
        if become == "alone":
            apply(store, Remove("", [keys[steps]]))
            fill(store, [b"new %d" % steps], ttl=100_000)
            expected ^= {keys[steps], b"new %d" % steps}
    assert 35 <= steps <= 80
    assert store._indexes[0].records.keys() == store._indexes[0].expiries.keys() == expected
    assert become == "alone" or store.held == held
    assert {len(found) for key, found in objects(store).items() if key in expected} == {1}


def test_hurry() -> None:
    """Where there is more room than a quarter of what the store holds a step does three times as much."""
    done = list[int]()
    for held in (0, 1024 * MIB):
        store = MemoryStore("1d", lambda: 1.0, steady=lambda: 1.0, pools=looks(room(200, 512)))
        fill(store, [b"%d" % number for number in range(30_000)])
        store.held += held
        done.append(sweeps(store))
    assert done[0] < done[1] / 2


def test_it_waits_for_new_dicts() -> None:
    """While an index is copied to new dicts nothing is, or these would get keys that the slot order doesn't have."""
    clock = Clock()
    store = MemoryStore("1d", clock.seconds, steady=clock.seconds, pools=looks(room(100, 48)))
    keys = [b"%d" % number for number in range(40_000)]
    fill(store, keys)
    assert at_once(store.sweep(100))
    for start in range(0, 34_000, 1000):
        apply(store, Remove("", keys[start : start + 1000]))
    place = store._reclamation.compaction._place
    assert at_once(store.sweep(100))
    while store._reclamation.renewals.under_way:
        assert store._reclamation.compaction._place == place
        at_once(store.sweep(100))
    sweeps(store)
    assert store._reclamation.compaction._left == []
    assert {len(found) for key, found in objects(store).items() if key in store._indexes[0].records} == {1}


def test_new_dicts_have_copies_of_values() -> None:
    """When a table is renewed, what is left of a mass of documents is copied."""
    store = MemoryStore("1d", lambda: 0.0)
    keys = [b"%d" % number for number in range(4000)]
    fill(store, keys)
    left = {key: store._indexes[0].records[key] for key in keys[3900:]}
    for start in range(0, 3900, 100):
        apply(store, Remove("", keys[start : start + 100]))
    sweeps(store)
    records = store._indexes[0].records
    assert records == left
    assert all(records[key] is not value for key, value in left.items())


def test_dropped_indexes_are_left_out() -> None:
    """An index that is dropped meanwhile isn't copied any more."""
    clock = Clock()
    store = MemoryStore("1d", clock.seconds, steady=clock.seconds, pools=looks(room(100, 48)))
    at_once(store.set_indexes({"i": 1}))
    keys = [b"%d" % number for number in range(20_000)]
    for start in range(0, 20_000, 1000):
        part = keys[start : start + 1000]
        run = Write("", part, [b"1"] * 1000)
        at_once(store.apply([Task(run, 1, [slot_of(key, b"i") for key in part])], PLENTY, PLENTY))
    assert at_once(store.sweep(100))
    at_once(store.set_indexes({}))
    sweeps(store)
    assert (store.documents, store.used, store._reclamation.compaction._left) == (0, 0, [])


# ---------------------------------------------------------------------- nobody sees a difference


@settings(max_examples=150)
@given(steps_on(ALL_KEYS, "values", "both"))
def test_whatever_happens(steps: list[Step]) -> None:
    """A store that is compacted gives the same as one that isn't; also to who reads a snapshot of it."""

    def copy_both(store: MemoryStore, _: int) -> None:
        compact(store, with_keys=True)
        assert {len(found) for found in objects(store).values()} <= {1}

    inside = {"values": lambda store, _: compact(store, with_keys=False), "both": copy_both}
    check_alike(ALL_KEYS, steps, inside, lambda store, number: at_once(store.sweep(number)))
