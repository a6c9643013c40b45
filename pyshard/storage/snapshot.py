"""A store as it was at one moment, page by page, the same for every store; and the rows of each kind of store.

Rules kept here: a page holds whole rows, and at least one until the end; what had expired when the snapshot was
taken isn't in it; a snapshot that was ended gives nothing any more, and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

import lmdb

from pyshard.errors import SnapshotEnded
from pyshard.protocol.answers import VERSION
from pyshard.protocol.pages import Row
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.memtable import Changes

#: Bytes of a row beside its key and its record, in MessagePack, at the most.
_ROW_OVERHEAD = 32


def _nothing() -> None:
    pass


class Snapshot:
    """`ISnapshot` over the rows that a store gives it.

    :param documents: how many rows there are.
    :param rows: the rows, found as they are asked for.
    :param lock: held while rows are found.
    :param let_go: called once, with the lock held, when no more rows are wanted.
    """

    def __init__(
        self,
        documents: int,
        rows: Iterator[Row],
        lock: AbstractContextManager[object] | None = None,
        let_go: Callable[[], None] = _nothing,
    ) -> None:
        self.documents = documents
        self._rows: Iterator[Row] | None = rows
        self._next: Row | None = None  # did not fit on the page before
        self._lock = lock or nullcontext()
        self._let_go = let_go
        self._why = ""

    def page(self, most_bytes: int) -> list[Row]:
        """See `ISnapshot`."""
        page: list[Row] = []
        with self._lock:
            if self._rows is None:
                raise SnapshotEnded(f"the snapshot has ended: {self._why}; start the backup again")
            while (row := self._next or next(self._rows, None)) is not None:
                self._next = row
                most_bytes -= len(row.key) + len(row.record) + _ROW_OVERHEAD
                if page and most_bytes < 0:
                    break
                page.append(row)
                self._next = None
        return page

    def close(self) -> None:
        """See `ISnapshot`."""
        with self._lock:
            self.end("it was closed")

    def end(self, why: str) -> None:
        """Let go of everything; whoever calls it holds the lock.

        :param why: what the next page fails with.
        """
        if self._rows is not None:
            self._rows = self._next = None  # the rows' cursor goes before its transaction does
            self._why = why
            let_go, self._let_go = self._let_go, _nothing  # LMDB keeps a reader's place until its object is gone
            let_go()


def copied_rows(copies: Mapping[int, tuple[dict[bytes, bytes], dict[bytes, int]]], now: int) -> Iterator[Row]:
    """The live rows of a memory store.

    :param copies: index id → (key → version and record, key → expiry), which nobody changes.
    :param now: milliseconds since 1970.
    """
    for index, (records, expiries) in copies.items():
        for key, stored in records.items():
            expires = expiries.get(key, 0)
            if not 0 < expires <= now:
                yield Row(index, key, expires, stored[VERSION.size :])


def stored_rows(cursor: lmdb.Cursor, changes: Changes, indexes: Sequence[int], now: int) -> Iterator[Row]:
    """The live rows of a durable store: those in LMDB that weren't changed, then those that were.

    :param cursor: on the records, in a transaction with buffers.
    :param changes: what was changed since, and changes no more.
    :param indexes: ids of the indexes that there are, in order.
    :param now: milliseconds since 1970.
    """
    for index in indexes:
        prefix = lmdb_encoding.PREFIX.pack(index, 0)
        if cursor.set_range(prefix):
            for database, value in cursor.iternext():
                database, value = bytes(database), memoryview(value)
                if database[:4] != prefix[:4]:
                    break
                if database not in changes.records and not 0 < lmdb_encoding.expiry_of(value) <= now:
                    yield _row(database, value)
    for database, changed in changes.records.items():
        if (
            changed
            and lmdb_encoding.PREFIX.unpack_from(database)[0] in indexes
            and not 0 < lmdb_encoding.expiry_of(changed) <= now
        ):
            yield _row(database, memoryview(changed))


def _row(database: bytes, value: memoryview) -> Row:
    key = lmdb_encoding.whole_key(memoryview(database), value)
    found = lmdb_encoding.unpack(key, value)
    assert found is not None  # the key is the value's own
    return Row(lmdb_encoding.PREFIX.unpack_from(database)[0], key, found.expires, found.record)


def expired_in(expiries: lmdb.Cursor, changes: Changes, indexes: Collection[int], now: int) -> int:
    """How many records of these indexes have expired and were not swept away yet.

    :param expiries: a cursor on the expiries, in a transaction with buffers.
    :param changes: as for `stored_rows`.
    """
    count = 0
    for entry, stored in expiries.iternext():
        if not lmdb_encoding.expired(entry, now):
            break
        database = bytes(stored)
        count += database not in changes.records and lmdb_encoding.PREFIX.unpack_from(database)[0] in indexes
    if changes.first_expiry:
        for database, value in changes.records.items():
            if value and 0 < lmdb_encoding.expiry_of(value) <= now:
                count += lmdb_encoding.PREFIX.unpack_from(database)[0] in indexes
    return count
