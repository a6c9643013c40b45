"""Whoever leaves room in pools behind pays for it: while there is much, each change has some objects copied as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from storage.memory.alike_stores import apply
from stores import at_once
from twisted.internet.task import Clock

from pyshard.protocol.batch_operations import Read, Remove, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.storage import MemoryStore
from pyshard.storage.memory.allocator_pools import PoolUse
from pyshard.storage.memory.compaction import Compaction

MIB = 1_048_576
SIZE = 48  # bytes of an object: a value here has 9 to 24 bytes beside Python's head


def pools(room: int) -> Sequence[PoolUse]:
    """Pools of values that have some room, in MiB; those of keys are full."""
    return [PoolUse(SIZE, 1, room * MIB // SIZE), PoolUse(512, 10_000, 0)]


def store_with(documents: int, look: Callable[[], Sequence[PoolUse]], clock: Clock) -> MemoryStore:
    """A store that has looked at its pools once."""
    store = MemoryStore("1d", clock.seconds, steady=clock.seconds, pools=look)
    keys = [b"%0100d" % number for number in range(documents)]
    for start in range(0, documents, 1000):
        part = keys[start : start + 1000]
        apply(store, Write("", part, [bytes(memoryview(b"12345")) for _ in part]))
    at_once(store.sweep(1))
    return store


def values(store: MemoryStore) -> dict[bytes, bytes]:
    """The values that there are, by key."""
    return dict(store._indexes[0].records)


def copied(store: MemoryStore, before: dict[bytes, bytes]) -> int:
    """How many values are other objects than they were."""
    return sum(value is not before[key] for key, value in store._indexes[0].records.items())


def change(store: MemoryStore, count: int) -> None:
    """Write a document as often."""
    for _ in range(count):
        apply(store, Write("", [b"%0100d" % 0], [b"12345"]))


@pytest.mark.parametrize("room", [17, 18])
def test_each_change_has_some_copied(room: int) -> None:
    """It does while there is more room than a quarter of what the store holds, whether anybody sweeps or not."""
    clock = Clock()
    store = store_with(20_000, lambda: pools(room), clock)
    store.held = 4 * 17 * MIB + 4096  # so 17 MiB aren't more than a quarter
    before = values(store)
    clock.advance(0.5)
    at_once(store.sweep(1))
    swept = copied(store, before)
    assert swept > 0
    change(store, 300)
    for_changes = copied(store, before) - swept
    assert for_changes == 1 if room == 17 else 400 < for_changes < 900


def test_one_batch_has_a_bounded_number_copied() -> None:
    """A batch of 10,000 changes has 8,000 values copied, which takes some milliseconds."""
    clock = Clock()
    store = store_with(30_000, lambda: pools(200), clock)
    before = values(store)
    keys = [b"%0100d" % number for number in range(10_000)]
    apply(store, Write("", keys, [bytes(memoryview(b"12345")) for _ in keys]))
    assert 4000 < copied(store, before) - 10_000 < 9000


def test_what_changes_nothing_has_nothing_copied() -> None:
    """Reads don't pay, nor does who removes what isn't there."""
    clock = Clock()
    store = store_with(20_000, lambda: pools(200), clock)
    before = values(store)
    for _ in range(100):
        apply(store, Read("", [b"%0100d" % 1]))
        apply(store, Remove("", [b"1"]))
    assert copied(store, before) == 0


def test_a_member_keeps_up() -> None:
    """A replica that only follows has the same copied for what its primary changed."""
    clock = Clock()
    store = store_with(20_000, lambda: pools(200), clock)
    at_once(store.be_member())
    at_once(store.promise(1))
    before, first = values(store), store.sequence + 1
    changes = [Change(0, store._indexes[0].slot_of(b"%0100d" % 0), b"%0100d" % 0, 1 << 51, 0, b"12345")]
    at_once(store.append([ChangeGroup(first + number, 1, 1 << 51, changes) for number in range(300)]))
    at_once(store.commit(first + 299))
    assert store.sequence == first + 299
    assert 400 < copied(store, before) < 900


def test_new_dicts_are_made_for_changes_as_well() -> None:
    """Nothing is copied out of pools while dicts are renewed; so changes bring that on, too, and then go on."""
    clock = Clock()
    store = store_with(40_000, lambda: pools(200), clock)
    keys = [b"%0100d" % number for number in range(40_000)]
    for start in range(1000, 36_000, 1000):
        apply(store, Remove("", keys[start : start + 1000]))
    at_once(store.sweep(1))
    states, before = list[tuple[bool, bool]](), values(store)
    for _ in range(3):
        renewals = store._reclamation.renewals
        states.append((renewals.present is not None, renewals.under_way))
        change(store, 2600)
    assert states == [(True, True), (False, True), (False, False)]
    assert copied(store, before) == store.documents == 5000


def test_what_changes_undo_is_not_in_vain() -> None:
    """If most of a compaction was done for changes, they may have left as much behind: the next one doesn't wait."""
    for changes, mostly_for_changes in ((100, True), (1, False), (0, False)):
        clock = Clock()
        store = store_with(2_000, lambda: pools(200), clock)
        made: Compaction = store._reclamation.compaction
        while made._left:
            change(store, changes)
            at_once(store.sweep(1))
        clock.advance(0.5)
        at_once(store.sweep(1))
        assert bool(made._left) == mostly_for_changes
