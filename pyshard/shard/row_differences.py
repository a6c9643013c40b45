"""What has to be done to some rows of a copy so that they are those of its source, both as they were after one group.

Pure. Rules:

- the copy's rows are added first, all of them. Of each no more is remembered than its key and its digest;
- then come the source's rows, in any order and some at a time: those that the copy lacks, or has otherwise, are to be
  put. What the source hasn't given in the end is to be removed;
- each of these changes is right by itself, whether the others are done or not.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from pyshard.protocol.change_groups import Change
from pyshard.protocol.row_digests import row_digest


class RowDifferences:
    """The differences of two sets of rows.

    :param indexes: the ids of the indexes whose rows count.
    """

    def __init__(self, indexes: Collection[int]) -> None:
        self._indexes = frozenset(indexes)
        self._ours: dict[tuple[int, int, bytes], bytes] = {}  # of those that the source hasn't given yet

    def add_own(self, rows: Iterable[Change]) -> None:
        """Note rows of the copy."""
        for row in rows:
            if row.index in self._indexes:
                self._ours[row.index, row.slot, row.key] = row_digest(row)

    def to_put(self, rows: Iterable[Change]) -> list[Change]:
        """Those of some rows of the source that the copy hasn't just so."""
        return [
            row
            for row in rows
            if row.index in self._indexes and self._ours.pop((row.index, row.slot, row.key), None) != row_digest(row)
        ]

    def to_remove(self) -> list[Change]:
        """The removal of each row that the source hasn't given."""
        return [Change(index, slot, key, 0, 0, None) for index, slot, key in self._ours]
