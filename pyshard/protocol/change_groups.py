"""Groups of changes as one store gives them to another: what has become of each record, in order. Pure.

Rules:

- a group says what each record has become, not how. So to apply a group twice, or on top of a part of it, does no harm;
- each change has index, slot, key, version and expiry, so that groups can be filtered by slot, and records are the same
  wherever they are applied;
- indexes are changed before records.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
    :param version: see `pyshard.storage.store_index.StoredRecord`; 0 if it was removed.
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


class ChangeGroup(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Changes that take effect together. Python's garbage collector doesn't look at it, as it is in no cycle.

    :param sequence: its number; each group's is higher than that of the one before.
    :param ballot: see `pyshard.protocol.log_groups.LogGroup`.
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
        changes = [change for change in self.changes if in_ranges(change.slot, ranges)]
        return self if len(changes) == len(self.changes) else structs.replace(self, changes=changes)


def are_index_ids(indexes: Mapping[str, int] | None, next_index: int) -> bool:
    """Whether a store can have these ids of indexes, with 4 bytes for each; for the parameters see `ChangeGroup`."""
    ids = () if indexes is None else indexes.values()
    return 0 <= next_index <= 2**32 and all(0 < number < 2**32 for number in ids)


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


def merged(groups: Iterable[ChangeGroup]) -> list[ChangeGroup]:
    """Groups that do together what these do, as few as may be: one that changes more than records stays alone.

    A record that several have changed is what the last one made of it, so what is between can't be seen any more.
    """
    found: list[ChangeGroup] = []
    records: dict[tuple[int, bytes], Change] = {}
    last: ChangeGroup | None = None  # of those that `records` are of
    for group in groups:
        if group.indexes is None and group.text is None and group.ranges is None:
            records |= {(change.index, change.key): change for change in group.changes}
            last = group
            continue
        if last is not None:
            found.append(structs.replace(last, changes=list(records.values())))
            records, last = {}, None
        found.append(group)
    if last is not None:
        found.append(structs.replace(last, changes=list(records.values())))
    return found
