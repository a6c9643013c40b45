"""How records lie in LMDB: keys and values as bytes. Pure; docs/storage.md says the same in prose.

Rules:

- a database key begins with the index's id and the slot (4 bytes each, big-endian), so that a hash range of an index
  lies together, in slot order;
- behind them it has 0 and the key; or, for a *long* key (more than `LONGEST` bytes), 1 and the key's 32-byte BLAKE2b
  digest, since LMDB's keys have at most 511 bytes;
- a value is version and expiry (8 bytes each), for a long key its length (4 bytes) and the key, then the record;
- in the log, a removed record with a long key has a value of version 0 with the key, since its digest doesn't give it;
- whoever finds the value of a long key compares the whole key, since two keys may share a digest;
- functions of many keys work in columns, by calls in C; each names its plain twin, which does one key
  (tests/storage/durable/test_lmdb_encoding.py compares them);
- where `pyshard.compiled` is in use, many keys, values and results are made there.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import repeat
from operator import add, itemgetter
from typing import cast

from pyshard.compiled import IN_USE, lmdb_leaves
from pyshard.model.key_slots import SLOTS
from pyshard.protocol.batch_answers import VERSION
from pyshard.protocol.columns import longest, total_size
from pyshard.settings import settings
from pyshard.storage.read_ahead import read_ahead
from pyshard.storage.store_index import StoredRecord

#: Bytes of the longest key that stands in the database key itself.
LONGEST = 502

#: Index and slot: the first bytes of a database key.
PREFIX = struct.Struct(">II")

#: How many of these bytes the index has.
INDEX_BYTES = 4

#: Of a database key: 1 for a long key, else 0.
LONG_FLAG: Callable[[bytes], int] = itemgetter(PREFIX.size)

#: Bytes of a value that take as long to look at as one more record, where LMDB's binding reads all of them.
LOOK_BYTES = 4096

_HEAD = struct.Struct(">QQ")  # version, expiry
_SHORT_PREFIX = struct.Struct(">IIB")
_LENGTH = struct.Struct(">I")
_SHORT, _LONG = b"\x00", b"\x01"
_DIGEST = 32  # bytes of the digest of a long key
_LONG_DB_KEY = _SHORT_PREFIX.size + _DIGEST  # bytes of the database key of a long key
_EXPIRY = struct.Struct(">Q")
_NO_VERSION = 0  # no write has it
_MOST = 2**63 - 1  # of versions and expiries


def database_key(index: int, slot: int, key: bytes) -> bytes:
    """The database key of a record."""
    if len(key) <= LONGEST:
        return PREFIX.pack(index, slot) + _SHORT + key
    return PREFIX.pack(index, slot) + _LONG + blake2b(key, digest_size=_DIGEST).digest()


def first_bytes(index: int) -> bytes:
    """What the database keys of an index begin with, `INDEX_BYTES` of them, and no others."""
    return PREFIX.pack(index, 0)[:INDEX_BYTES]


def database_keys_plainly(index: int, slots: Iterable[int], keys: Iterable[bytes]) -> list[bytes]:
    """What `database_keys` gives."""
    return list(map(add, map(_SHORT_PREFIX.pack, repeat(index), slots, repeat(0)), keys))


def is_long(db_key: bytes | memoryview) -> bool:
    """Whether a database key is that of a long key."""
    return db_key[PREFIX.size] == 1


def pack(key: bytes, stored: StoredRecord) -> bytes:
    """The value of a record."""
    head = _HEAD.pack(stored.version, stored.expires)
    return head + stored.record if len(key) <= LONGEST else head + _LENGTH.pack(len(key)) + key + stored.record


def removed(key: bytes) -> bytes:
    """What the log has in place of the value of a removed record with a long key."""
    return _HEAD.pack(_NO_VERSION, 0) + _LENGTH.pack(len(key)) + key


def is_removed(value: bytes | memoryview) -> bool:
    """Whether that is what it is."""
    return bool(VERSION.unpack_from(value)[0] == _NO_VERSION)


def pack_many_plainly(versions: Iterable[int], records: Iterable[bytes]) -> list[bytes]:
    """What `pack_many` gives."""
    return list(map(add, map(_HEAD.pack, versions, repeat(0)), records))


#: The database keys of many records without long keys, given their index, slots and keys. Plain twin: `database_key`.
database_keys: Callable[[int, Iterable[int], Iterable[bytes]], list[bytes]] = (
    lmdb_leaves.database_keys if IN_USE else database_keys_plainly
)

#: The values of many records without expiry and without long keys, given versions and records. Plain twin: `pack`.
pack_many: Callable[[Iterable[int], Iterable[bytes]], list[bytes]] = (
    lmdb_leaves.stored_values if IN_USE else pack_many_plainly
)


def whole_key(db_key: memoryview, value: memoryview) -> bytes:
    """The key of a record."""
    if not is_long(db_key):
        return bytes(db_key[PREFIX.size + 1 :])
    return _long_key(value)


def short_row(db_key: bytes, value: bytes | memoryview) -> tuple[bytes, int, int, bytes | memoryview]:
    """Key, version, expiry and record of a record whose key isn't long. Plain twins: `whole_key` and `unpack`."""
    version, expires = _HEAD.unpack_from(value)
    return db_key[_SHORT_PREFIX.size :], version, expires, value[_HEAD.size :]


