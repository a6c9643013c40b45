"""The memtable: its order and its expiries, whatever is put, removed, merged and discarded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from storage.durable.layers import KEYS, Changed, LookedAt, db_key_of, in_memtable, memtable_of

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


def test_some_of_dropped_indexes() -> None:
    """Their records are found, so many at a time, until there is none; what is left out is looked at again later."""
    memtable = Memtable()
    _, *two, three = keys = [
        lmdb_encoding.database_key(index, 7, key)
        for index, key in ((1, b""), (2, b"a"), (2, b"b"), (2, b"c"), (3, b""))
    ]
    for db_key in keys:
        memtable.remove(db_key)
    both = frozenset(map(lmdb_encoding.first_bytes, (2, 3)))
    of_two, of_three = (frozenset({lmdb_encoding.first_bytes(index)}) for index in (2, 3))
    assert memtable.some_of_dropped(both, 9, {}) == [*two, three]
    assert memtable.some_of_dropped(of_two, 2, {}) == two[:2]
    assert memtable.some_of_dropped(of_two, 5, {two[0]}) == two[1:]
    assert memtable.some_of_dropped(of_two, 5, set(two)) == []
    assert memtable.some_of_dropped(of_two, 5, {}) == two
    memtable.discard(dict.fromkeys(two, b""))
    assert memtable.some_of_dropped(of_two, 5, {}) == []
    assert memtable.some_of_dropped(of_three, 0, {}) == []  # that none is asked for says nothing of what there is
    assert memtable.some_of_dropped(of_three, 5, {}) == [three]
    assert memtable.some_of_dropped(both, 5, {}) == [three]  # that one has none says nothing of another


def test_a_memtable_that_has_none_of_dropped_indexes() -> None:
    """It isn't looked through again for these, or for some of them, as they get no records any more."""
    memtable, looked_at = (
        Memtable(),
        LookedAt({lmdb_encoding.database_key(0, 7, b"%d" % each): b"" for each in range(9)}),
    )
    memtable.records = looked_at
    firsts = frozenset(map(lmdb_encoding.first_bytes, range(1, 4)))
    for dropped in (firsts, firsts, frozenset([*firsts][:2])):
        assert memtable.some_of_dropped(dropped, 5, {}) == []
        assert looked_at.times == 9
    assert memtable.some_of_dropped(firsts | {lmdb_encoding.first_bytes(4)}, 5, {}) == []
    assert looked_at.times == 18
