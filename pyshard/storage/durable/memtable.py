"""The memtable: the newest value of each record that is changed in the log and not yet in LMDB.

Rules:

- a removed record is in it as `REMOVED`, so that it hides what LMDB still has;
- `records` is in order of change; `sorted_keys` gives the keys in order, and sorts only what is new;
- `first_expiry` is never later than the earliest expiry, but may be earlier: `expired` sets it right. It is all that
  readers look at of expiries; what knows of each (`pyshard.storage.durable.expiry_heap`) is the writer's.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Mapping, Sequence, Set
from itertools import islice
from typing import Protocol, TypeAlias

from pyshard.model.slot_ranges import SlotRanges
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.expiry_heap import ExpiryHeap

#: A value as `pyshard.storage.durable.lmdb_encoding` packs it.
Value: TypeAlias = bytes | memoryview

#: In place of the value of a removed record. No record has this value: each begins with a version of 8 bytes.
REMOVED = b""

_EACH = 150  # bytes that a record takes in memory beside its value


def some_of_indexes(db_keys: Iterable[bytes], firsts: Set[bytes], most: int, without: Collection[bytes]) -> list[bytes]:
    """Those of some indexes, however many these are, in one go; for the parameters see `Memtable.some_of_dropped`."""
    length = lmdb_encoding.INDEX_BYTES
    of_indexes = (db_key for db_key in db_keys if db_key[:length] in firsts and db_key not in without)
    return list(islice(of_indexes, most))


class FlushableMemtable(Protocol):
    """What of a memtable LMDB gets; see `Memtable`."""

    @property
    def records(self) -> Mapping[bytes, bytes]:
        """See `Memtable`."""
        ...

    @property
    def first_expiry(self) -> int:
        """See `Memtable`."""
        ...

    def some_of_dropped(self, firsts: Set[bytes], most: int, without: Collection[bytes]) -> list[bytes]:
        """See `Memtable`."""
        ...


class Memtable:
    """Changed records, in memory.

    :ivar records: database key → value, or `REMOVED`.
    :ivar longest: no value that is or was here has more bytes.
    :ivar put_bytes: bytes of all values that were ever put here, also of those that others took the place of.
    :ivar given_bytes: bytes of the records that the answers to these changes give, such as those of `pop`.
    :ivar first_expiry: no value expires earlier, in milliseconds since 1970; 0: no value expires.
    """

    def __init__(self) -> None:
        self.records: dict[bytes, bytes] = {}
        self.first_expiry = 0
        self.longest = 0
        self.put_bytes = 0
        self.given_bytes = 0
        self._sorted_keys: list[bytes] = []
        self._expiries = ExpiryHeap(self.records)
        self._cleared: Set[bytes] = frozenset()  # first bytes of dropped indexes of which there is surely nothing

    def put(self, db_key: bytes, value: bytes, expires: int) -> None:
        """Set the value of a record."""
        self.records[db_key] = value
        self.put_bytes += len(value)
        self.longest = max(self.longest, len(value))
        if expires:
            self.note_expiry(db_key, expires)

    def put_many(self, db_keys: Sequence[bytes], values: Iterable[bytes], size: int, longest: int) -> None:
        """Set the values of many records without expiry. Plain twin: `put`.

        :param size: bytes that the values have together.
        :param longest: bytes that none of them is longer than.
        """
        self.records.update(zip(db_keys, values, strict=True))
        self.put_bytes += size
        self.longest = max(self.longest, longest)

    def remove(self, db_key: bytes) -> None:
        """Mark a record as removed."""
        self.records[db_key] = REMOVED

    def merge(self, newer: Memtable) -> None:
        """Put newer changes over these."""
        self.records.update(newer.records)
        self.longest = max(self.longest, newer.longest)
        if newer.first_expiry:
            self._expiries.merge(newer._expiries)  # it is a memtable, too
            self._note_first(newer.first_expiry)

    def discard(self, flushed: dict[bytes, bytes]) -> None:
        """Drop records that LMDB has now, unless they were changed again.

        :param flushed: database key → value as it was flushed; each key is in `records`.
        """
        records = self.records
        for db_key, value in flushed.items():
            if records[db_key] is value:
                del records[db_key]
        self._sorted_keys = []
        if self.first_expiry:
            self.first_expiry = self._expiries.first()

    def copy(self) -> Memtable:
        """The same records, which later changes of this one don't touch. It is for readers: `expired` gives none."""
        copied = Memtable()
        copied.records = self.records.copy()  # five times as fast as to put all of them into an empty one
        copied.longest, copied.first_expiry = self.longest, self.first_expiry
        return copied

    def bytes_in_memory(self) -> int:
        """Bytes that a copy of it keeps: what it has, and its own dict, more or less."""
        return sum(map(len, self.records.values())) + len(self.records) * _EACH

    def sorted_keys(self) -> list[bytes]:
        """The database keys in order; the caller must not change the list. Plain twin: `sorted(records)`."""
        keys = self._sorted_keys
        if len(keys) < len(self.records):  # a dict has its newest keys at its end
            keys = [*keys, *islice(self.records, len(keys), None)]
            keys.sort()
            self._sorted_keys = keys  # only now: the other thread may look at it at any moment
        return keys

    def some_of_dropped(self, firsts: Set[bytes], most: int, without: Collection[bytes]) -> list[bytes]:
        """Database keys of records of dropped indexes, which get none any more.

        :param firsts: of all dropped indexes; see `pyshard.storage.durable.lmdb_encoding.first_bytes`.
        :param most: how many at the most.
        :param without: records that are left out.
        """
        if firsts <= self._cleared:
            return []
        some = some_of_indexes(self.records, firsts, most, without)
        if most > 0 and not some and not without:
            self._cleared = firsts
        return some

    def expired(self, now: int, hidden: SlotRanges = ()) -> Generator[bytes, None, None]:
        """Database keys of records that have expired, the earliest first. It must be closed, or taken to its end.

        :param now: milliseconds since 1970.
        :param hidden: see `ExpiryHeap.due`.
        """
        if 0 < self.first_expiry <= now:
            self.first_expiry = self._expiries.first()  # the record that it was of may have another expiry now
            yield from self._expiries.due(now, hidden)

    def note_expiry(self, db_key: bytes, expires: int) -> None:
        """Know that a record's value expires, and when."""
        self._expiries.add(expires, db_key)
        self._note_first(expires)

    def _note_first(self, expires: int) -> None:
        if not 0 < self.first_expiry <= expires:
            self.first_expiry = expires
