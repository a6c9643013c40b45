"""What a durable store counts: in memory, and as it is saved in LMDB.

Counters belong to a group of changes as its records do: each group works on a copy of those of the last one.
"""

from __future__ import annotations

from array import array

import attrs
import msgspec

from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.storage.histogram import new_counts


class Counters(msgspec.Struct, array_like=True):
    """What is counted, as it is saved with each commit.

    :param version: the last one given.
    :param used: bytes that count against the limit.
    :param documents: index id → documents; an index that is dropped and not yet swept away is in `dropped`.
    :param dropped: ids of such indexes.
    :param buckets: the counts of `pyshard.storage.histogram`.
    :param sequence: the number of the last group of changes that is in LMDB; 0: there is no log yet.
    """

    version: int
    used: int
    documents: dict[int, int]
    dropped: list[int]
    buckets: bytes
    sequence: int = 0


@attrs.define
class State:
    """The counters during and after one group of changes; see `Counters`."""

    version: int
    used: int
    documents: dict[int, int]
    dropped: list[int]
    counts: array[int]
    sequence: int = 0

    @classmethod
    def first(cls, seconds: float) -> State:
        """Those of a store without data.

        :param seconds: the time since 1970. Versions begin with it in microseconds, as a memory store's do, so that
            they are above those of data that were lost.
        """
        return cls(int(seconds * 1_000_000), 0, {DEFAULT_INDEX: 0}, [], new_counts())

    @classmethod
    def unpacked(cls, saved: bytes) -> State:
        """Those that were saved.

        :raises ValueError: they are damaged.
        """
        one = msgspec.msgpack.decode(saved, type=Counters)
        return cls(one.version, one.used, one.documents, one.dropped, new_counts(one.buckets), one.sequence)

    def copy(self) -> State:
        """The same, for the next group."""
        return State(self.version, self.used, dict(self.documents), list(self.dropped), self.counts[:], self.sequence)

    def packed(self) -> bytes:
        """As they are saved."""
        buckets = self.counts.tobytes()
        return msgspec.msgpack.encode(
            Counters(self.version, self.used, self.documents, self.dropped, buckets, self.sequence)
        )

    def next_versions(self, count: int) -> range:
        """Versions for so many writes."""
        self.version += count
        return range(self.version - count + 1, self.version + 1)
