"""Records in LMDB and in memtables over it, for tests of what reads and writes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TypeAlias

import attrs
import lmdb
from hypothesis import strategies as st
from stores import folder

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.cursor_values import values_of
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.durable.merged_view import Databases, MergedView
from pyshard.storage.store_index import StoredRecord

#: The index of all records.
INDEX = 3

#: Some keys that fit into their database keys, and some long ones.
SHORT = [b"", b"a", b"b", b"ab", b"k" * lmdb_encoding.LONGEST]
KEYS = [*SHORT, b"k" * (lmdb_encoding.LONGEST + 1), b"l" * 600]

#: Keys in any order, each once; in half of the cases none of them is long.
distinct_keys = st.lists(st.sampled_from(SHORT), unique=True) | st.lists(st.sampled_from(KEYS), unique=True)

stored_records = st.builds(
    StoredRecord, st.integers(1, 2**62), st.sampled_from([0, 0, 5, 10]), st.binary(max_size=3) | st.just(bytes(5000))
)

#: What LMDB has: key → record.
in_lmdb = st.dictionaries(st.sampled_from(KEYS), stored_records)

#: What a memtable has: key → record; None: the key was removed.
in_memtable = st.dictionaries(st.sampled_from(KEYS), st.none() | stored_records)

Stored: TypeAlias = Mapping[bytes, StoredRecord]
Changed: TypeAlias = Mapping[bytes, StoredRecord | None]


class LookedAt(dict[bytes, bytes]):
    """Records of a memtable that count how often one of them is looked at by who goes through them.

    :ivar times: how often.
    """

    times = 0

    def __iter__(self) -> Iterator[bytes]:
        for db_key in super().__iter__():
            self.times += 1
            yield db_key


def slot_of(key: bytes) -> int:
    """A slot for each key, with three keys in the first one."""
    return max(0, KEYS.index(key) - 2) * 5000


def db_key_of(key: bytes) -> bytes:
    """The database key of a key."""
    return lmdb_encoding.database_key(INDEX, slot_of(key), key)


def memtable_of(changed: Changed) -> Memtable:
    """A memtable with these records."""
    memtable = Memtable()
    for key, stored in changed.items():
        if stored is None:
            memtable.remove(db_key_of(key))
        else:
            memtable.put(db_key_of(key), lmdb_encoding.pack(key, stored), stored.expires)
    return memtable


def merged(stored: Stored, *changed: Changed) -> dict[bytes, StoredRecord]:
    """What there is when changes are put over what LMDB has, the newest first."""
    records: dict[bytes, StoredRecord | None] = dict(stored)
    for layer in reversed(changed):
        records.update(layer)
    return {key: record for key, record in records.items() if record is not None}


def counted(records: Stored) -> Counters:
    """Counters of records, counted one by one."""
    counters = Counters.first(0)
    counters.documents[INDEX] = len(records)
    for key, record in records.items():
        counters.used += len(key) + len(record.record) + 128 + (112 if record.expires else 0)
        counters.bucket_counts[slot_of(key) // 8192] += 1
    return counters


@attrs.frozen
class Layers:
    """An open transaction of LMDB with records in it.

    :ivar lmdb: the transaction, with buffers.
    """

    databases: Databases
    lmdb: lmdb.Transaction[memoryview]

    def view(self, *memtables: Memtable) -> MergedView:
        """A view with memtables over LMDB, the newest first."""
        return MergedView(self.databases, self.lmdb, *memtables)

    def records(self) -> dict[bytes, bytes]:
        """LMDB's records: database key → value."""
        return {bytes(key): bytes(value) for key, value in self.lmdb.cursor(db=self.databases.records)}

    def expiries(self) -> dict[bytes, bytes]:
        """LMDB's entries of expiries: expiry and digest → database key."""
        return {bytes(key): bytes(value) for key, value in self.lmdb.cursor(db=self.databases.expiries)}


@contextmanager
def layers_with(stored: Stored) -> Iterator[Layers]:
    """An environment that has these records."""
    with folder() as path, lmdb.open(str(path), max_dbs=3, map_size=1 << 24, sync=False) as environment:
        records, expiries, meta = map(environment.open_db, (b"records", b"expiries", b"meta"))
        databases = Databases(records, expiries, meta, values_of(environment))
        with environment.begin(write=True, buffers=True) as transaction:
            for key, record in stored.items():
                db_key = db_key_of(key)
                transaction.put(db_key, lmdb_encoding.pack(key, record), db=databases.records)
                if record.expires:
                    transaction.put(lmdb_encoding.expiry_key(record.expires, db_key), db_key, db=databases.expiries)
            yield Layers(databases, transaction)
