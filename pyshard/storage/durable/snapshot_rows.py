"""The rows of a snapshot of a durable store: of LMDB's records as they were, with a memtable over them.

Rules:

- a record that is in the memtable counts as it is there, whatever LMDB has;
- records that had expired at the snapshot's moment, those of dropped indexes, and those of slots that the store didn't
  own are left out. A copy has them all, but for those of dropped indexes;
- whatever is looked at is told, so that whoever asks can count it: None stands for a record that is no row, or for a
  part of a large one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from itertools import repeat

import lmdb

from pyshard.model.slot_ranges import EVERYTHING, SlotRanges, in_ranges
from pyshard.protocol.change_groups import Change
from pyshard.protocol.pages import Row
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.cursor_values import CursorValues, PlainCursorValues, ValuesOf
from pyshard.storage.durable.log_changes import change_of
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.durable.wanted_places import WantedPlaces
from pyshard.storage.read_ahead import read_ahead

_PASSED_BYTES = lmdb_encoding.LOOK_BYTES // 4  # for a page four times as many records are looked at as in other steps


def live_rows(
    cursor: lmdb.Cursor[memoryview],
    memtable: Memtable,
    indexes: Sequence[int],
    now: int,
    owned: SlotRanges,
    values_of: ValuesOf = PlainCursorValues,
) -> Iterator[Row | None]:
    """The rows: those of records that only LMDB has, then those of the memtable.

    :param cursor: on LMDB's records, in a transaction with buffers.
    :param memtable: doesn't change any more.
    :param indexes: ids of the indexes that there are, in order.
    :param now: the snapshot's moment, in milliseconds since 1970.
    :param owned: the slots that the store owned then.
    :param values_of: gives the values of a cursor.
    """
    for found in _stored(cursor, values_of(cursor), indexes, owned):
        if found is None:
            yield None
            continue
        db_key, value = found
        if db_key not in memtable.records and not 0 < lmdb_encoding.expiry_of(value) <= now:
            yield _row(db_key, value)
        else:
            yield from _passed_by(value)
    for db_key, changed in memtable.records.items():
        index, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
        live = (
            bool(changed)
            and index in indexes
            and in_ranges(slot, owned)
            and not 0 < lmdb_encoding.expiry_of(changed) <= now
        )
        yield _row(db_key, memoryview(changed)) if live else None


def all_records(
    cursor: lmdb.Cursor[memoryview],
    memtable: Memtable,
    indexes: Sequence[int],
    ranges: SlotRanges | None,
    values_of: ValuesOf = PlainCursorValues,
) -> Iterator[Change | None]:
    """The rows of a copy: as `live_rows`, with those that have expired, and with versions.

    :param ranges: which slots are wanted; None: all.
    :param values_of: gives the values of a cursor.
    """
    for found in _stored(cursor, values_of(cursor), indexes, EVERYTHING if ranges is None else ranges):
        if found is None:
            yield None
        elif found[0] in memtable.records:
            yield from _passed_by(found[1])
        else:
            yield change_of(*found)
    for db_key, changed in memtable.records.items():
        index, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
        wanted = bool(changed) and index in indexes and in_ranges(slot, ranges)
        yield change_of(db_key, changed) if wanted else None


def _stored(
    cursor: lmdb.Cursor[memoryview], values: CursorValues, indexes: Sequence[int], ranges: SlotRanges
) -> Iterator[tuple[bytes, memoryview] | None]:
    """Database key and value of LMDB's records of some indexes and slots, and None for each other that was come by."""
    wanted = WantedPlaces(indexes, ranges)
    span, db_key = wanted.span_at(b""), b""
    while span is not None and cursor.set_range(max(span[0], db_key)):
        for key in cursor.iternext(values=False):
            db_key, value = bytes(key), values.here()
            if db_key >= span[1]:
                yield from _passed_by(value)
                break
            yield db_key, value
        else:
            return
        span = wanted.span_at(db_key)


def _passed_by(value: bytes | memoryview) -> Iterator[None]:
    """None for a record that is no row, as often as others could be looked at meanwhile."""
    return repeat(None, 1 + len(value) // _PASSED_BYTES)


def _row(db_key: bytes, value: memoryview) -> Row:
    key = lmdb_encoding.whole_key(memoryview(db_key), value)
    stored = lmdb_encoding.unpack(key, value)
    assert stored is not None  # the key is the value's own
    read_ahead(stored.record)
    return Row(lmdb_encoding.PREFIX.unpack_from(db_key)[0], key, stored.expires, bytes(stored.record))


def expired_records(
    cursor: lmdb.Cursor, memtable: Memtable, indexes: Collection[int], now: int, owned: SlotRanges
) -> Iterator[bool]:
    """Of each record that may have expired, whether it can be a row, has expired, and isn't swept away yet.

    :param cursor: on LMDB's expiries, in a transaction with buffers.
    :param memtable: see `live_rows`, as for the other parameters.
    """

    def may_be_row(db_key: bytes) -> bool:
        index, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
        return index in indexes and in_ranges(slot, owned)

    for entry, stored in cursor.iternext():
        if not lmdb_encoding.is_due(entry, now):
            break
        db_key = bytes(stored)
        yield db_key not in memtable.records and may_be_row(db_key)
    if memtable.first_expiry:
        for db_key, value in memtable.records.items():
            expired = bool(value) and 0 < lmdb_encoding.expiry_of(value) <= now
            yield expired and may_be_row(db_key)
