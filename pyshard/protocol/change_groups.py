"""Groups of changes as one store gives them to another: what has become of each record, in order. Pure.

Rules:

- a group says what each record has become, not how. So to apply a group twice, or on top of a part of it, does no harm;
- each change has index, slot, key, version and expiry, so that groups can be filtered by slot, and records are the same
  wherever they are applied;
- indexes are changed before records.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from msgspec import structs

from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.store_ranges import StoreRanges

#: Bytes of a change beside its key and its record, in MessagePack, at the most.
CHANGE_OVERHEAD = 48


class Change(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What has become of a record.

    :param index: the id of its index; 0 is the default index.
    :param slot: the slot of its key.
    :param key: the key's text in UTF-8.
    :param version: see `pyshard.storage.batch_executor.StoredRecord`; 0 if it was removed.
    :param expires: milliseconds since 1970; 0: never.
    :param record: the record's bytes; None: it was removed.
    """

    index: int
    slot: int
    key: bytes
    version: int
    expires: int
    record: bytes | None

    @property
    def size(self) -> int:
        """Bytes that it takes, at the most."""
        return len(self.key) + len(self.record or b"") + CHANGE_OVERHEAD


class ChangeGroup(msgspec.Struct, array_like=True, frozen=True):
    """Changes that take effect together.

    :param sequence: its number; each group's is higher than that of the one before.
    :param ballot: see `pyshard.storage.durable.log_format.Group`.
    :param version: the last version that the store has given to a write.
    :param changes: of records, in any order, each record once.
    :param indexes: name → id of all named indexes; None: as before.
    :param text: what the shard remembers; None: as before.
    :param next_index: no index has had this id or a higher one; it goes with `indexes`.
    :param ranges: the store's ranges; None: as before.
    """

    sequence: int
    ballot: int
    version: int
    changes: list[Change]
    indexes: dict[str, int] | None = None
    text: bytes | None = None
    next_index: int = 0
    ranges: StoreRanges | None = None

    @property
    def size(self) -> int:
        """Bytes that it takes, at the most."""
        return sum(change.size for change in self.changes) + len(self.text or b"") + CHANGE_OVERHEAD

    def of_slots(self, ranges: SlotRanges | None) -> ChangeGroup:
        """The group with those changes alone whose slots are in some ranges; None: with all."""
        if ranges is None:
            return self
        return structs.replace(self, changes=[change for change in self.changes if in_ranges(change.slot, ranges)])


def without_gaps(groups: Iterable[ChangeGroup]) -> list[ChangeGroup]:
    """Those groups that change something, and the last one in any case, since it says how far they go."""
    found: list[ChangeGroup] = []
    last = None
    for last in groups:
        if last.changes or last.indexes is not None or last.text is not None or last.ranges is not None:
            found.append(last)
    if last is not None and (not found or found[-1] is not last):
        found.append(last)
    return found


class JoinedGroup(NamedTuple):
    """Several groups as one.

    :param after: everything up to the group of this number is to be there before.
    :param group: the last one, with the changes of all.
    """

    after: int
    group: ChangeGroup


def joined(groups: Iterable[ChangeGroup], most: int, stop: int = 0) -> list[JoinedGroup]:
    """Fewer groups that come to the same: to take each costs a sync of the disk.

    Only changes of records and the ranges stay: nothing else is for who has only some of the slots.

    :param groups: in order.
    :param most: bytes that one may have; a group that is larger stays alone.
    :param stop: none has changes from before the end of this group, and from behind it.
    :return: those with ranges have no changes from behind these.
    """
    found: list[JoinedGroup] = []
    changes: dict[tuple[int, bytes], Change] = {}
    after, size = 0, 0
    last: ChangeGroup | None = None
    for group in groups:
        if last is None:
            after = group.sequence - 1
        elif last.ranges is not None or size + group.size > most or last.sequence <= stop < group.sequence:
            found.append(JoinedGroup(after, _with_changes(last, changes)))
            changes, size, after = {}, 0, group.sequence - 1
        changes |= {(change.index, change.key): change for change in group.changes}
        size += group.size
        last = group
    return found if last is None else [*found, JoinedGroup(after, _with_changes(last, changes))]


def _with_changes(group: ChangeGroup, changes: dict[tuple[int, bytes], Change]) -> ChangeGroup:
    return ChangeGroup(group.sequence, group.ballot, group.version, list(changes.values()), ranges=group.ranges)
