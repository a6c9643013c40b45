"""One index of a durable store, as one batch reads and writes it: records found, put into the memtable, counted.

Rules:

- a batch that only reads has neither counters nor memtable;
- a run without long keys goes in columns, by calls in C over all keys;
- what a batch looks at is counted (`LookBudget`), where records may be so long that it could be too much;
- each of `write`, `has` and `read` falls back to its plain twin, which does key by key
  (tests/storage/durable/test_index_records.py compares them).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import repeat

from pyshard.protocol.batch_answers import VERSION, Result
from pyshard.protocol.columns import longest, total_size
from pyshard.settings import settings
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.memtable import Value
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.look_budget import FIRST, LookBudget
from pyshard.storage.read_ahead import read_ahead
from pyshard.storage.slot_histogram import BUCKET_BITS
from pyshard.storage.store_index import StoredRecord, growth

_FEW = 16  # values: to look at each of so many takes no longer than to ask whether any can have an expiry


class DurableIndex:
    """`StoreIndex` over a merged view.

    :param view: the records.
    :param number: id of the index.
    :param counters: None: for reading only.
    :param memtable: takes changed records, and is the newest layer of the view; None: for reading only.
    :param looks: what the batch may look at; None: nobody asks.
    """

    def __init__(
        self,
        view: MergedView,
        number: int,
        counters: Counters | None = None,
        memtable: GroupChanges | None = None,
        looks: LookBudget | None = None,
    ) -> None:
        self._view = view
        self._number = number
        self._counters = counters
        self._memtable = memtable
        self._looks = looks or LookBudget()
        self._long: tuple[bytes, bytes] | None = None  # the long key that was last hashed, with its database key

    def find(self, key: bytes, slot: int) -> StoredRecord | None:
        """See `StoreIndex`."""
        value = self._view.get(self._database_key(slot, key))
        if value is None:
            return None
        self._looks.took(len(value))
        return lmdb_encoding.unpack(key, value)

    def put(self, key: bytes, slot: int, new: StoredRecord, old: StoredRecord | None, grows: int) -> None:
        """See `StoreIndex`."""
        assert self._counters is not None
        assert self._memtable is not None
        db_key = self._database_key(slot, key)
        self._memtable.put(db_key, lmdb_encoding.pack(key, new), new.expires)
        if old is None:
            self._count(slot, 1, grows)
        else:
            self._counters.used += grows

    def delete(self, key: bytes, slot: int, old: StoredRecord, size: int) -> None:
        """See `StoreIndex`."""
        self.remove(self._database_key(slot, key), key, slot, size)

    def remove(self, db_key: bytes, key: bytes, slot: int, size: int) -> None:
        """As `delete`, for who has the database key."""
        assert self._memtable is not None
        self._memtable.remove_key(db_key, key)
        self._count(slot, -1, -size)

    def write(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> int:
        """See `StoreIndex`."""
        if not _none_is_long(keys):
            return self.write_plainly(keys, slots, records, versions)
        counters, memtable = self._counters, self._memtable
        assert counters is not None
        assert memtable is not None
        used = counters.used
        db_keys = lmdb_encoding.database_keys(self._number, slots, keys)
        self._count_written(keys, slots, records, self._view.get_many(db_keys))
        memtable.put_many(db_keys, lmdb_encoding.pack_many(versions, records), *lmdb_encoding.bytes_of_values(records))
        return counters.used - used

    def write_plainly(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], versions: Sequence[int]
    ) -> int:
        """As `write`, key by key, also for long keys."""
        assert self._counters is not None
        used = self._counters.used
        for key, slot, record, version in zip(keys, slots, records, versions, strict=True):
            new, old = StoredRecord(version, 0, record), self.find(key, slot)
            self.put(key, slot, new, old, growth(key, new, old))
        return self._counters.used - used

    def has(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        """See `StoreIndex`."""
        if not _none_is_long(keys):
            return self.has_plainly(keys, slots, now)
        results: list[Result] = []
        for part in self._looks.parts(len(keys)):
            results += self._has(keys[part], slots[part], now)
        return results

    def _has(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        values = self._live_values(keys, slots, now)
        if len(keys) > _FEW and not self._view.may_be_longer(self._looks.whole // settings.MAX_BATCH):
            return [value is not None for value in values]
        results: list[Result] = []
        looks = self._looks
        for value in values:
            results.append(value is not None)
            if value is not None:
                looks.took(len(value))
                if looks.left <= 0:
                    break
        return results

    def has_plainly(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        """As `has`, key by key, also for long keys."""
        results: list[Result] = []
        for position, (key, slot) in enumerate(zip(keys, slots, strict=True)):
            if position % FIRST == 0:
                self._looks.look()
            stored = self.find(key, slot)
            results.append(stored is not None and not 0 < stored.expires <= now)
            if self._looks.left <= 0:
                break
        return results

    def read(self, keys: Sequence[bytes], slots: Sequence[int], now: int, room: int) -> list[Result]:
        """See `StoreIndex`."""
        if not _none_is_long(keys):
            return self.read_plainly(keys, slots, now, room)
        results: list[Result] = []
        for part in self._looks.parts(len(keys)):
            some = keys[part]
            found = lmdb_encoding.results(self._live_values(some, slots[part], now), room)
            results += found
            if part.stop >= len(keys) or len(found) < len(some):
                break
            room -= total_size(found)
        return results

    def read_plainly(self, keys: Sequence[bytes], slots: Sequence[int], now: int, room: int) -> list[Result]:
        """As `read`, key by key, also for long keys."""
        results: list[Result] = []
        for position, (key, slot) in enumerate(zip(keys, slots, strict=True)):
            if position % FIRST == 0:
                self._looks.look()
            if room <= 0 or self._looks.left <= 0:
                break
            stored = self.find(key, slot)
            if stored is None or 0 < stored.expires <= now:
                results.append(None)
            else:
                read_ahead(stored.record)
                results.append(VERSION.pack(stored.version) + stored.record)
                room -= VERSION.size + len(stored.record)
        return results

    def size(self, keys: Sequence[bytes], slots: Sequence[int], enough: int) -> int:
        """How many bytes the values of some keys have, more or less: of those that may be looked at.

        :param enough: from so many bytes on no further ones are counted, but for the rest of a value.
        """
        size = 0
        for some in self._looks.parts(len(keys)):
            db_keys = list(map(lmdb_encoding.database_key, repeat(self._number), slots[some], keys[some]))
            for value in filter(None, self._view.get_many(db_keys)):
                size += len(value)
                self._looks.took(len(value))
                if size >= enough or self._looks.left <= 0:
                    return size
        return size

    def _database_key(self, slot: int, key: bytes) -> bytes:
        """The database key of a record. To find it and to change it, a long key is hashed once."""
        if len(key) <= lmdb_encoding.LONGEST:
            return lmdb_encoding.database_key(self._number, slot, key)
        if self._long is None or self._long[0] is not key:
            self._long = key, lmdb_encoding.database_key(self._number, slot, key)
        return self._long[1]

    def _live_values(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> Iterator[Value | None]:
        """The values of keys of which none is long, each when it is asked for; None where there is no live record."""
        values = self._view.get_many(lmdb_encoding.database_keys(self._number, slots, keys))
        if not self._view.may_expire():
            return values
        return self._unexpired(keys, values, now)

    def _unexpired(self, keys: Sequence[bytes], values: Iterable[Value | None], now: int) -> Iterator[Value | None]:
        """These values, None in place of those that have expired. They count here, since nobody sees their size."""
        looks = self._looks
        for key, value in zip(keys, values, strict=True):
            if value is None or lmdb_encoding.is_live(key, value, now):
                yield value
            else:
                looks.took(len(value))
                yield None
                if looks.left <= 0:
                    return

    def _count_written(
        self, keys: Sequence[bytes], slots: Sequence[int], records: Sequence[bytes], before: Iterable[Value | None]
    ) -> None:
        """Count records that are written, of keys of which none is long.

        :param before: the values that were there.
        """
        counters = self._counters
        assert counters is not None
        if len(keys) <= _FEW or self._view.may_expire():
            before = list(before)
            expiring = lmdb_encoding.expiring([value for value in before if value is not None])
            counters.used -= expiring * settings.EXPIRY_OVERHEAD
        sizes = lmdb_encoding.sizes_of_values(before)
        replaced = lmdb_encoding.bytes_of_records(sizes)
        self._looks.left -= replaced
        counters.used += total_size(records) - replaced
        new = sizes.count(0)
        if new:
            made = [(key, slot) for key, slot, size in zip(keys, slots, sizes, strict=True) if not size]
            counters.used += sum([len(key) for key, _ in made]) + new * settings.ITEM_OVERHEAD
            bucket_counts = counters.bucket_counts
            for _, slot in made:
                bucket_counts[slot >> BUCKET_BITS] += 1
            counters.documents[self._number] = counters.documents.get(self._number, 0) + new

    def _count(self, slot: int, documents: int, used: int) -> None:
        counters = self._counters
        assert counters is not None
        counters.documents[self._number] = counters.documents.get(self._number, 0) + documents
        counters.bucket_counts[slot >> BUCKET_BITS] += documents
        counters.used += used


def _none_is_long(keys: Sequence[bytes]) -> bool:
    """Whether each key stands in its database key itself."""
    return longest(keys) <= lmdb_encoding.LONGEST