def looks(value: bytes | memoryview | None) -> int:
    """As how many records a value counts where some are looked at together; None: there is none."""
    return 1 + len(value or b"") // LOOK_BYTES


def expiry_of(value: bytes | memoryview) -> int:
    """The expiry in a value; see `StoredRecord.expires`."""
    return int(_EXPIRY.unpack_from(value, VERSION.size)[0])


def unpack(key: bytes, value: memoryview) -> StoredRecord | None:
    """The record in a value, as a view of it; None if the value is that of another key with the same digest."""
    begin = _record_begins(key, value)
    if begin is None:
        return None
    version, expires = _HEAD.unpack_from(value)
    return StoredRecord(version, expires, value[begin:])


def results(values: Iterable[bytes | memoryview | None], room: int) -> list[bytes | None]:
    """Version and record (`VERSION`, record) in each of many values of keys that aren't long. Plain twin: `unpack`.

    :param room: bytes of results; once they are reached, it ends.
    """
    return (lmdb_leaves.stored_results if IN_USE else results_plainly)(values, room, VERSION.size, _HEAD.size)


def results_plainly(
    values: Iterable[bytes | memoryview | None], room: int, kept: int, begin: int
) -> list[bytes | None]:
    """The parts of each value that its result has: the first `kept` bytes, and those from `begin` on."""
    found: list[bytes | None] = []
    if room <= 0:
        return found
    for value in values:
        if value is not None:
            read_ahead(value)
        result = None if value is None else bytes(value[:kept]) + bytes(value[begin:])
        found.append(result)
        room -= len(result or b"")
        if room <= 0:
            break
    return found


def bytes_of(db_key: bytes, value: bytes | memoryview) -> int:
    """How many bytes a key and its record have together."""
    long_key = _LONG_DB_KEY - _SHORT_PREFIX.size + _LENGTH.size if is_long(db_key) else 0
    return len(db_key) - _SHORT_PREFIX.size + len(value) - _HEAD.size - long_key


def used_by(db_key: bytes, value: bytes | memoryview) -> int:
    """How many bytes a record counts against the limit, with its key."""
    expiry = settings.EXPIRY_OVERHEAD if expiry_of(value) else 0
    return bytes_of(db_key, value) + settings.ITEM_OVERHEAD + expiry


def bytes_of_many(db_keys: Collection[bytes], values: int) -> int:
    """How many bytes many keys and their records have together. Plain twin: `bytes_of`.

    :param values: bytes that their values have together.
    """
    long = sum(map(LONG_FLAG, db_keys))
    heads = len(db_keys) * (_SHORT_PREFIX.size + _HEAD.size)
    heads += long * (_LONG_DB_KEY + _LENGTH.size - _SHORT_PREFIX.size)
    return sum(map(len, db_keys)) + values - heads


