"""What a durable primary has made and isn't committed: so that LMDB gets committed groups alone. Pure.

Readers see the memtable with all of it. What LMDB may get of a record is the value that it had after the last committed
group. Nearly always the memtable's own is that one, so only the others are kept here.

Rules:

- a group comes in before the memtable has its records;
- `settle` takes those out that are committed. Indexes become known to LMDB's counters then;
- whoever reads a record looks here afterwards, from another thread: so what the memtable has is here before;
- a record that is changed here stays in the memtable, whatever is flushed: there it hides what LMDB has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from typing import NamedTuple

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.memtable import FlushableMemtable, Memtable, some_of_indexes


class _Uncommitted(NamedTuple):
    sequence: int
    records: dict[bytes, bytes]
    counters: Counters
    text: bytes | None
    indexes: Mapping[str, int] | None
    next_index: int


class _SettledRecords(Mapping[bytes, bytes]):
    """Records of a memtable, some of them as they were before.

    :param before: what some of them were, and are still to be; None: nothing.
    """

    def __init__(self, records: Mapping[bytes, bytes], before: Mapping[bytes, bytes | None]) -> None:
        self._records = records
        self._before = before

    def __getitem__(self, db_key: bytes) -> bytes:
        if db_key not in self._before:
            return self._records[db_key]
        value = self._before[db_key]
        if value is None:
            raise KeyError(db_key)
        return value

    def __iter__(self) -> Iterator[bytes]:
        before = self._before
        return (db_key for db_key in self._records if db_key not in before or before[db_key] is not None)

    def __len__(self) -> int:
        return len(self._records) - list(self._before.values()).count(None)


class SettledMemtable:
    """`FlushableMemtable`: a memtable as it was after the last committed group. Plain twin: one that has these records.

    :param before: database key → value of records that are changed since; None: there was none.
    """

    def __init__(self, memtable: Memtable, before: Mapping[bytes, bytes | None]) -> None:
        self.records: Mapping[bytes, bytes] = _SettledRecords(memtable.records, before)
        expiries = (lmdb_encoding.expiry_of(value) for value in before.values() if value)
        self.first_expiry = memtable.first_expiry or min(filter(None, expiries), default=0)

    def some_of_dropped(self, firsts: Set[bytes], most: int, without: Collection[bytes]) -> list[bytes]:
        """See `Memtable`."""
        return some_of_indexes(self.records, firsts, most, without)


class UncommittedGroups:
    """Those of a primary.

    :param sequence: the number of the last committed group.
    :param counters: as they were after it.
    :param text: what the shard remembered then.
    :ivar sequence: the number of the last group that has settled; likewise the others.
    """

    def __init__(self, sequence: int, counters: Counters, text: bytes | None) -> None:
        self.sequence, self.counters, self.text = sequence, counters, text
        self._groups: deque[_Uncommitted] = deque()
        self._before: dict[bytes, bytes | None] = {}  # what LMDB may get of records that are changed; None: nothing
        self._newest_other = 0  # that of the last group that has changed more than records

    def __len__(self) -> int:
        """How many groups haven't settled."""
        return len(self._groups)

    def add(self, sequence: int, changes: GroupChanges, counters: Counters, memtable: Memtable) -> None:
        """A group was made.

        :param counters: as they are after it.
        :param memtable: what it had before.
        """
        group = _Uncommitted(sequence, changes.records, counters, changes.text, changes.indexes, changes.next_index)
        self._groups.append(group)
        before = self._before
        new = [db_key for db_key in changes.records if db_key not in before]
        before.update(zip(new, map(memtable.records.get, new), strict=True))
        if changes.must_sync:
            self._newest_other = sequence

    def any_of(self, db_keys: Iterable[bytes], committed: int) -> bool:
        """Whether a group behind a number has changed one of these records, or more than records."""
        if self._newest_other > committed:
            return True
        found = [db_key for db_key in db_keys if db_key in self._before]
        groups = [group.records for group in self._groups.copy() if group.sequence > committed] if found else []
        return any(db_key in records for records in groups for db_key in found)

    def settle(self, committed: int, lmdb_counters: Counters) -> None:
        """Take out the groups up to a number.

        :param lmdb_counters: get to know the newest indexes.
        """
        groups = self._groups
        settled: dict[bytes, bytes] = {}
        while groups and groups[0].sequence <= committed:
            group = groups.popleft()
            settled.update(group.records)
            if group.indexes is not None:
                lmdb_counters.set_indexes(group.indexes, group.next_index)
                lmdb_counters.indexes_since = group.sequence
            self.sequence, self.counters = group.sequence, group.counters
            self.text = self.text if group.text is None else group.text
        if not groups:
            self._before.clear()
        elif settled:
            self._settle_records(settled)

    def _settle_records(self, settled: dict[bytes, bytes]) -> None:
        """Take out records that committed groups have changed, unless a later one has changed them again.

        :param settled: as they are after the last committed group.
        """
        before = self._before
        again: set[bytes] = set().union(*(settled.keys() & group.records.keys() for group in self._groups))
        before.update((db_key, settled[db_key]) for db_key in again)
        deque(map(before.__delitem__, settled.keys() - again if again else settled), maxlen=0)

    def settled(self, memtable: Memtable) -> FlushableMemtable:
        """The records of a memtable as LMDB may get them; good until either changes."""
        return SettledMemtable(memtable, self._before) if self._before else memtable

    def flushed(self, flushed: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """LMDB has got some of these: which the memtable need not have any more."""
        before = self._before
        if not before:
            return flushed
        for db_key, value in flushed.items():
            if db_key in before and before[db_key] is value:
                before[db_key] = None
        return {db_key: value for db_key, value in flushed.items() if db_key not in before}
