"""Whether rows can be from a shard's snapshot: looked at when they come, and again when a backup is read. Pure.

Rules:

- a row that a shard would refuse fails the backup when it is taken, not when it is to be restored;
- a shard gives rows of its own ranges alone: others would take the places of other shards' documents;
- what a record holds isn't looked at. A restore leaves out what is no record.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from operator import attrgetter

import attrs

from pyshard.backup import manifest
from pyshard.model.cluster_state import DEFAULT_INDEX, ClusterState
from pyshard.model.key_slots import slots_of
from pyshard.model.slot_ranges import SlotRanges, holds_all, in_ranges, shown
from pyshard.protocol.pages import Row
from pyshard.protocol.row_faults import key_fault, length_fault

_INDEX = attrgetter("index")
_KEY = attrgetter("key")
_RECORD = attrgetter("record")


@attrs.frozen
class RowCheck:
    """What rows of one shard have to be.

    :param names: the indexes that there are: id → name.
    :param ranges: the shard's.
    """

    names: dict[int, str]
    ranges: SlotRanges

    @classmethod
    def of(cls, state: ClusterState, shard: str) -> RowCheck:
        """That for a shard of a cluster; one that isn't there has no rows."""
        own = state.map.named(shard)
        names = {number: name for name, number in state.indexes.items()} | {DEFAULT_INDEX: ""}
        return cls(names, () if own is None else own.ranges)

    def fault(self, rows: Sequence[Row]) -> str | None:
        """Why rows can't be from its snapshot; None: they can."""
        return next(self._faults(rows), None)

    def _faults(self, rows: Sequence[Row]) -> Iterator[str]:
        unknown = {row.index for row in rows} - self.names.keys()
        if unknown:
            yield f"found a record of index {min(unknown)}, which isn't in {manifest.STATE}"
        for fault in (key_fault(list(map(_KEY, rows))), length_fault(list(map(_RECORD, rows)))):
            if fault is not None:
                yield f"found {fault}"
        soonest = min([row.expires for row in rows], default=0)
        if soonest < 0:
            yield f"found a record that expires at {soonest} ms, expected 0 or a time since 1970"
        for index, neighbors in groupby(rows, _INDEX):
            slots = slots_of(list(map(_KEY, neighbors)), self.names[index].encode())
            if not holds_all(self.ranges, slots):
                outside = next(slot for slot in slots if not in_ranges(slot, self.ranges))
                yield f"found a key of slot {outside:,}, outside of the shard's ranges: {shown(self.ranges)}"
