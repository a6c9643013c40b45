"""The merged view: records as readers see them, with memtables over what LMDB has.

Rules:

- of several layers the newest that has a record decides, and LMDB comes last;
- a record that the deciding layer has as `REMOVED` isn't there;
- expired records are in the view; its reader compares their expiry with the time;
- `get_many` works in columns; its plain twin is `get` (tests/storage/durable/test_merged_view.py compares them).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from heapq import merge
from operator import itemgetter
from typing import cast

import attrs
import lmdb

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.checkpoint import PAGE
from pyshard.storage.durable.memtable import Memtable, Value


@attrs.frozen
class Databases:
    """The handles of an environment's named databases; docs/storage.md says what is in them."""

    records: lmdb._Database
    expiries: lmdb._Database
    meta: lmdb._Database


class MergedView:
    """Records of memtables and LMDB as one.

    :param transaction: of LMDB, with buffers.
    :param memtables: the layers over it, the newest first.
    """

    def __init__(self, databases: Databases, transaction: lmdb.Transaction, *memtables: Memtable) -> None:
        self._databases = databases
        self._transaction = transaction
        self._memtables = memtables

    def get(self, db_key: bytes) -> memoryview | None:
        """The value of a record."""
        for memtable in self._memtables:
            changed = memtable.records.get(db_key)
            if changed is not None:
                return memoryview(changed) if changed else None
        stored = self._transaction.get(db_key, db=self._databases.records)
        return None if stored is None else memoryview(stored)

    def get_many(self, db_keys: list[bytes]) -> list[Value | None]:
        """The values of many records, by calls in C over all of them. Plain twin: `get`."""
        found: dict[bytes, Value] = {}
        wanted = db_keys
        for memtable in self._memtables:
            changed = list(map(memtable.records.get, wanted)) if memtable.records else []
            if changed.count(None) < len(changed):
                found.update((key, value) for key, value in zip(wanted, changed, strict=True) if value is not None)
                wanted = [key for key in wanted if key not in found]
        cursor = self._transaction.cursor(db=self._databases.records)
        stored = cast("list[tuple[bytes, memoryview]]", cursor.getmulti(wanted))  # transactions give buffers
        if len(stored) == len(db_keys):
            return [value for _, value in stored]
        found.update((bytes(key), value) for key, value in stored)
        return [found.get(key) or None for key in db_keys]

    def may_expire(self) -> bool:
        """Whether any record may have an expiry."""
        return any(memtable.first_expiry for memtable in self._memtables) or bool(
            self._transaction.stat(db=self._databases.expiries)["entries"]
        )

    def may_be_longer(self, size: int) -> bool:
        """Whether any value may have more bytes than these. LMDB has each long one on pages of its own."""
        return any(memtable.longest > size for memtable in self._memtables) or (
            self._transaction.stat(db=self._databases.records)["overflow_pages"] * PAGE > size
        )

    def first_expiry(self) -> int:
        """No record expires earlier, in milliseconds since 1970; 0: no record expires."""
        expiries = [memtable.first_expiry for memtable in self._memtables if memtable.first_expiry]
        cursor = self._transaction.cursor(db=self._databases.expiries)
        if cursor.first():
            expiries.append(lmdb_encoding.expiry_in(cursor.key()))
        return min(expiries, default=0)

    def between(self, first: bytes, behind: bytes) -> Iterator[tuple[bytes, memoryview]]:
        """Database key and value of the records of [first, behind), in order."""
        return ((db_key, value) for db_key, value in self.entries(first, behind) if value)

    def entries(self, first: bytes, behind: bytes) -> Iterator[tuple[bytes, memoryview]]:
        """As `between`, with those that were removed: their value is empty."""
        stored = _stored_between(self._transaction.cursor(db=self._databases.records), first, behind)
        layers = [_changed_between(memtable, first, behind) for memtable in self._memtables if memtable.records]
        if not layers:
            yield from stored
            return
        last = None
        for db_key, value in merge(*layers, stored, key=itemgetter(0)):
            if db_key != last:  # of equal keys the newest value comes first
                yield db_key, value
            last = db_key


def _changed_between(memtable: Memtable, first: bytes, behind: bytes) -> Iterator[tuple[bytes, memoryview]]:
    keys = memtable.sorted_keys()
    for at in range(bisect_left(keys, first), len(keys)):
        if (db_key := keys[at]) >= behind:
            break
        yield db_key, memoryview(memtable.records[db_key])


def _stored_between(cursor: lmdb.Cursor, first: bytes, behind: bytes) -> Iterator[tuple[bytes, memoryview]]:
    if cursor.set_range(first):
        for key, value in cursor.iternext():
            db_key = bytes(key)
            if db_key >= behind:
                break
            yield db_key, memoryview(value)
