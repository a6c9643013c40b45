"""What a durable store counts: bytes, documents, versions; in memory, and as it is saved in LMDB.

Rules:

- counters belong to a group of changes as its records do: a group works on a copy, which takes effect with it;
- there are two sets: one counts all that there is, one counts only what is in LMDB, and is saved there;
- both know the newest indexes. So those that LMDB knows may be newer than its records;
- what is hidden counts with all the rest. It is counted once more in the first set alone, and anew at each start.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping

import attrs
import msgspec

from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.storage import index_ids
from pyshard.storage.hidden_counts import HiddenCounts
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
    next_index: int
    ranges: StoreRanges
    origin: Origin | None


@attrs.define
class Counters:
    """What is counted of some records.

    :param version: the last version given to a write.
    :param used: bytes that all records count.
    :param documents: index id → documents. A dropped index isn't in it.
    :param dropped: ids of dropped indexes whose records aren't all swept away yet.
    :param bucket_counts: documents in each bucket; see `pyshard.storage.slot_histogram`.
    :param sequence: the last group of the log that LMDB has completely; 0: there is no log yet.
    :param ballot: the ballot of the last group; see `pyshard.protocol.log_groups.LogGroup`.
    :param indexes: name → id of the named indexes; never changed, but replaced.
    :param indexes_since: the group of the log that has set them; 0: none has.
    :param next_index: no index has had this id or a higher one.
    :param hidden: the store's ranges, and what is counted of those that are hidden.
    :param origin: whose groups the store absorbs as a whole, and how far it is; None: nobody's.
    :param expired: records that were removed as they had expired, since the store was opened; it isn't saved.
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
    next_index: int = DEFAULT_INDEX + 1
    hidden: HiddenCounts = attrs.field(factory=HiddenCounts)
    origin: Origin | None = None
    expired: int = 0

    @property
    def follows(self) -> bool:
        """Whether the store does what another one does, and nothing by itself."""
        return self.origin is not None

    @property
    def used_of_limit(self) -> int:
        """Bytes that count against the limit: `used` without what is left over."""
        return self.used - self.hidden.used(staged=False)

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
        indexes = (read.indexes, read.indexes_since, read.next_index)
        return cls(*counts, read.sequence, read.ballot, *indexes, HiddenCounts(read.ranges), read.origin)

    def packed(self) -> bytes:
        """The bytes to save."""
        counts = (self.version, self.used, self.documents, self.dropped, self.bucket_counts.tobytes())
        indexes = (dict(self.indexes), self.indexes_since, self.next_index)
        saved = _SavedCounters(*counts, self.sequence, self.ballot, *indexes, self.hidden.ranges, self.origin)
        return msgspec.msgpack.encode(saved)

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
            self.next_index,
            self.hidden.copy(),
            self.origin,
            self.expired,
        )

    def set_indexes(self, indexes: Mapping[str, int], next_index: int = 0) -> None:
        """Have exactly these named indexes and the default one; see `IStore.set_indexes`.

        :param indexes: name → id.
        :param next_index: no index has had this id or a higher one.
        :raises BadRequest: the id of a dropped index comes back.
        """
        index_ids.refuse_dropped(indexes, self.documents.keys(), self.next_index)
        self.next_index = index_ids.next_index(self.next_index, indexes, next_index)
        wanted = {DEFAULT_INDEX, *indexes.values()}
        for number in self.documents.keys() - wanted:
            del self.documents[number]
            self.hidden.drop_index(number)
            if number not in self.dropped:
                self.dropped.append(number)
        for number in wanted - self.documents.keys():
            self.documents[number] = 0
        self.indexes = dict(indexes)

    def next_versions(self, count: int) -> range:
        """Versions for so many writes."""
        self.version += count
        return range(self.version - count + 1, self.version + 1)
