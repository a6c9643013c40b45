"""Where a durable store finds a record: by index, slot and the whole key."""

from __future__ import annotations

from storage.durable.store.opened import lmdb_of
from stores import PLENTY, Bench, at_once

from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import Has, Pop, Read, ReadItem, Run, Touch, Write
from pyshard.storage import Task
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.store_index import StoredRecord


def test_keys_that_share_a_digest(bench: Bench) -> None:
    """If another long key has the same digest, a key isn't there: no verb gives or removes the other's record."""
    store = lmdb_of(bench)
    own, other = b"k" * 600 + b"1", b"k" * 600 + b"2"
    with store._engine.environment.begin(write=True) as transaction:
        place = lmdb_encoding.database_key(0, slot_of(own), own)
        transaction.put(
            place, lmdb_encoding.pack(other, StoredRecord(1, 0, b"the other's")), db=store._engine.databases.records
        )
    runs: list[Run] = [Read("", [own]), Has("", [own]), ReadItem("", [own]), Pop("", [own]), Touch("", [own], [1])]
    assert bench.answers(*runs) == [[None], [False], [None], [None], [False]]
    assert bench.answers(*runs[:3]) == [[None], [False], [None]]
    assert bench.page().keys == [other]


def test_one_key_in_two_slots(bench: Bench) -> None:
    """A record is found by index, slot and key, as the shard gives them."""
    for slot in (1, 2):
        at_once(bench.store.apply([Task(Write("", [b"a"], [b"%d" % slot]), 0, [slot])], PLENTY, PLENTY))
    assert bench.page(0, None, 3).keys == [b"a", b"a"]
    assert bench.page(1, b"a", 3).keys == [b"a"]
