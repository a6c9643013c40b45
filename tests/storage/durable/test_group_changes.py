"""The changes of a group: as they are logged, byte by byte, and done again."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from storage.durable.layers import (
    INDEX,
    KEYS,
    Changed,
    Stored,
    counted,
    db_key_of,
    in_lmdb,
    in_memtable,
    layers_with,
    merged,
)

from pyshard.protocol.store_ranges import Origin, Staging, StoreRanges
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.group_changes import GroupChanges, LoggedGroup, decoded
from pyshard.storage.durable.memtable import REMOVED
from pyshard.storage.durable.replay import replay
from pyshard.storage.store_index import StoredRecord

LONG = KEYS[-1]


def changes_of(changed: Changed) -> GroupChanges:
    """A group's changes with these records; None: the key was removed."""
    changes = GroupChanges()
    for key, stored in changed.items():
        if stored is None:
            changes.remove_key(db_key_of(key), key)
        else:
            changes.put(db_key_of(key), lmdb_encoding.pack(key, stored), stored.expires)
    return changes


def test_a_payload() -> None:
    """It has the version, and of each record its value, or nothing; of a removed long key the key, with version 0."""
    changes = changes_of({b"a": StoredRecord(3, 0, b"text"), b"b": None, LONG: None})
    assert msgspec.msgpack.decode(changes.payload(7)) == [
        7,
        {
            db_key_of(b"a"): (3).to_bytes(8, "big") + bytes(8) + b"text",
            db_key_of(b"b"): b"",
            db_key_of(LONG): bytes(16) + len(LONG).to_bytes(4, "big") + LONG,
        },
    ]
    group = decoded(changes.payload(7))
    assert dict(group.changed()) == changes.records
    assert (group.version, group.indexes, group.text) == (7, None, None)


def test_a_payload_with_indexes_and_text() -> None:
    """Behind the records stand the names of indexes and the remembered text, where the group has them."""
    changes = GroupChanges()
    assert changes.payload(7) == b""
    changes.remember(b"text")
    assert msgspec.msgpack.decode(changes.payload(7)) == [7, {}, None, b"text", 0, None, None]
    changes.indexes, changes.next_index = {"pages": 1}, 2
    assert msgspec.msgpack.decode(changes.payload(7)) == [7, {}, {"pages": 1}, b"text", 2, None, None]
    changes.ranges = StoreRanges(((0, 5),), {"m": Staging(((7, 9),), Origin("1d", "2e", 3))}, ((5, 7),))
    changes.origin = Origin("1d", "2e", 4)
    ranges = [[[0, 5]], {"m": [[[7, 9]], ["1d", "2e", 3], 0]}, [[5, 7]], {}]
    assert msgspec.msgpack.decode(changes.payload(7))[4:] == [2, ranges, ["1d", "2e", 4]]
    assert decoded(changes.payload(7)) == LoggedGroup(7, {}, {"pages": 1}, b"text", 2, changes.ranges, changes.origin)


def test_a_long_key_that_comes_back() -> None:
    """A long key that was removed and written within a group has its new value alone."""
    changes = changes_of({LONG: None})
    value = lmdb_encoding.pack(LONG, StoredRecord(3, 0, b"new"))
    changes.put(db_key_of(LONG), value, 0)
    assert decoded(changes.payload(7)).records == {db_key_of(LONG): value}


@pytest.mark.parametrize("payload", [b"", b"x", b"\x92\x01", msgspec.msgpack.encode((b"", {}))])
def test_no_payload(payload: bytes) -> None:
    """What is no payload is refused."""
    with pytest.raises(ValueError, match="can't be read"):
        decoded(payload)


@given(in_lmdb, in_memtable)
def test_a_group_is_done_twice(stored: Stored, changed: Changed) -> None:
    """Done once or several times over, a group leaves the same records, counted right."""
    group = decoded(changes_of(changed).payload(5)) if changed else LoggedGroup(5, {})
    after = merged(stored, changed)
    with layers_with(stored) as layers:
        counters, below = counted(stored), GroupChanges()
        for _ in range(3):
            changes = GroupChanges()
            replay(layers.view(changes, below), counters, changes, group)
            below.merge(changes)
            expected = counted(after)
            expected.version = 5
            assert counters == expected
            assert dict(layers.view(below).between(b"", b"\xff" * 600)) == {
                db_key_of(key): lmdb_encoding.pack(key, record) for key, record in after.items()
            }


def test_records_of_an_index_that_is_gone() -> None:
    """A record of an index that isn't there any more is passed over, also if the same group drops it."""
    group = decoded(changes_of({b"a": StoredRecord(3, 0, b"")}).payload(5))
    with layers_with({}) as layers:
        for gone in (LoggedGroup(5, group.records, {}), group):
            counters = counted({})
            if gone is group:
                counters.set_indexes({})
            changes = GroupChanges()
            replay(layers.view(changes), counters, changes, gone)
            assert (changes.records, counters.used) == ({}, 0)
            assert INDEX not in counters.documents
        assert REMOVED == b""
