"""One index of a durable store: columns of keys do what the plain twins do key by key."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage.durable.layers import (
    INDEX,
    Changed,
    Stored,
    counted,
    distinct_keys,
    in_lmdb,
    in_memtable,
    layers_with,
    memtable_of,
    merged,
    slot_of,
)

from pyshard.protocol.batch_answers import VERSION
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.store_index import StoredRecord


@given(in_lmdb, in_memtable, in_memtable, distinct_keys, st.data())
def test_write(stored: Stored, older: Changed, newer: Changed, keys: list[bytes], data: st.DataObject) -> None:
    """`write` leaves the same memtable and the same counters as its plain twin, and counts right."""
    records = data.draw(st.lists(st.binary(max_size=5), min_size=len(keys), max_size=len(keys)))
    slots, versions = list(map(slot_of, keys)), range(1000, 1000 + len(keys))
    before = merged(stored, newer, older)
    results = []
    with layers_with(stored) as layers:
        for name in ("write", "write_plainly"):
            changes, counters = GroupChanges(), counted(before)
            changes.merge(memtable_of(newer))
            index = DurableIndex(layers.view(changes, memtable_of(older)), INDEX, counters, changes)
            growth = getattr(index, name)(keys, slots, records, versions)
            results.append((growth, changes.records, counters))
    assert results[0] == results[1]
    written = zip(
        keys, (StoredRecord(*each) for each in zip(versions, [0] * len(keys), records, strict=True)), strict=True
    )
    after = counted(before | dict(written))
    assert results[0][2] == after
    assert results[0][0] == after.used - counted(before).used


@given(in_lmdb, in_memtable, distinct_keys, st.sampled_from([0, 5, 7, 10]), st.integers(0, 40))
def test_has_and_read(stored: Stored, changed: Changed, keys: list[bytes], now: int, room: int) -> None:
    """`has` and `read` give what their plain twins give, and that is what hasn't expired of what there is."""
    live = {key: record for key, record in merged(stored, changed).items() if not 0 < record.expires <= now}
    slots = list(map(slot_of, keys))
    with layers_with(stored) as layers:
        index = DurableIndex(layers.view(memtable_of(changed)), INDEX)
        assert index.has(keys, slots, now) == index.has_plainly(keys, slots, now) == [key in live for key in keys]
        assert index.read(keys, slots, now, room) == index.read_plainly(keys, slots, now, room)
        assert index.read(keys, slots, now, 1 << 20) == [
            VERSION.pack(live[key].version) + live[key].record if key in live else None for key in keys
        ]


@pytest.mark.parametrize("name", ["read", "read_plainly"])
def test_reading_ends_when_the_room_is_used_up(name: str) -> None:
    """The key that uses up the room is the last one that is read."""
    stored = {key: StoredRecord(1, 0, b"12") for key in (b"a", b"b", b"ab")}
    with layers_with(stored) as layers:
        read = getattr(DurableIndex(layers.view(), INDEX), name)
        keys = [b"a", b"", b"b", b"ab"]
        lengths = [len(read(keys, list(map(slot_of, keys)), 0, room)) for room in (0, 1, 10, 11, 20, 21)]
    assert lengths == [0, 1, 1, 3, 3, 4]
