"""What expires next is found without a look at all that expires."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

import pytest

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.expiry_heap import ExpiryHeap
from pyshard.storage.durable.memtable import Memtable

MANY = 20_000


def value_of(expires: int) -> bytes:
    """A value that expires then; 0: never."""
    return bytes(8) + expires.to_bytes(8, "big")


def memtable_of(count: int) -> Memtable:
    """One whose records all expire at 5."""
    memtable = Memtable()
    for number in range(count):
        memtable.put(b"%d" % number, value_of(5), 5)
    return memtable


def test_the_value_that_is_made_here() -> None:
    """It is read as the store reads it."""
    assert [lmdb_encoding.expiry_of(value_of(expires)) for expires in (0, 5, 2**40)] == [0, 5, 2**40]


def test_a_sweep_looks_at_what_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sweeps of a few hundred look at about as many records, however many have expired, or were swept before."""
    memtable, looks = memtable_of(MANY), [0]
    of_value = lmdb_encoding.expiry_of

    def counted(value: bytes | memoryview) -> int:
        looks[0] += 1
        return of_value(value)

    monkeypatch.setattr(lmdb_encoding, "expiry_of", counted)
    for _ in range(MANY // 500):
        before = looks[0]
        with closing(memtable.expired(7)) as due:
            swept = list(islice(due, 500))
        assert len(swept) == 500
        newer = Memtable()
        for db_key in swept:
            newer.remove(db_key)
        memtable.merge(newer)
        memtable.discard({})
        assert looks[0] - before < 1500
    assert list(memtable.expired(7)) == []
    assert memtable.first_expiry == 0


def test_a_look_changes_nothing() -> None:
    """What was found and not taken, since the group failed, is found again, in the same order."""
    memtable = memtable_of(100)
    memtable.put(b"first", value_of(3), 3)
    found = []
    for _ in range(3):
        with closing(memtable.expired(7)) as due:
            found.append(list(islice(due, 50)))
    assert found[0] == found[1] == found[2]
    assert found[0][0] == b"first"
    assert len(set(memtable.expired(7))) == 101


def test_what_is_put_again_and_again() -> None:
    """It is given once, and the notes of it stay few."""
    records: dict[bytes, bytes] = {}
    heap = ExpiryHeap(records)
    for number in range(MANY):
        records[b"a"] = value_of(5 + number % 2)
        heap.add(5 + number % 2, b"a")
    assert len(heap) < 2000
    assert list(heap.due(7)) == [b"a"]
    assert heap.first() == 6
    records[b"a"] = value_of(0)
    assert list(heap.due(7)) == []
    assert (heap.first(), len(heap)) == (0, 0)


def keyed(number: int) -> bytes:
    """A database key in the slot of this number."""
    return lmdb_encoding.PREFIX.pack(1, number) + b"key"


def test_what_is_hidden_is_set_aside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hidden records are looked at once, in as many steps as one likes; when they are hidden no more they are due."""
    memtable, looks = Memtable(), [0]
    for slot in range(MANY):
        memtable.put(keyed(slot), value_of(5), 5)
    of_value = lmdb_encoding.expiry_of

    def counted(value: bytes | memoryview) -> int:
        looks[0] += 1
        return of_value(value)

    monkeypatch.setattr(lmdb_encoding, "expiry_of", counted)
    hidden = ((0, MANY - 10),)
    for _ in range(MANY // 500):
        before = looks[0]
        with closing(memtable.expired(7, hidden)) as due:
            list(islice(due, 500))
        assert looks[0] - before < 600
    seen = looks[0]
    assert list(memtable.expired(7, hidden)) == [keyed(slot) for slot in range(MANY - 10, MANY)]
    assert looks[0] - seen < 20
    assert memtable.first_expiry == 5
    assert len([key for key in memtable.expired(7, ((0, 10),)) if key]) == MANY - 10
    assert len(list(memtable.expired(7))) == MANY
    assert len(memtable._expiries) == MANY


def test_what_was_set_aside_and_has_gone() -> None:
    """It is forgotten when it was flushed or removed, and told when it comes into another memtable."""
    memtable, hidden = Memtable(), ((0, 100),)
    for slot in range(50):
        memtable.put(keyed(slot), value_of(5), 5)
    assert list(memtable.expired(7, hidden)) == [b""] * 50
    memtable.remove(keyed(0))
    merged = Memtable()
    merged.merge(memtable)
    assert len(list(merged.expired(7))) == 49
    memtable.discard(dict(memtable.records))
    assert memtable.first_expiry == 0
    assert list(memtable.expired(7)) == []
