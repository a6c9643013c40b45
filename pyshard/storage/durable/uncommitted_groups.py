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
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.memtable import Memtable


class _Uncommitted(NamedTuple):
    sequence: int
    records: dict[bytes, bytes]
    counters: Counters
    text: bytes | None
    indexes: Mapping[str, int] | None
    next_index: int


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
        for db_key in changes.records.keys() - before.keys():
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

    def settled(self, memtable: Memtable) -> Memtable:
        """The records of a memtable as LMDB may get them."""
        if not self._before:
            return memtable
        kept = memtable.copy()
        for db_key, value in self._before.items():
            if value is None:
                del kept.records[db_key]
            else:
                kept.records[db_key] = value
                expires = lmdb_encoding.expiry_of(value) if value else 0
                kept.first_expiry = min(kept.first_expiry or expires, expires) if expires else kept.first_expiry
        return kept

    def flushed(self, flushed: dict[bytes, bytes]) -> dict[bytes, bytes]:
        """LMDB has got some of these: which the memtable need not have any more."""
        before = self._before
        if not before:
            return flushed
        for db_key, value in flushed.items():
            if db_key in before and before[db_key] is value:
                before[db_key] = None
        return {db_key: value for db_key, value in flushed.items() if db_key not in before}
