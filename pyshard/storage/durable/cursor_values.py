"""Values of LMDB's records, of which no more pages are read from the disk than are wanted.

LMDB's binding touches each page of a value that it gives, wanted or not: one of 16 MiB that isn't in memory is 4,096
reads of the disk, one after the other. Most of what a store does with a value needs its size and its first bytes alone.

Rules:

- a value is a view of all its bytes, but its first page alone is sure to be in memory;
- who copies a value calls `pyshard.storage.read_ahead.read_ahead` first: else all threads would wait for the disk;
- a value is where the cursor's own memory says. Where that is, is looked up once for each environment, at a record
  whose key and value are known. If it isn't found, or nothing is compiled, values are got from the binding;
- a view is good as long as the binding's would be: until its transaction ends, or changes anything.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol, TypeAlias

import lmdb

from pyshard.compiled import IN_USE, cursor_leaves


class CursorValues(Protocol):
    """The values of one cursor's records, in a transaction with buffers."""

    def get(self, db_key: bytes) -> memoryview | None:
        """The value of a record; None: there is none."""
        ...

    def here(self) -> memoryview:
        """The value of the record that the cursor stands on. Nothing may have changed since it was moved."""
        ...


#: Gives the values of a cursor.
ValuesOf: TypeAlias = "Callable[[lmdb.Cursor[memoryview]], CursorValues]"


class PlainCursorValues:
    """`CursorValues` as the binding gives them, with all pages read."""

    def __init__(self, cursor: lmdb.Cursor[memoryview]) -> None:
        self._cursor = cursor

    def get(self, db_key: bytes) -> memoryview | None:
        """See `CursorValues`."""
        return self._cursor.get(db_key)

    def here(self) -> memoryview:
        """See `CursorValues`."""
        return self._cursor.value()


def values_of(environment: lmdb.Environment) -> ValuesOf:
    """How to get at the values of an environment's cursors.

    :param environment: it has a named database at the least.
    """
    if not IN_USE:
        return PlainCursorValues
    with environment.begin(buffers=True) as transaction:
        cursor = transaction.cursor()
        found = cursor_leaves.value_field(cursor, cursor.key(), cursor.value()) if cursor.first() else -1
    return PlainCursorValues if found < 0 else partial(_compiled, found)


def _compiled(field: int, cursor: lmdb.Cursor[memoryview]) -> CursorValues:
    return cursor_leaves.CursorValues(cursor, field)
