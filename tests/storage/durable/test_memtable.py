"""The memtable: its order and its expiries, whatever is put, removed, merged and discarded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from storage.durable.layers import KEYS, Changed, db_key_of, in_memtable, memtable_of

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.memtable import Memtable


def due(memtable: Memtable, now: int) -> set[bytes]:
    """Which records have expired, by looking at each."""
    return {db_key for db_key, value in memtable.records.items() if value and 0 < lmdb_encoding.expiry_of(value) <= now}


def check_first_expiry(memtable: Memtable) -> None:
    """No value expires before `first_expiry`."""
    expiries = [lmdb_encoding.expiry_of(value) for value in memtable.records.values() if value]
    if any(expiries):
        assert 0 < memtable.first_expiry <= min(filter(None, expiries))


@given(st.lists(st.tuples(in_memtable, st.lists(st.sampled_from(KEYS)))), st.integers(0, 11))
def test_what_it_has(steps: list[tuple[Changed, list[bytes]]], now: int) -> None:
    """It has the newest of each record, in order, and knows what has expired."""
    memtable, expected = Memtable(), dict[bytes, bytes]()
    for changed, discarded in steps:
        newer = memtable_of(changed)
        memtable.merge(newer)
        expected.update(newer.records)
        assert memtable.sorted_keys() == sorted(expected)
        flushed = {db_key_of(key): expected[db_key_of(key)] for key in discarded if db_key_of(key) in expected}
        memtable.discard(flushed)
        for db_key in flushed:
            del expected[db_key]
        assert memtable.records == expected
        assert memtable.sorted_keys() == sorted(expected)
        check_first_expiry(memtable)
        assert set(memtable.expired(now)) == due(memtable, now)
        check_first_expiry(memtable)


def test_what_was_changed_again_stays() -> None:
    """A record that was changed after it was flushed isn't discarded."""
    memtable = Memtable()
    memtable.put(b"a", bytes(16), 0)
    memtable.put(b"b", bytes(16), 0)
    flushed = dict(memtable.records)
    memtable.put(b"a", bytes(17), 0)
    memtable.discard(flushed)
    assert memtable.records == {b"a": bytes(17)}


def test_a_copy_stays_as_it_is() -> None:
    """Later changes don't touch it."""
    memtable = Memtable()
    memtable.put(b"a", bytes(16), 0)
    copy = memtable.copy()
    memtable.remove(b"a")
    memtable.put(b"b", bytes(16), 7)
    assert (copy.records, copy.first_expiry) == ({b"a": bytes(16)}, 0)


def test_sorted_keys_stay_as_they_are() -> None:
    """What was given isn't changed later on: another thread may look at it."""
    memtable = Memtable()
    memtable.remove(b"b")
    keys = memtable.sorted_keys()
    memtable.remove(b"a")
    assert (memtable.sorted_keys(), keys) == ([b"a", b"b"], [b"b"])


def test_some_of_a_dropped_index() -> None:
    """Its records are found, so many at a time, until there is none; what is left out is looked at again later."""
    memtable = Memtable()
    for db_key in (b"\x01a", b"\x02a", b"\x02b", b"\x02c", b"\x03a"):
        memtable.remove(db_key)
    assert memtable.some_of_dropped(2, b"\x02", 2, {}) == [b"\x02a", b"\x02b"]
    assert memtable.some_of_dropped(2, b"\x02", 5, {b"\x02a"}) == [b"\x02b", b"\x02c"]
    assert memtable.some_of_dropped(2, b"\x02", 5, {b"\x02a", b"\x02b", b"\x02c"}) == []
    assert memtable.some_of_dropped(2, b"\x02", 5, {}) == [b"\x02a", b"\x02b", b"\x02c"]
    memtable.discard(dict.fromkeys((b"\x02a", b"\x02b", b"\x02c"), b""))
    assert memtable.some_of_dropped(2, b"\x02", 5, {}) == []
    assert memtable.some_of_dropped(3, b"\x03", 0, {}) == []  # that none is asked for says nothing of what there is
    assert memtable.some_of_dropped(3, b"\x03", 5, {}) == [b"\x03a"]
