"""The merged view: what it gives by columns, one by one and in order is what memtables over LMDB come to."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from storage.durable.layers import (
    INDEX,
    KEYS,
    Changed,
    Stored,
    db_key_of,
    distinct_keys,
    in_lmdb,
    in_memtable,
    layers_with,
    memtable_of,
    merged,
)

from pyshard.storage.durable import lmdb_encoding


@given(in_lmdb, in_memtable, in_memtable, distinct_keys)
def test_get_many_is_get_for_each(stored: Stored, older: Changed, newer: Changed, keys: list[bytes]) -> None:
    """Columns give what the plain twin gives, and that is what a dict of the layers has."""
    expected = merged(stored, newer, older)
    db_keys = list(map(db_key_of, keys))
    with layers_with(stored) as layers:
        for view in (layers.view(memtable_of(newer), memtable_of(older)), layers.view(memtable_of(merged({}, newer)))):
            many = [None if value is None else bytes(value) for value in view.get_many(db_keys)]
            plain = [None if value is None else bytes(value) for value in map(view.get, db_keys)]
            assert many == plain
        view = layers.view(memtable_of(newer), memtable_of(older))
        assert [None if value is None else bytes(value) for value in view.get_many(db_keys)] == [
            lmdb_encoding.pack(key, expected[key]) if key in expected else None for key in keys
        ]


@given(in_lmdb, in_memtable, in_memtable, st.sampled_from(KEYS), st.sampled_from(KEYS))
def test_between(stored: Stored, older: Changed, newer: Changed, first: bytes, behind: bytes) -> None:
    """Records come in order, each as the newest layer has it."""
    expected = sorted(
        (db_key_of(key), lmdb_encoding.pack(key, record)) for key, record in merged(stored, newer, older).items()
    )
    with layers_with(stored) as layers:
        view = layers.view(memtable_of(newer), memtable_of(older))
        everything = [
            (db_key, bytes(value)) for db_key, value in view.between(b"", lmdb_encoding.PREFIX.pack(INDEX + 1, 0))
        ]
        assert everything == expected
        begin, end = db_key_of(first), db_key_of(behind)
        some = [(db_key, bytes(value)) for db_key, value in view.between(begin, end)]
        assert some == [(db_key, value) for db_key, value in expected if begin <= db_key < end]


@given(in_lmdb, in_memtable, in_memtable)
def test_expiries(stored: Stored, older: Changed, newer: Changed) -> None:
    """`first_expiry` is never too late, and where nothing may expire nothing does."""
    expiries = [record.expires for record in merged(stored, newer, older).values() if record.expires]
    with layers_with(stored) as layers:
        view = layers.view(memtable_of(newer), memtable_of(older))
        assert view.may_expire() == bool(view.first_expiry())
        if expiries:
            assert 0 < view.first_expiry() <= min(expiries)
