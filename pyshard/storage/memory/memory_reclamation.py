"""Gives memory back that the records of a store don't need: that of large dicts, and of sparse pools.

Rules:

- nothing is copied out of sparse pools while there are two dicts of an index: a copy would free nothing;
- what a batch has changed is put right in the dicts that are made, before anything is copied for it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from pyshard.storage.memory.allocator_pools import ReadPools
from pyshard.storage.memory.compaction import Compaction
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.memory.table_renewal import TableRenewals


class MemoryReclamation:
    """The renewals and the compaction of a store.

    :param pools: tells of the allocator's pools.
    :param steady: the clock that times looks at them.
    """

    def __init__(self, pools: ReadPools, steady: Callable[[], float]) -> None:
        self.renewals, self.compaction = TableRenewals(), Compaction(pools, steady)

    @property
    def wants_changes(self) -> bool:
        """Whether `changed` is to be called after each batch."""
        return self.renewals.present is not None or self.compaction.is_late

    def step(self, indexes: Collection[MemoryIndex], most: int, held: int) -> bool:
        """Do some of what there is to do.

        :param most: how many records a sweep of the store may remove.
        :param held: bytes that the store's records count.
        :return: whether there is more to do.
        """
        more = self.renewals.step(indexes, most)
        return more if self.renewals.under_way else self.compaction.step(indexes, most, held) or more

    def changed(self, indexes: Collection[MemoryIndex], count: int, held: int) -> None:
        """Take note that a batch has changed records; for the other parameters see `step`.

        :param count: how many there were, about.
        """
        self.renewals.settle()
        if not self.compaction.is_late:
            return
        if self.renewals.under_way:
            self.renewals.keep_up(count)
        else:
            self.compaction.keep_up(indexes, count, held)
