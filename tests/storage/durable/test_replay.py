"""A replay in columns does what one of one record at a time does."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
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
    memtable_of,
    merged,
    stored_records,
)

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges, LoggedGroup
from pyshard.storage.durable.replay import put_in_columns, replay_plainly

SHORT = [key for key in KEYS if len(key) <= lmdb_encoding.LONGEST]
put_records = st.dictionaries(st.sampled_from(SHORT), stored_records)


@settings(deadline=None)
@given(in_lmdb, in_memtable, put_records)
def test_columns(stored: Stored, changed: Changed, put: Stored) -> None:
    """Records, sizes, counts, and the earliest expiry are the same."""
    records = {db_key_of(key): lmdb_encoding.pack(key, record) for key, record in put.items()}
    found: list[tuple[Counters, GroupChanges]] = []
    with layers_with(stored) as layers:
        for in_columns in (True, False):
            counters, changes = counted(merged(stored, changed)), GroupChanges()
            view = layers.view(changes, memtable_of(changed))
            if in_columns:
                assert put_in_columns(view, counters, changes, records)
            else:
                replay_plainly(view, counters, changes, LoggedGroup(1, records))
            found.append((counters, changes))
    (columns, in_one), (plain, one_by_one) = found
    assert columns == plain == counted(merged(stored, put, changed))
    assert in_one.records == one_by_one.records
    assert in_one.first_expiry == one_by_one.first_expiry
    assert (in_one.longest, in_one.put_bytes) == (one_by_one.longest, one_by_one.put_bytes)


def test_what_does_not_go_in_columns() -> None:
    """Removed records, those of long keys, and those of an index that isn't there."""
    long, short = KEYS[-1], SHORT[1]
    with layers_with({}) as layers:
        for records in (
            {db_key_of(short): b""},
            {db_key_of(long): lmdb_encoding.removed(long)},
            {lmdb_encoding.database_key(INDEX + 1, 0, short): b"\x01" * 20},
        ):
            changes = GroupChanges()
            assert not put_in_columns(layers.view(changes), counted({}), changes, records)
            assert changes.records == {}
