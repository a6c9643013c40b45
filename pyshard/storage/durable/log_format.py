"""The format of a log file, and what a start reads back from it. Pure; docs/storage.md has the tables of bytes.

Rules:

- a file is written over and over from its start; each pass is a *lap*, with its own *salt*: eight random bytes that
  nobody outside can know;
- a group is valid if it has the lap's salt, the next sequence number and the right checksum;
- the lap ends at the first place without a valid group, so half a group is none, and neither are groups of earlier
  laps or anything that a document may contain;
- a group that was written when the disk had all groups before it says so (`synced`);
- if a synced group is found behind the end of the lap, acknowledged groups were damaged, and the log is refused.
"""

from __future__ import annotations

import struct
import zlib
from typing import NamedTuple

_NAME = b"pyshard log 2\n\0\0"
_HEADER = struct.Struct(">16s16s8sI")  # name, identity, salt, checksum of these
_GROUP = struct.Struct(">8sQQBII")  # salt, sequence number, ballot, whether synced, bytes of payload, checksum of all

#: Bytes of a header.
HEADER_BYTES = _HEADER.size

#: Bytes of a salt.
SALT_BYTES = 8


class Group(NamedTuple):
    """What the log takes in one append: the changes of batches that are acknowledged together.

    :param sequence: rises by 1 with each group.
    :param payload: the changes; the log doesn't look into them.
    :param ballot: the number of the shard's configuration of replicas under which it was made; 0: it never had any.
    """

    sequence: int
    payload: bytes
    ballot: int = 0


def packed_header(identity: bytes, salt: bytes) -> bytes:
    """The first bytes of a file.

    :param identity: 16 bytes, of the store.
    :param salt: 8 bytes, of the lap.
    """
    checksum = zlib.crc32(_NAME + identity + salt)
    return _HEADER.pack(_NAME, identity, salt, checksum)


def salt_of(data: bytes, identity: bytes) -> bytes:
    """The salt of the lap that a file is in.

    :param data: the file's bytes.
    :param identity: 16 bytes, of the store.
    :raises ValueError: the file has no header, a damaged one, or that of another store.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"it has {len(data)} bytes, too few for a header")
    name, owner, salt, _ = _HEADER.unpack_from(data)
    if name != _NAME or data[: _HEADER.size] != packed_header(owner, salt):
        raise ValueError("its header is damaged, or that of something else")
    if owner != identity:
        raise ValueError(f"it belongs to the store {owner.hex()}")
    return bytes(salt)


def packed_group(salt: bytes, group: Group, synced: bool) -> bytes:
    """The bytes of a group.

    :param salt: 8 bytes, of the lap.
    :param synced: whether the disk has all groups before it.
    """
    sequence, payload, ballot = group
    checksum = zlib.crc32(payload, zlib.crc32(_GROUP.pack(salt, sequence, ballot, synced, len(payload), 0)))
    return _GROUP.pack(salt, sequence, ballot, synced, len(payload), checksum) + payload


def groups_in(data: bytes, salt: bytes, flushed: int) -> tuple[list[Group], int]:
    """The groups of a lap that LMDB doesn't have.

    :param data: the file's bytes.
    :param salt: 8 bytes, of the lap.
    :param flushed: the sequence number up to which LMDB has all groups.
    :return: the groups, and the place behind the lap's last one.
    :raises ValueError: acknowledged groups are damaged.
    """
    groups: list[Group] = []
    end, last = _HEADER.size, None
    while (found := _group_at(data, end, salt)) is not None and last in (None, found[0].sequence - 1):
        group, _ = found
        last = group.sequence
        if last > flushed:
            groups.append(group)
        end += _GROUP.size + len(group.payload)
    place, newest = end, max(flushed, last or 0)
    while (place := data.find(salt, place)) >= 0:
        beyond = _group_at(data, place, salt)
        if beyond is not None and beyond[1] and beyond[0].sequence > newest:
            raise ValueError(f"it is damaged at byte {end:,}, and acknowledged changes were there")
        place += 1
    return groups, end


def _group_at(data: bytes, place: int, salt: bytes) -> tuple[Group, bool] | None:
    """The group at a place, and whether it is a synced one; None if no valid group is there."""
    if data[place : place + SALT_BYTES] != salt or len(data) < place + _GROUP.size:
        return None
    _, sequence, ballot, synced, size, _ = _GROUP.unpack_from(data, place)
    begin = place + _GROUP.size
    group = Group(sequence, data[begin : begin + size], ballot)
    return (group, bool(synced)) if packed_group(salt, group, synced) == data[place : begin + size] else None
