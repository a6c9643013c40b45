"""What one group of the log changes, while it is made, as it is logged, and as it is read back. Pure.

Rules:

- a group says what has become of each record, not how: to do it a second time, or on top of a part of it, does no harm;
- it says so for each record by itself, with index and slot, so that groups can be filtered by slot;
- a record that was removed has no value; one with a long key has its key, which the database key doesn't have;
- a group may have the names of all indexes (it created or dropped some), a text that the shard remembers, the store's
  ranges, and how far it has absorbed another store's groups;
- indexes are changed before records: a record of an index that isn't there any more is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import msgspec

from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.memtable import REMOVED, Memtable


class LoggedGroup(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The payload of a group; docs/storage.md has it as a table.

    :param version: the last version given to a write.
    :param records: database key → value, or what stands for it where the record was removed; see `changed`.
    :param indexes: name → id of all named indexes; None: as before.
    :param text: what the shard remembers; None: as before.
    :param next_index: no index has had this id or a higher one; it goes with `indexes`.
    :param ranges: the store's ranges; None: as before.
    :param origin: whose groups the store absorbs, and how far it is, or `NOBODY`; None: as before.
    """

    version: int
    records: dict[bytes, bytes]
    indexes: dict[str, int] | None = None
    text: bytes | None = None
    next_index: int = 0
    ranges: StoreRanges | None = None
    origin: Origin | None = None

    @property
    def must_sync(self) -> bool:
        """See `GroupChanges`."""
        return self.indexes is not None or self.text is not None or self.ranges is not None or self.origin is not None

    def changed(self) -> Iterator[tuple[bytes, bytes]]:
        """Database key and value of each record; `REMOVED` is the value of one that was removed."""
        for db_key, value in self.records.items():
            yield db_key, value if value and not lmdb_encoding.is_removed(value) else REMOVED


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(LoggedGroup).decode


def decoded(payload: bytes) -> LoggedGroup:
    """The group in a payload.

    :raises ValueError: it is none.
    """
    try:
        return _decode(payload)
    except msgspec.MsgspecError as error:
        raise ValueError(f"a group of the log can't be read: {error}") from None


def encoded(group: LoggedGroup) -> bytes:
    """The payload of a group."""
    if group.indexes is None and group.text is None and group.ranges is None and group.origin is None:
        return _encode((group.version, group.records))
    return _encode(group)


def barrier(version: int) -> bytes:
    """The payload of a group that changes nothing.

    :param version: the last version given to a write.
    """
    return _encode((version, {}))


class GroupChanges(Memtable):
    """What a group changes: the newest layer over all others while the group is made.

    :ivar removed_long: database key → key, of those records with a long key that were removed; None: there are none.
    :ivar indexes: name → id of all named indexes, if the group creates or drops some.
    :ivar next_index: see `LoggedGroup`.
    :ivar text: what the shard remembers, if the group changes it.
    :ivar ranges: the store's ranges, if the group changes them.
    :ivar origin: whose groups the store absorbs, or `NOBODY`, if the group changes that.
    :ivar raises_version: whether the last version rises, also if no record changes.
    :ivar swept: where in LMDB's expiries the next sweep begins, if the group sweeps.
    :ivar trimmed: the database key where the next trim of what is left over begins, if the group trims.
    """

    removed_long: dict[bytes, bytes] | None = None
    indexes: Mapping[str, int] | None = None
    next_index = 0
    text: bytes | None = None
    ranges: StoreRanges | None = None
    origin: Origin | None = None
    raises_version = False
    swept: bytes | None = None
    trimmed: bytes | None = None

    def remove_key(self, db_key: bytes, key: bytes) -> None:
        """Mark a record as removed.

        :param key: its key.
        """
        self.remove(db_key)
        if len(key) > lmdb_encoding.LONGEST:
            if self.removed_long is None:
                self.removed_long = {}
            self.removed_long[db_key] = key

    def remember(self, text: bytes) -> None:
        """Change what the shard remembers."""
        self.text = text
        self.put_bytes += len(text)

    @property
    def largest(self) -> int:
        """Bytes that it puts, or that its answers give: the more of both."""
        return max(self.put_bytes, self.given_bytes)

    @property
    def must_sync(self) -> bool:
        """Whether the disk must have the group before anybody is told of it, whatever the durability."""
        return self.indexes is not None or self.text is not None or self.ranges is not None or self.origin is not None

    @property
    def any(self) -> bool:
        """Whether it changes anything that the log has."""
        return bool(self.records) or self.raises_version or self.must_sync

    def payload(self, version: int) -> bytes:
        """The group as it is logged; empty: nothing has changed.

        :param version: the last version given to a write.
        """
        if not self.must_sync:
            if not self.records and not self.raises_version:
                return b""
            return _encode((version, self._logged() if self.removed_long else self.records))
        indexes = None if self.indexes is None else dict(self.indexes)
        return _encode(
            LoggedGroup(version, self._logged(), indexes, self.text, self.next_index, self.ranges, self.origin)
        )

    def _logged(self) -> dict[bytes, bytes]:
        """What the log has of each record."""
        removed = self.removed_long or {}
        long_keys = ((db_key, key) for db_key, key in removed.items() if not self.records[db_key])
        return self.records | {db_key: lmdb_encoding.removed(key) for db_key, key in long_keys}
