"""What a durable store counts: bytes, documents, versions; in memory, and as it is saved in LMDB.

Rules:

- counters belong to a group of changes as its records do: a group works on a copy, which takes effect with it;
- there are two sets: one counts all that there is, one counts only what is in LMDB, and is saved there;
- both know the newest indexes. So those that LMDB knows may be newer than its records.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import attrs
import msgspec

from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.storage.slot_histogram import new_bucket_counts


class _SavedCounters(msgspec.Struct, array_like=True):
    """Counters as they are saved; see `Counters`. docs/storage.md has the format."""

    version: int
    used: int
    documents: dict[int, int]
    dropped: list[int]
    bucket_counts: bytes
    sequence: int
    ballot: int
    indexes: dict[str, int]
    indexes_since: int


@attrs.define
class Counters:
    """What is counted of some records.

    :param version: the last version given to a write.
    :param used: bytes that count against the limit.
    :param documents: index id → documents. A dropped index isn't in it.
    :param dropped: ids of dropped indexes whose records aren't all swept away yet.
    :param bucket_counts: documents in each bucket; see `pyshard.storage.slot_histogram`.
    :param sequence: the last group of the log that LMDB has completely; 0: there is no log yet.
    :param ballot: the ballot of the last group; see `pyshard.storage.durable.log_format.Group`.
    :param indexes: name → id of the named indexes; never changed, but replaced.
    :param indexes_since: the group of the log that has set them; 0: none has.
    """

    version: int
    used: int
    documents: dict[int, int]
    dropped: list[int]
    bucket_counts: array[int]
    sequence: int = 0
    ballot: int = 0
    indexes: Mapping[str, int] = {}
    indexes_since: int = 0

    @classmethod
    def first(cls, seconds: float) -> Counters:
        """The counters of a store without data.

        :param seconds: the time since 1970. Versions begin with it in microseconds, as a memory store's do, so that
            they are above those of data that were lost.
        """
        return cls(int(seconds * 1_000_000), 0, {DEFAULT_INDEX: 0}, [], new_bucket_counts())

    @classmethod
    def unpacked(cls, saved: bytes) -> Counters:
        """Counters as they were saved.

        :param saved: what `packed` gave.
        :raises ValueError: it is damaged.
        """
        read = msgspec.msgpack.decode(saved, type=_SavedCounters)
        bucket_counts = new_bucket_counts(read.bucket_counts)
        counts = (read.version, read.used, read.documents, read.dropped, bucket_counts)
        return cls(*counts, read.sequence, read.ballot, read.indexes, read.indexes_since)

    def packed(self) -> bytes:
        """The bytes to save."""
        counts = (self.version, self.used, self.documents, self.dropped, self.bucket_counts.tobytes())
        indexes = (dict(self.indexes), self.indexes_since)
        return msgspec.msgpack.encode(_SavedCounters(*counts, self.sequence, self.ballot, *indexes))

    def copy(self) -> Counters:
        """The same counters, for the next group to change."""
        return Counters(
            self.version,
            self.used,
            dict(self.documents),
            list(self.dropped),
            self.bucket_counts[:],
            self.sequence,
            self.ballot,
            self.indexes,
            self.indexes_since,
        )

    def set_indexes(self, indexes: Mapping[str, int]) -> None:
        """Have exactly these named indexes and the default one; see `IStore.set_indexes`.

        :param indexes: name → id. The id of a dropped index must never come back.
        """
        wanted = {DEFAULT_INDEX, *indexes.values()}
        for number in self.documents.keys() - wanted:
            del self.documents[number]
            if number not in self.dropped:
                self.dropped.append(number)
        for number in wanted - self.documents.keys():
            self.documents[number] = 0
        self.indexes = dict(indexes)

    def next_versions(self, count: int) -> range:
        """Versions for so many writes."""
        self.version += count
        return range(self.version - count + 1, self.version + 1)
