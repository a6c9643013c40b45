"""What of a memtable LMDB may get is what it had after the last committed group, whatever has changed since."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from storage.durable.layers import INDEX, KEYS, Changed, db_key_of, in_memtable, memtable_of

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.durable.uncommitted_groups import UncommittedGroups
from pyshard.storage.store_index import StoredRecord

#: What a group changes: key → whether it puts the key, and whether with an expiry.
made = st.dictionaries(st.sampled_from(KEYS[:4]), st.sampled_from(["removed", "put", "expiring"]), min_size=1)
steps = st.lists(made | st.sampled_from(["flush", "flush some"]) | st.integers(0, 20), max_size=30)


def group(what: dict[bytes, str], version: int) -> GroupChanges:
    """A group's changes."""
    changes = GroupChanges()
    for key, how in what.items():
        if how == "removed":
            changes.remove_key(db_key_of(key), key)
        else:
            expires = 5 if how == "expiring" else 0
            changes.put(db_key_of(key), lmdb_encoding.pack(key, StoredRecord(version, expires, b"")), expires)
    return changes


@given(in_memtable, steps)
def test_what_is_settled(first: Changed, todo: list[dict[bytes, str] | str | int]) -> None:
    """Plain twin: the memtable is kept as it was after each group, and LMDB gets what is in the committed one.

    Readers see the newest value of each record at all times, in the memtable or in LMDB.
    """
    memtable, in_lmdb = memtable_of(first), dict[bytes, bytes]()
    newest = dict(memtable.records)
    after: list[dict[bytes, bytes]] = [dict(newest)]  # all records, as they are after each group; of removed ones, b""
    uncommitted = UncommittedGroups(0, Counters.first(0), None)
    committed = 0
    groups: list[dict[bytes, str]] = []
    for step in todo:
        if isinstance(step, dict):
            groups.append(step)
            changes, counters = group(step, len(after)), Counters.first(0)
            counters.version = len(after)
            uncommitted.add(len(after), changes, counters, memtable)
            memtable.merge(changes)
            newest |= changes.records
            after.append(dict(newest))
        elif isinstance(step, int):
            committed = max(committed, min(step, len(after) - 1))
            uncommitted.settle(committed, Counters.first(0))
            assert (uncommitted.sequence, len(uncommitted)) == (committed, len(after) - 1 - committed)
            assert uncommitted.counters.version == committed or not committed
        else:
            settled = uncommitted.settled(memtable)
            records = dict(settled.records)
            assert len(settled.records) == len(records)
            assert {key: settled.records.get(key) for key in [*records, b"x"]} == {**records, b"x": None}
            expected = {key: value for key, value in after[committed].items() if in_lmdb.get(key) != value}
            assert {key: value for key, value in records.items() if in_lmdb.get(key) != value} == expected
            assert in_lmdb | records == after[committed]
            if any(value and lmdb_encoding.expiry_of(value) for value in records.values()):
                assert settled.first_expiry
            firsts = frozenset({lmdb_encoding.first_bytes(INDEX)})
            if settled is not memtable:  # which remembers of what index it has had nothing, as dropped ones get none
                assert settled.some_of_dropped(firsts, 2, ()) == list(records)[:2]
            flushed = records if step == "flush" else dict(list(records.items())[::2])
            in_lmdb |= flushed
            memtable.discard(uncommitted.flushed(flushed))
        assert in_lmdb | memtable.records == newest
        for known in {committed, max(committed, len(after) - 2)}:
            changed = [key for number, keys in enumerate(groups, 1) if number > known for key in keys]
            for key in KEYS[:4]:
                assert uncommitted.any_of([b"x", db_key_of(key)], known) == (key in changed)


def test_indexes_and_text() -> None:
    """They settle with the group that has changed them."""
    uncommitted = UncommittedGroups(7, Counters.first(0), b"old")
    lmdb_counters = Counters.first(0)
    indexes, text = GroupChanges(), GroupChanges()
    indexes.indexes, indexes.next_index = {"pages": 1}, 2
    text.remember(b"new")
    uncommitted.add(8, indexes, Counters.first(0), Memtable())
    uncommitted.add(9, text, Counters.first(0), Memtable())
    uncommitted.settle(7, lmdb_counters)
    assert [uncommitted.any_of([], known) for known in (7, 8, 9)] == [True, True, False]
    assert (lmdb_counters.indexes, uncommitted.text, uncommitted.sequence) == ({}, b"old", 7)
    uncommitted.settle(8, lmdb_counters)
    assert (lmdb_counters.indexes, lmdb_counters.indexes_since, uncommitted.text) == ({"pages": 1}, 8, b"old")
    uncommitted.settle(100, lmdb_counters)
    assert (uncommitted.text, uncommitted.sequence, len(uncommitted)) == (b"new", 9, 0)
