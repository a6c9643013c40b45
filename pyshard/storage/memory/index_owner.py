"""What the indexes of a store in memory share: the store, as they see it."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pyshard.storage.memory.index_records import MemoryIndex


class IndexOwner(Protocol):
    """The store of an index: what all its indexes share.

    :ivar held: bytes that all records count.
    :ivar expired: records that were removed as they had expired.
    :ivar touched: set whenever a record changes.
    :ivar bucket_counts: documents in each bucket; see `pyshard.storage.slot_histogram`.
    :ivar noted_in: the indexes of which something is noted, by id (`MemoryIndex.take_notes`): most change nothing.
    """

    held: int
    expired: int
    touched: bool
    bucket_counts: array[int]
    noted_in: dict[int, MemoryIndex]

    def grown(self) -> object:
        """Is told when there are many more lists of keys than before; see `SlotIndex`."""
