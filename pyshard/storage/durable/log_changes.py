"""Groups of the log as groups of changes that any store takes, and the other way round. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from pyshard.errors import BadRequest
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.change_groups import Change, ChangeGroup, are_index_ids
from pyshard.protocol.group_outline import FEW, GroupFields, Places, check_announced
from pyshard.protocol.log_groups import LogGroup, ReplicatedGroup
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.group_changes import LoggedGroup, decoded, encoded
from pyshard.storage.read_ahead import read_ahead
from pyshard.storage.store_index import StoredRecord

_outline = msgspec.msgpack.Decoder(GroupFields)
_PLACES = Places.of(LoggedGroup, "records")


def change_of(db_key: bytes, value: bytes | memoryview) -> Change:
    """What has become of a record.

    :param value: as LMDB, or the log, has it.
    """
    index, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
    if value and not lmdb_encoding.is_long(db_key):  # nearly all, and there are many
        short_key, version, expires, record = lmdb_encoding.short_row(db_key, value)
        read_ahead(record)
        return Change(index, slot, short_key, version, expires, bytes(record))
    if not value:
        return Change(index, slot, db_key[lmdb_encoding.PREFIX.size + 1 :], 0, 0, None)
    view = memoryview(value)
    key = lmdb_encoding.whole_key(memoryview(db_key), view)
    if lmdb_encoding.is_removed(value):
        return Change(index, slot, key, 0, 0, None)
    stored = lmdb_encoding.unpack(key, view)
    assert stored is not None  # the key is the value's own
    read_ahead(stored.record)
    return Change(index, slot, key, stored.version, stored.expires, bytes(stored.record))


def change_group(group: LogGroup, ranges: SlotRanges | None) -> ChangeGroup:
    """A group of the log, with those records alone whose slots are in some ranges; None: with all."""
    logged = decoded(group.payload)
    changes = [
        change_of(db_key, value)
        for db_key, value in logged.records.items()
        if ranges is None or in_ranges(lmdb_encoding.PREFIX.unpack_from(db_key)[1], ranges)
    ]
    return ChangeGroup(
        group.sequence,
        group.ballot,
        logged.version,
        changes,
        logged.indexes,
        logged.text,
        logged.next_index,
        logged.ranges,
    )


def logged_group(group: ChangeGroup) -> LoggedGroup:
    """A group of changes as the log has one."""
    records = {
        lmdb_encoding.database_key(change.index, change.slot, change.key): change_value(change)
        for change in group.changes
    }
    return LoggedGroup(group.version, records, group.indexes, group.text, group.next_index, group.ranges)


class ForLog(NamedTuple):
    """What a replica is to have in its log.

    :param group: as the log has it.
    :param must_sync: whether the disk must have it before anybody is told of it, whatever the durability.
    :param version: the last version given to a write.
    """

    group: LogGroup
    must_sync: bool
    version: int


def check_sizes(groups: Sequence[ReplicatedGroup]) -> None:
    """Refuse groups of another replica's log with more changes together than a replica gives at a time.

    :raises BadRequest: they have more, or can't be read.
    """
    payloads = [group.payload for group in groups if isinstance(group, LogGroup)]
    if sum(map(len, payloads)) <= FEW:
        return
    try:
        outlines = list(map(_outline.decode, payloads))
    except msgspec.DecodeError as error:
        raise BadRequest(f"append: found a group that can't be read ({error})") from None
    check_announced(outlines, _PLACES)


def for_log(group: ReplicatedGroup) -> ForLog:
    """A group that another replica has made, for the log.

    :raises BadRequest: it is of a log, and can't be read, or no store makes such a group.
    """
    if isinstance(group, ChangeGroup):
        logged = logged_group(group)
        return ForLog(LogGroup(group.sequence, encoded(logged), group.ballot), logged.must_sync, logged.version)
    try:
        logged = decoded(group.payload)
    except ValueError as error:
        raise BadRequest(f"append: found group {group.sequence:,}, which can't be read ({error})") from None
    if logged.version < 0 or not are_index_ids(logged.indexes, logged.next_index):
        raise BadRequest(f"append: found group {group.sequence:,} with numbers that no store has")
    if not lmdb_encoding.are_rows(logged.records):
        raise BadRequest(f"append: found group {group.sequence:,} with a record that no store has")
    return ForLog(group, logged.must_sync, logged.version)


def change_value(change: Change) -> bytes:
    """The value that the log has for a record."""
    if change.record is not None:
        return lmdb_encoding.pack(change.key, StoredRecord(change.version, change.expires, change.record))
    return lmdb_encoding.removed(change.key) if len(change.key) > lmdb_encoding.LONGEST else b""
