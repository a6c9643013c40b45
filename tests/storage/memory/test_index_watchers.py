"""Who watches an index in memory is told of what it must know, and of nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage.memory.test_index_records import Owner
from stores import PLENTY, at_once

from pyshard.model.key_slots import slot_of, slots_of
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.batch_operations import Remove, Run, Write
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.storage import MemoryStore, Task
from pyshard.storage.memory.given_up_index_counts import IndexCount
from pyshard.storage.memory.index_at_moment import IndexAtMoment
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.memory.index_watchers import EVERY_CHANGE, Watcher
from pyshard.storage.memory.table_renewal import TableRenewal
from pyshard.storage.store_index import StoredRecord, cost

KEYS = [b"%d" % number for number in range(6)]
OLD = KEYS[:4]  # of versions 1 to 4; the others aren't there


class Told(Watcher):
    """Notes what it is told of.

    :param newest: see `Watcher`.
    """

    def __init__(self, newest: int) -> None:
        self.newest = newest
        self.before: list[bytes] = []
        self.after: list[tuple[bytes, int, bytes]] = []

    def keep(self, key: bytes, slot: int) -> None:
        """A record is about to change."""
        assert slot == slot_of(key)
        self.before.append(key)

    def keep_replaced(self, keys: Sequence[bytes], slots: Sequence[int], values: Sequence[bytes]) -> None:
        """Records were written."""
        self.after += zip(keys, slots, values, strict=True)


def filled() -> MemoryIndex:
    """An index with some records."""
    index = MemoryIndex(Owner(), b"")
    for version, key in enumerate(OLD, 1):
        stored = StoredRecord(version, 0, b"old")
        index.put(key, slot_of(key), stored, None, cost(key, stored))
    return index


def write(index: MemoryIndex, keys: Sequence[bytes], first: int) -> None:
    """Write a column of keys, with versions from `first` on."""
    index.write(keys, slots_of(keys), [b"new"] * len(keys), range(first, first + len(keys)))


def replaced(*versions: int) -> list[tuple[bytes, int, bytes]]:
    """What a watcher is told of the records that had these versions."""
    return [(KEYS[one - 1], slot_of(KEYS[one - 1]), VERSION.pack(one) + b"old") for one in versions]


def test_columns() -> None:
    """A view of a moment is told of what is first replaced, and neither of new records nor of what is replaced then."""
    index = filled()
    view, every = Told(2), Told(EVERY_CHANGE)
    index.watch(every)
    index.watch(view)
    index.unwatch(every)
    view.before = []
    write(index, KEYS, 10)
    assert view.after == replaced(1, 2)
    youngest = Told(20)
    index.watch(youngest)
    index.unwatch(youngest)  # so nobody looks for what it would want
    write(index, KEYS, 20)
    assert (view.after, every.after, youngest.after) == (replaced(1, 2), [], [])
    later = Told(25)
    index.watch(later)
    write(index, KEYS, 30)
    assert {key for key, _, _ in later.after} == set(KEYS)
    assert [value[:8] for _, _, value in later.after] == [VERSION.pack(version) for version in range(20, 26)]


def test_each_change() -> None:
    """Who wants each change is told of it before, in columns as well, whatever the version."""
    index, told = filled(), Told(EVERY_CHANGE)
    index.watch(told)
    write(index, KEYS, 10)
    write(index, KEYS[:1], 20)
    assert told.before == [*KEYS, KEYS[0]]
    assert told.after == []


def test_one_by_one() -> None:
    """By itself a record is told of if its version isn't higher; a new one by its new version; a removal always."""
    index, told = filled(), Told(2)
    index.watch(told)
    for key in OLD:
        old = index.find(key, slot_of(key))
        index.put(key, slot_of(key), StoredRecord(9, 0, b"new"), old, 0)
    assert told.before == OLD[:2]
    for version in (2, 3):
        index.put(KEYS[4], slot_of(KEYS[4]), StoredRecord(version, 0, b"1"), None, 0)
        old = index.find(KEYS[4], slot_of(KEYS[4]))
        assert old is not None
        index.delete(KEYS[4], slot_of(KEYS[4]), old, 0)
    assert told.before == [*OLD[:2], KEYS[4], KEYS[4], KEYS[4]]


def apply(store: MemoryStore, run: Run) -> None:
    """Apply one run."""
    (answer,) = at_once(store.apply([Task(run, 0, slots_of(run.keys))], PLENTY, PLENTY))
    assert answer.errors == {}


@pytest.mark.parametrize("copied", [False, True], ids=["snapshots", "copies"])
def test_a_bulk_writer_beside_views(copied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Views of a moment keep each record once. New records, and records that are written again, cost them nothing."""
    told: list[int] = []
    keep_replaced = IndexAtMoment.keep_replaced

    def counted(self: IndexAtMoment, keys: Sequence[bytes], slots: Sequence[int], values: Sequence[bytes]) -> None:
        told.append(len(keys))
        keep_replaced(self, keys, slots, values)

    monkeypatch.setattr(IndexAtMoment, "keep_replaced", counted)
    store, keys = MemoryStore("1d", lambda: 1.7e9), [b"%d" % number for number in range(100)]
    apply(store, Write("", keys, [b"1"] * 100))
    views = [at_once(store.copy(None)) if copied else store.snapshot() for _ in range(2)]
    empty = views[0].pinned
    apply(store, Write("", [b"new" + key for key in keys], [b"2"] * 100))
    assert (told, views[0].pinned) == ([], empty)
    apply(store, Write("", keys, [b"2"] * 100))
    assert told == [100, 100]
    pinned = [view.pinned for view in views]
    for _ in range(3):
        apply(store, Write("", keys + [b"new" + key for key in keys], [b"3"] * 200))
    assert told == [100, 100]
    assert [view.pinned for view in views] == pinned


def test_versions_from_elsewhere() -> None:
    """A record with a higher version than the store has given is part of a view, and what is written then isn't."""
    store = MemoryStore("1d", lambda: 1.7e9)
    apply(store, Write("", KEYS[:1], [b"0"]))
    high = 2 * 10**15
    changes = [Change(0, slot_of(key), key, high + 5, 0, b"1") for key in KEYS[1:3]]
    at_once(store.absorb(ChangeGroup(1, 0, high, changes)))
    snapshot = store.snapshot()
    apply(store, Write("", KEYS[2:4], [b"2"] * 2))
    apply(store, Remove("", KEYS[:1]))
    rows = snapshot.page(PLENTY)
    assert rows is not None
    assert sorted((row.key, row.record) for row in rows) == [(b"0", b"0"), (b"1", b"1"), (b"2", b"1")]


@given(st.lists(st.lists(st.sampled_from(KEYS), unique=True, min_size=1), max_size=4), st.integers(0, 6))
def test_a_column_is_each_of_its_keys(columns: list[list[bytes]], counted: int) -> None:
    """Counts ahead, and new dicts, are the same whether they are told of a column or of each key by itself."""
    found = []
    for column_wise in (True, False):
        index = filled()
        counts = IndexCount(index, ((2_000_000, 9_000_000),), set())
        counts.count(counted)
        renewal = TableRenewal(index)
        renewal.copy(counted)
        for keys in columns:
            slots = slots_of(keys)
            for watcher in (counts, renewal):
                if column_wise:
                    watcher.keep_column(keys, slots)
                else:
                    Watcher.keep_column(watcher, keys, slots)
        found.append((counts.tally, counts._changing, renewal._changed))
    assert found[0] == found[1]
