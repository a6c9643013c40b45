"""A transaction that flushes: by columns as one by one, and counted right."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from storage.durable.layers import (
    INDEX,
    KEYS,
    Changed,
    Layers,
    LookedAt,
    Stored,
    counted,
    db_key_of,
    in_lmdb,
    in_memtable,
    layers_with,
    memtable_of,
    merged,
)

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.expiry_sweep import sweep_expired
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.durable.uncommitted_groups import SettledMemtable
from pyshard.storage.store_index import StoredRecord


def transaction_of(layers: Layers, stored: Stored, changed: Changed) -> WriteTransaction:
    """A transaction over what LMDB has, with a memtable."""
    return WriteTransaction(
        layers.lmdb, layers.databases, memtable_of(changed), counted(stored), counted(merged(stored, changed))
    )


def flushed(stored: Stored, changed: Changed, flushes: list[list[bytes]]) -> tuple[object, object, Counters]:
    """What LMDB has after flushes of some keys each: records, expiries, and the counters."""
    with layers_with(stored) as layers:
        transaction = transaction_of(layers, stored, changed)
        for keys in flushes:
            transaction.flush(map(db_key_of, keys))
        everything = [key for keys in flushes for key in keys]
        assert transaction.flushed == {
            db_key_of(key): transaction.memtable.records[db_key_of(key)] for key in everything
        }
        return layers.records(), layers.expiries(), transaction.lmdb_counters


@given(in_lmdb, in_memtable, st.sets(st.sampled_from(KEYS)))
def test_a_flush_by_columns_is_one_key_by_key(stored: Stored, changed: Changed, wanted: set[bytes]) -> None:
    """Whatever LMDB and the memtable have: records, expiries and counters are those of the records there are then."""
    keys = [key for key in changed if key in wanted]
    after = merged(stored, {key: changed[key] for key in keys})
    expected = (
        {db_key_of(key): lmdb_encoding.pack(key, record) for key, record in after.items()},
        {
            lmdb_encoding.expiry_key(record.expires, db_key_of(key)): db_key_of(key)
            for key, record in after.items()
            if record.expires
        },
        counted(after),
    )
    assert flushed(stored, changed, [keys]) == expected
    assert flushed(stored, changed, [[key] for key in keys]) == expected


@given(in_lmdb, in_memtable, st.sets(st.sampled_from(KEYS)), st.integers(1, 8))
def test_sweeping_a_dropped_index(stored: Stored, changed: Changed, wanted: set[bytes], most: int) -> None:
    """A sweep removes the records of a dropped index, wherever they are, so many at a time; nothing is counted then.

    It leaves those of other indexes where they are, in the memtable too, and meets some that were just flushed.
    """
    with layers_with(stored) as layers:
        transaction = transaction_of(layers, stored, changed)
        memtable, other = transaction.memtable, lmdb_encoding.database_key(INDEX + 1, 7, b"other")
        assert isinstance(memtable, Memtable)
        memtable.put(other, bytes(20), 0)
        transaction.flush(db_key_of(key) for key in changed if key in wanted)
        for counters in (transaction.lmdb_counters, transaction.counters):
            counters.set_indexes({})
        records, more, steps = layers.records().keys() | memtable.records.keys() - transaction.flushed.keys(), True, 0
        while more:
            more = transaction.sweep(most)
            memtable.discard(transaction.flushed)
            transaction.flushed.clear()
            left = layers.records().keys() | memtable.records.keys()
            assert len(left) >= len(records) - most
            records, steps = left, steps + 1
            assert steps <= 1 + len(KEYS) // most
        assert memtable.records.keys() == {other}
        nothing = Counters.first(0)
        assert (transaction.counters, transaction.lmdb_counters) == (nothing, nothing)
        assert (layers.records(), layers.expiries()) == ({}, {})


@pytest.mark.parametrize("settled", [False, True])
def test_sweeping_many_dropped_indexes(settled: bool) -> None:
    """A step goes through the memtable once at the most, and an index without records counts as one."""
    dropped, others, most = range(1, 31), 200, 10
    with layers_with({}) as layers:
        memtable, records = Memtable(), LookedAt()
        for each in range(others):
            records[lmdb_encoding.database_key(0, each, b"")] = lmdb_encoding.pack(b"", StoredRecord(1, 0, b""))
        for index in dropped[::3]:
            records[lmdb_encoding.database_key(index, 0, b"")] = b""
        memtable.records = records
        before = {lmdb_encoding.database_key(0, 0, b""): None} if settled else {}
        flushable = SettledMemtable(memtable, before) if settled else memtable
        transaction = WriteTransaction(layers.lmdb, layers.databases, flushable, Counters.first(0), Counters.first(0))
        for counters in (transaction.lmdb_counters, transaction.counters):
            counters.dropped.extend(dropped)
        steps, more = 0, True
        while more:
            size, left = len(records), len(transaction.counters.dropped)
            records.times = 0
            more = transaction.sweep(most)
            assert records.times <= size
            memtable.discard(transaction.flushed)
            transaction.flushed.clear()
            assert size - len(records) + left - len(transaction.counters.dropped) == most
            steps += 1
        assert (steps, len(records)) == (4, others)
        assert transaction.counters.dropped == transaction.lmdb_counters.dropped == []


@given(in_lmdb, in_memtable, st.sampled_from([4, 5, 10]), st.integers(1, 8))
def test_sweeping_expired_records(stored: Stored, changed: Changed, now: int, most: int) -> None:
    """A sweep removes expired records and no other, wherever they are, and counts what is left."""
    before = merged(stored, changed)
    live = {key: record for key, record in before.items() if not 0 < record.expires <= now}
    with layers_with(stored) as layers:
        memtable, counters, place, more = memtable_of(changed), counted(before), b"", True
        for _ in range(2 * len(KEYS)):
            changes, left = GroupChanges(), counters.documents[INDEX]
            more = sweep_expired(layers.view(changes, memtable), counters, changes, place, now, most)
            assert left - counters.documents[INDEX] <= 2 * most
            memtable.merge(changes)
            place = changes.swept or place
            if not more:
                break
        assert not more
        assert counters == attrs.evolve(counted(live), expired=len(before) - len(live))
        assert dict(layers.view(memtable).between(b"", b"\xff" * 600)) == {
            db_key_of(key): lmdb_encoding.pack(key, record) for key, record in live.items()
        }
