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
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.memtable import FlushableMemtable, Memtable


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

    def some_of_dropped(self, index: int, first: bytes, most: int, without: Collection[bytes]) -> list[bytes]:
        """See `Memtable`."""
        return list(islice((key for key in self.records if key.startswith(first) and key not in without), most))


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
        self._newest: dict[bytes, int] = {}  # the number of the last group that has changed each of them
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
        value_of, before = memtable.records.get, self._before
        for db_key in changes.records:  # not `keys() - keys()`, which looks at all that is in the second one
            if db_key not in before:
                before[db_key] = value_of(db_key)
        self._newest.update(dict.fromkeys(changes.records, sequence))
        if changes.must_sync:
            self._newest_other = sequence

    def any_of(self, db_keys: Iterable[bytes], committed: int) -> bool:
        """Whether a group behind a number has changed one of these records, or more than records."""
        newest_of = self._newest.get
        return self._newest_other > committed or any(newest_of(db_key, 0) > committed for db_key in db_keys)

    def settle(self, committed: int, lmdb_counters: Counters) -> None:
        """Take out the groups up to a number.

        :param lmdb_counters: get to know the newest indexes.
        """
        groups, before, newest = self._groups, self._before, self._newest
        while groups and groups[0].sequence <= committed:
            group = groups.popleft()
            for db_key, value in group.records.items():
                if newest[db_key] > group.sequence:
                    before[db_key] = value
                else:
                    del before[db_key], newest[db_key]
            if group.indexes is not None:
                lmdb_counters.set_indexes(group.indexes, group.next_index)
                lmdb_counters.indexes_since = group.sequence
            self.sequence, self.counters = group.sequence, group.counters
            self.text = self.text if group.text is None else group.text

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
