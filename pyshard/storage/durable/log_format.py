"""The format of a log file, and what a start reads back from it. Pure; docs/storage.md has the tables of bytes.

Rules:

- a file is written over and over from its start; each pass is a *lap*, with its own *salt*: eight random bytes that
  nobody outside can know;
- the header says which number the lap's first group follows, so that laps of several files have an order;
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

from pyshard.protocol.log_groups import LogGroup

_NAME = b"pyshard log 4\n\0\0"
_HEADER = struct.Struct(">16s16s8sQI")  # name, identity, salt, number before the first group's, checksum of these
_CHECKSUM = struct.Struct(">I")  # the last field of a header
_GROUP = struct.Struct(">8sQQBII")  # salt, sequence number, ballot, whether synced, bytes of payload, checksum of all

#: Bytes of a header.
HEADER_BYTES = _HEADER.size

#: Bytes of a group without its payload.
GROUP_BYTES = _GROUP.size

#: Bytes of a salt.
SALT_BYTES = 8


class Lap(NamedTuple):
    """What the header of a file says of the lap that the file is in.

    :param salt: 8 bytes.
    :param base: the number before that of its first group.
    """

    salt: bytes
    base: int


def packed_header(identity: bytes, lap: Lap) -> bytes:
    """The first bytes of a file.

    :param identity: 16 bytes, of the store.
    """
    begin = _HEADER.pack(_NAME, identity, lap.salt, lap.base, 0)[: -_CHECKSUM.size]
    return begin + _CHECKSUM.pack(zlib.crc32(begin))


def lap_of(data: bytes, identity: bytes) -> Lap:
    """The lap that a file is in.

    :param data: the file's bytes, or the first `HEADER_BYTES` of them.
    :param identity: 16 bytes, of the store.
    :raises ValueError: the file has no header, a damaged one, or that of another store.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"it has {len(data)} bytes, too few for a header")
    name, owner, salt, base, _ = _HEADER.unpack_from(data)
    lap = Lap(salt, base)
    if name != _NAME or data[: _HEADER.size] != packed_header(owner, lap):
        raise ValueError("its header is damaged, or that of something else")
    if owner != identity:
        raise ValueError(f"it belongs to the store {owner.hex()}")
    return lap


def packed_group(salt: bytes, group: LogGroup, synced: bool) -> bytes:
    """The bytes of a group.

    :param salt: 8 bytes, of the lap.
    :param synced: whether the disk has all groups before it.
    """
    sequence, payload, ballot = group
    checksum = _checksum(salt, sequence, ballot, synced, payload)
    return _GROUP.pack(salt, sequence, ballot, synced, len(payload), checksum) + payload


class Found(NamedTuple):
    """What a lap has.

    :param groups: those that LMDB doesn't have.
    :param last: the number of the last group; that of the lap's base if there is none.
    :param end: the place behind the last group.
    """

    groups: list[LogGroup]
    last: int
    end: int


def groups_in(data: bytes, lap: Lap, flushed: int, until: int | None = None) -> Found:
    """The groups of a lap.

    :param data: the file's bytes.
    :param flushed: the sequence number up to which LMDB has all groups.
    :param until: groups above this number were being cut off: whatever is left of them is nothing; None: none were.
    :raises ValueError: acknowledged groups are damaged.
    """
    groups: list[LogGroup] = []
    end, last = _HEADER.size, lap.base
    while (found := group_at(data, end, lap.salt)) is not None and found[0].sequence == last + 1:
        group, _ = found
        if until is not None and group.sequence > until:
            break
        last = group.sequence
        if last > flushed:
            groups.append(group)
        end += _GROUP.size + len(group.payload)
    place, newest = end, max(flushed, last)
    while (place := data.find(lap.salt, place)) >= 0:
        beyond = group_at(data, place, lap.salt)
        if beyond is not None and beyond[1] and newest < beyond[0].sequence <= (until or 2**64):
            raise ValueError(f"it is damaged at byte {end:,}, and acknowledged changes were there")
        place += 1
    return Found(groups, last, end)


def place_behind(data: bytes, lap: Lap, sequence: int) -> int | None:
    """Where the group with a number ends; None: the lap doesn't have it, nor begins behind it.

    :param data: the file's bytes.
    """
    place, last = _HEADER.size, lap.base
    while last < sequence and (found := group_at(data, place, lap.salt)) is not None and found[0].sequence == last + 1:
        last += 1
        place += _GROUP.size + len(found[0].payload)
    return place if last == sequence else None


def skip_groups(data: bytes, place: int, salt: bytes, last: int, until: int) -> tuple[int, int]:
    """Go by groups of a lap, by their heads alone: a tenth of the time that it takes to look at all of each.

    :param data: some bytes of the file.
    :param place: where the group behind `last` begins in them.
    :param until: the number of the last group that is gone by.
    :return: the number of the last one, and the place behind it, which may be beyond these bytes. They are as they were
        given if no whole head of the lap's next group is there.
    """
    unpack, end = _GROUP.unpack_from, len(data) - _GROUP.size
    while last < until and place <= end:
        found, sequence, _, _, size, _ = unpack(data, place)
        if found != salt or sequence != last + 1:
            break
        last, place = sequence, place + _GROUP.size + size
    return last, place


def size_of_group(head: bytes, salt: bytes) -> int | None:
    """How many bytes a group has, given its first `GROUP_BYTES`; None: that is no group of the lap."""
    if len(head) < _GROUP.size or head[:SALT_BYTES] != salt:
        return None
    return _GROUP.size + int(_GROUP.unpack_from(head)[4])


def group_at(data: bytes, place: int, salt: bytes) -> tuple[LogGroup, bool] | None:
    """The group at a place, and whether it is a synced one; None if no valid group is there."""
    if data[place : place + SALT_BYTES] != salt or len(data) < place + _GROUP.size:
        return None
    _, sequence, ballot, synced, size, checksum = _GROUP.unpack_from(data, place)
    begin = place + _GROUP.size
    payload = data[begin : begin + size]
    if len(payload) < size or checksum != _checksum(salt, sequence, ballot, synced, payload):
        return None
    return LogGroup(sequence, payload, ballot), bool(synced)


def _checksum(salt: bytes, sequence: int, ballot: int, synced: int, payload: bytes) -> int:
    return zlib.crc32(payload, zlib.crc32(_GROUP.pack(salt, sequence, ballot, synced, len(payload), 0)))
