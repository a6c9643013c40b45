"""How records lie in LMDB: keys and values as bytes. Pure. docs/storage.md says the same in prose.

A database key is the index's id and the slot (4 bytes each, big-endian), so that a hash range of an index lies
together in slot order, then 0 and the key; or, for keys past `LONGEST`, 1 and the key's 32-byte BLAKE2b digest, with
the whole key in the value. A value is version and expiry (8 bytes each), for long keys the key's length (4 bytes)
and the key, then the record.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import repeat
from operator import add, itemgetter

from pyshard.protocol.answers import VERSION
from pyshard.storage.executor import Found

#: Bytes of the longest key that stands in the database key itself (LMDB's keys have at most 511).
LONGEST = 502

PREFIX = struct.Struct(">II")
_HEAD = struct.Struct(">QQ")
_SHORT_PREFIX = struct.Struct(">IIB")
_LENGTH = struct.Struct(">I")
_SHORT, _LONG = b"\x00", b"\x01"
# Of a database key: 1 when the value has the whole key, else 0.
_IS_LONG: Callable[[bytes], int] = itemgetter(PREFIX.size)
_DIGEST = 32  # bytes of the digest of a long key
_LONG_KEY = _SHORT_PREFIX.size + _DIGEST  # bytes of the database key of a long key
_EXPIRY = struct.Struct(">Q")


def database_key(index: int, slot: int, key: bytes) -> bytes:
    """The database key of a record."""
    if len(key) <= LONGEST:
        return PREFIX.pack(index, slot) + _SHORT + key
    return PREFIX.pack(index, slot) + _LONG + blake2b(key, digest_size=_DIGEST).digest()


def database_keys(index: int, slots: Sequence[int], keys: Sequence[bytes]) -> list[bytes]:
    """The database keys of many records, none of whose keys is longer than `LONGEST`."""
    return list(map(add, map(_SHORT_PREFIX.pack, repeat(index), slots, repeat(0)), keys))


def is_long(database: bytes | memoryview) -> bool:
    """Whether the value has the whole key."""
    return database[PREFIX.size] == 1


def pack(key: bytes, found: Found) -> bytes:
    """The value of a record."""
    head = _HEAD.pack(found.version, found.expires)
    return head + found.record if len(key) <= LONGEST else head + _LENGTH.pack(len(key)) + key + found.record


def pack_many(versions: Iterable[int], records: Iterable[bytes]) -> Iterator[bytes]:
    """The values of records that stay for ever, none of whose keys is longer than `LONGEST`."""
    return map(add, map(_HEAD.pack, versions, repeat(0)), records)


def whole_key(database: memoryview, value: memoryview) -> bytes:
    """The key of a record."""
    if not is_long(database):
        return bytes(database[PREFIX.size + 1 :])
    (length,) = _LENGTH.unpack_from(value, _HEAD.size)
    return bytes(value[_HEAD.size + _LENGTH.size : _HEAD.size + _LENGTH.size + length])


def expiry_of(value: bytes | memoryview) -> int:
    """When a record expires; see `Found`."""
    return int(_EXPIRY.unpack_from(value, VERSION.size)[0])


def unpack(key: bytes, value: memoryview) -> Found | None:
    """The record of a value; None when the value is another key's with the same digest."""
    begin = _record_begins(key, value)
    if begin is None:
        return None
    version, expires = _HEAD.unpack_from(value)
    return Found(version, expires, bytes(value[begin:]))


def result(value: bytes | memoryview) -> bytes:
    """Version and record (`VERSION`, record) of the value of a key not longer than `LONGEST`."""
    return bytes(value[: VERSION.size]) + bytes(value[_HEAD.size :])


def bytes_of_records(values: Sequence[bytes | memoryview]) -> int:
    """How many bytes the records of such values have together."""
    return sum(map(len, values)) - len(values) * _HEAD.size


def bytes_of_all(databases: Collection[bytes], values: Collection[bytes | memoryview]) -> int:
    """How many bytes records and their keys have together.

    :param databases: their database keys.
    """
    long = sum(map(_IS_LONG, databases))
    heads = len(values) * (_SHORT_PREFIX.size + _HEAD.size) + long * (_LONG_KEY + _LENGTH.size - _SHORT_PREFIX.size)
    return sum(map(len, databases)) + sum(map(len, values)) - heads


def is_live(key: bytes, value: bytes | memoryview, now: int) -> bool:
    """Whether a value is that of `key` and hasn't expired."""
    return not 0 < expiry_of(value) <= now and _record_begins(key, value) is not None


def _record_begins(key: bytes, value: bytes | memoryview) -> int | None:
    if len(key) <= LONGEST:
        return _HEAD.size
    (length,) = _LENGTH.unpack_from(value, _HEAD.size)
    begin = _HEAD.size + _LENGTH.size
    return begin + length if value[begin : begin + length] == key else None


def expiry_key(expires: int, database: bytes) -> bytes:
    """The key of a record's entry among the expiries: expiry, then a digest of its database key."""
    return _EXPIRY.pack(expires) + blake2b(database, digest_size=16).digest()


def expiry_in(entry: bytes | memoryview) -> int:
    """The expiry of such a key."""
    return int(_EXPIRY.unpack_from(entry)[0])


def expired(entry: bytes | memoryview, now: int) -> bool:
    """Whether an entry among the expiries is due, given the time in milliseconds since 1970."""
    return expiry_in(entry) <= now