def sizes_of_values(values: Iterable[bytes | memoryview | None]) -> list[int]:
    """How many bytes each of many values has; 0 for none. Plain twin: `len`."""
    found = list(values)
    if None not in found:
        return list(map(len, cast("list[bytes | memoryview]", found)))
    return [0 if value is None else len(value) for value in found]


def bytes_of_values(records: Sequence[bytes]) -> tuple[int, int]:
    """Bytes of the values of many records, without long keys: together, and of the longest. Plain twin: `pack`."""
    return total_size(records) + len(records) * _HEAD.size, longest(records) + _HEAD.size


def bytes_of_records(sizes: Sequence[int]) -> int:
    """How many bytes the records of many keys that aren't long have together. Plain twin: `unpack`.

    :param sizes: of their values, or 0; see `sizes_of_values`.
    """
    return sum(sizes) - (len(sizes) - sizes.count(0)) * _HEAD.size


def expiring_plainly(values: Sequence[bytes | memoryview]) -> int:
    """What `expiring` gives."""
    return len(values) - list(map(_EXPIRY.unpack_from, values, repeat(VERSION.size))).count((0,))


#: How many of many records have an expiry, given their values. Plain twin: `expiry_of`.
expiring: Callable[[Sequence[bytes | memoryview]], int] = lmdb_leaves.expiring if IN_USE else expiring_plainly


def is_live(key: bytes, value: bytes | memoryview, now: int) -> bool:
    """Whether a value is that of `key` and hasn't expired.

    :param now: milliseconds since 1970.
    """
    return not 0 < expiry_of(value) <= now and _record_begins(key, value) is not None


def _record_begins(key: bytes, value: bytes | memoryview) -> int | None:
    if len(key) <= LONGEST:
        return _HEAD.size
    found = _long_key(value)
    return _HEAD.size + _LENGTH.size + len(found) if found == key else None


def _long_key(value: bytes | memoryview) -> bytes:
    """The long key in a value. To compare a view takes forty times as long."""
    (length,) = _LENGTH.unpack_from(value, _HEAD.size)
    found = value[_HEAD.size + _LENGTH.size : _HEAD.size + _LENGTH.size + length]
    read_ahead(found)
    return bytes(found)


def are_rows(records: Mapping[bytes, bytes]) -> bool:
    """Whether a store can have all of these records, as the log has them. Plain twin: `is_row`.

    :param records: database key → value, or what stands for it where the record was removed.
    """
    if IN_USE and lmdb_leaves.are_short_rows(records, SLOTS):  # nearly all are
        return True
    return all(is_row(db_key, value) for db_key, value in records.items())


def is_row(db_key: bytes, value: bytes) -> bool:
    """Whether a store can have a record, as the log has it. That a digest is its key's own isn't looked at."""
    if len(db_key) < _SHORT_PREFIX.size or 0 < len(value) < _HEAD.size:
        return False
    _, slot, flag = _SHORT_PREFIX.unpack_from(db_key)
    version, expires = _HEAD.unpack_from(value) if value else (_NO_VERSION, 0)
    if slot >= SLOTS or flag > 1 or version > _MOST or expires > _MOST:
        return False
    if flag == 0:
        return len(db_key) <= _SHORT_PREFIX.size + LONGEST and (not value or version != _NO_VERSION)
    if len(db_key) != _LONG_DB_KEY or len(value) < _HEAD.size + _LENGTH.size:
        return False
    (length,) = _LENGTH.unpack_from(value, _HEAD.size)
    behind = len(value) - _HEAD.size - _LENGTH.size - length
    return bool(length > LONGEST and (behind >= 0 if version != _NO_VERSION else behind == 0))


def expiry_key(expires: int, db_key: bytes) -> bytes:
    """The key of a record's entry in the database of expiries: expiry, then a digest of its database key."""
    return _EXPIRY.pack(expires) + blake2b(db_key, digest_size=16).digest()


def expiry_in(entry: bytes | memoryview) -> int:
    """The expiry in such a key."""
    return int(_EXPIRY.unpack_from(entry)[0])


def is_due(entry: bytes | memoryview, now: int) -> bool:
    """Whether the record of such a key has expired.

    :param now: milliseconds since 1970.
    """
    return expiry_in(entry) <= now
