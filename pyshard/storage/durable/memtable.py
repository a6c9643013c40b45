"""Changes that are in the log and not yet in LMDB, and records as a batch sees them: changed ones over stored ones."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from heapq import merge
from itertools import islice
from operator import itemgetter
from typing import TypeAlias, cast

import attrs
import lmdb

from pyshard.storage.durable import lmdb_encoding

#: A value as `pyshard.storage.durable.lmdb_encoding` packs it.
Value: TypeAlias = bytes | memoryview

#: In place of the value of a record that is gone. No record has it: its version alone has 8 bytes.
REMOVED = b""


@attrs.frozen
class Databases:
    """The handles of an environment's named databases; docs/storage.md says what is in them."""

    records: lmdb._Database
    expiries: lmdb._Database
    meta: lmdb._Database


class Changes:
    """What has become of records that were changed.

    :ivar records: database key → value, or `REMOVED`.
    :ivar first_expiry: no value expires earlier; 0: none does at all.
    """

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.first_expiry = 0
        self._order: list[bytes] = []

    def put(self, database: bytes, value: bytes, expires: int) -> None:
        """Keep a value."""
        self.records[database] = value
        self._expires(expires)

    def remove(self, database: bytes) -> None:
        """Have a record gone."""
        self.records[database] = REMOVED

    def update(self, newer: Changes) -> None:
        """Have newer changes, too."""
        self.records.update(newer.records)
        self._expires(newer.first_expiry)

    def forget(self, gone: dict[bytes, bytes]) -> None:
        """Have some changes no more, unless they were changed again."""
        for database, value in gone.items():
            if self.records[database] is value:
                del self.records[database]
        self._order = []
        if self.first_expiry and any(
            value and lmdb_encoding.expiry_of(value) == self.first_expiry for value in gone.values()
        ):
            self.first_expiry = self._earliest()

    def copy(self) -> Changes:
        """The same changes, for somebody else."""
        copied = Changes()
        copied.update(self)
        return copied

    def ordered(self) -> list[bytes]:
        """The database keys in order. Whoever gets them leaves them as they are."""
        if len(self._order) < len(self.records):  # a dict has its newest keys at its end
            self._order += islice(self.records, len(self._order), None)
            self._order.sort()
        return self._order

    def expired(self, now: int, most: int) -> list[bytes]:
        """Database keys of records that have expired, given the time in milliseconds since 1970."""
        if not 0 < self.first_expiry <= now:
            return []
        self.first_expiry = self._earliest()  # what had the one known until now may have another one
        expired = (one for one, value in self.records.items() if value and 0 < lmdb_encoding.expiry_of(value) <= now)
        return list(islice(expired, most))

    def _earliest(self) -> int:
        return min(
            filter(None, (lmdb_encoding.expiry_of(value) for value in self.records.values() if value)), default=0
        )

    def _expires(self, expires: int) -> None:
        if expires and not 0 < self.first_expiry <= expires:
            self.first_expiry = expires


class View:
    """Records as they are when changes are brought to bear on those in LMDB.

    :param transaction: with buffers.
    :param changes: the newest first.
    """

    def __init__(self, databases: Databases, transaction: lmdb.Transaction, *changes: Changes) -> None:
        self._databases = databases
        self._transaction = transaction
        self._layers = changes

    def get(self, database: bytes) -> memoryview | None:
        """The value of a record."""
        for layer in self._layers:
            changed = layer.records.get(database)
            if changed is not None:
                return memoryview(changed) if changed else None
        stored = self._transaction.get(database, db=self._databases.records)
        return None if stored is None else memoryview(stored)

    def many(self, databases: list[bytes]) -> list[Value | None]:
        """The value of each of many records, by calls in C over all of them."""
        found: dict[bytes, Value] = {}
        wanted = databases
        for layer in self._layers:
            changed = list(map(layer.records.get, wanted)) if layer.records else []
            if changed.count(None) < len(changed):
                found.update((one, value) for one, value in zip(wanted, changed, strict=True) if value is not None)
                wanted = [one for one in wanted if one not in found]
        cursor = self._transaction.cursor(db=self._databases.records)
        stored = cast("list[tuple[bytes, memoryview]]", cursor.getmulti(wanted))  # transactions give buffers
        if len(stored) == len(databases):
            return [value for _, value in stored]
        if not stored and not found:
            return [None] * len(databases)
        found.update((bytes(database), value) for database, value in stored)
        return [found.get(one) or None for one in databases]

    def something_expires(self) -> bool:
        """Whether any record may have an expiry."""
        return any(layer.first_expiry for layer in self._layers) or bool(
            self._transaction.stat(db=self._databases.expiries)["entries"]
        )

    def first_expiry(self) -> int:
        """No record expires earlier; 0: none does at all."""
        found = [layer.first_expiry for layer in self._layers if layer.first_expiry]
        expiries = self._transaction.cursor(db=self._databases.expiries)
        if expiries.first():
            found.append(lmdb_encoding.expiry_in(expiries.key()))
        return min(found, default=0)

    def between(self, first: bytes, behind: bytes) -> Iterator[tuple[bytes, memoryview]]:
        """Database key and value of the records of [first, behind), in order."""
        stored = _stored(self._transaction.cursor(db=self._databases.records), first, behind)
        layers = [_changed(layer, first, behind) for layer in self._layers if layer.records]
        if not layers:
            yield from stored
            return
        last = None
        for database, value in merge(*layers, stored, key=itemgetter(0)):
            if database != last and value:  # of equal keys the newest value comes first
                yield database, value
            last = database


def _changed(changes: Changes, first: bytes, behind: bytes) -> Iterator[tuple[bytes, memoryview]]:
    order = changes.ordered()
    for database in islice(order, bisect_left(order, first), None):
        if database >= behind:
            break
        yield database, memoryview(changes.records[database])


def _stored(cursor: lmdb.Cursor, first: bytes, behind: bytes) -> Iterator[tuple[bytes, memoryview]]:
    if cursor.set_range(first):
        for database, value in cursor.iternext():
            database = bytes(database)
            if database >= behind:
                break
            yield database, memoryview(value)
