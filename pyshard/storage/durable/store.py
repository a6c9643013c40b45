"""The durable store: `IStore` over the data of a data directory.

A batch with any change goes to the writer (`pyshard.storage.durable.group_commit`), which does all that wait together
and answers them when they are on the disk (`pyshard.storage.durable.engine`). A batch that only reads is answered at
once. What a group changes is visible to nobody before it is done.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lmdb
import msgspec
from twisted.internet.defer import Deferred, fail, succeed

from pyshard.errors import ConfigError, StorageFailed
from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.protocol.answers import Answer
from pyshard.protocol.batches import Has, Read, ReadItem, weight
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import State
from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.engine import FIRST_MAP, MOST_CHANGED, Change, Commit, Durability, DurableData, Job
from pyshard.storage.durable.write_transaction import Writing
from pyshard.storage.durable.group_commit import GroupCommit
from pyshard.storage.durable.lmdb_index import LmdbTable
from pyshard.storage.durable.memtable import Changes, View
from pyshard.storage.executor import Application, no_such_index
from pyshard.storage.histogram import histogram
from pyshard.storage.interface import Page, Task
from pyshard.storage.snapshot import Snapshot, expired_in, stored_rows

_JOB = 1024  # bytes that a job that waits takes beside those of its runs
_ASSIGNMENT = b"assignment"


class LmdbStore:
    """`IStore` in a data directory; see `pyshard.storage.interface` for what each method promises.

    It must be made after daemonizing, since an LMDB environment does not survive a fork.

    :param directory: the locked data directory; it is closed with the store, or when that can't be opened.
    :param seconds: the time since 1970, for versions and expiry.
    :param call_from_thread: has a function called in the reactor's thread; None: no writer thread, every change is
        committed where it is asked for.
    :param durability: when a change is acknowledged.
    :param first_map: bytes of address space to begin with.
    :param most_changed: records that may have been changed until the changes go from the log into LMDB.
    :raises ConfigError: the data can't be opened.
    """

    ephemeral = False

    def __init__(
        self,
        directory: DataDirectory,
        seconds: Callable[[], float],
        call_from_thread: Callable[..., Any] | None = None,
        durability: Durability = Durability.FSYNC,
        first_map: int = FIRST_MAP,
        most_changed: int = MOST_CHANGED,
    ) -> None:
        self.identity = directory.identity
        self._directory = directory
        self._seconds = seconds
        self._snapshots: set[Snapshot] = set()  # those that are open
        try:
            self._data = DurableData(directory, seconds, durability, first_map, most_changed)
            with self._data.environment.begin() as transaction:
                self._remembered = self._data.meta(transaction, _ASSIGNMENT)
        except ConfigError:
            directory.close()
            raise
        except (lmdb.Error, OSError, ValueError, msgspec.MsgspecError) as error:
            directory.close()
            raise ConfigError(f"{directory.records}: the data can't be opened ({error})") from None
        self._data.on_growth = self._outgrown
        self._writer: GroupCommit[Job] = GroupCommit(self._data.do, call_from_thread, self._data.settle)

    @classmethod
    def check(cls, directory: DataDirectory) -> None:
        """Open the data and let go of them again, to find out before daemonizing that they can't be opened.

        :raises ConfigError: they can't.
        """
        cls(directory, lambda: 0.0)._data.close()

    @property
    def documents(self) -> int:
        return sum(self._data.state.documents.values())

    @property
    def used(self) -> int:
        return self._data.state.used

    def apply(self, tasks: Sequence[Task], limit: int, room: int) -> Deferred[list[Answer]]:
        if all(isinstance(task.run, Read | Has | ReadItem) for task in tasks):
            try:
                with self._data.reading() as view:
                    return succeed(self._applied(view, self._data.state, None, tasks, limit, room))
            except lmdb.Error as error:
                return fail(_unreadable(error))
        change = Change(lambda view, state, changes: self._applied(view, state, changes, tasks, limit, room))
        return self._writer.submit(change, _JOB + sum(weight(task.run) for task in tasks))

    def holds(self, index: int, keys: Sequence[bytes]) -> bool:
        return False  # its own keys begin with the slot

    def page(self, index: int, start: int, after: bytes | None, end: int, most: int, most_bytes: int) -> Deferred[Page]:
        if index not in self._data.state.documents:
            return fail(no_such_index(index))
        now, page = self._now(), Page([], False)
        first = (
            lmdb_encoding.PREFIX.pack(index, start)
            if after is None
            else lmdb_encoding.database_key(index, start, after)
        )
        try:
            with self._data.reading() as view:
                for database, value in view.between(first, lmdb_encoding.PREFIX.pack(index, end)):
                    if (after is not None and database == first) or 0 < lmdb_encoding.expiry_of(value) <= now:
                        continue
                    if len(page.keys) >= most or most_bytes <= 0:
                        return succeed(Page(page.keys, True))
                    page.keys.append(lmdb_encoding.whole_key(memoryview(database), value))
                    most_bytes -= len(page.keys[-1])
        except lmdb.Error as error:
            return fail(_unreadable(error))
        return succeed(page)

    def set_indexes(self, indexes: Mapping[str, int]) -> Deferred[None]:
        wanted = {DEFAULT_INDEX, *indexes.values()}

        def job(writing: Writing) -> None:
            dropped = writing.state.documents.keys() - wanted
            if dropped:
                writing.settle()  # from here on only sweeping touches their records
            for state in (writing.stored, writing.state):
                for number in dropped:
                    del state.documents[number]
                    state.dropped.append(number)
                for number in wanted - state.documents.keys():
                    state.documents[number] = 0

        return self._writer.submit(Commit(job))

    def sweep(self, most: int) -> Deferred[bool]:
        if self._data.state.dropped or self._something_expired():
            return self._writer.submit(Commit(lambda writing: writing.sweep(self._now(), most)))
        if self._data.unsynced:
            return self._writer.submit(Change(lambda *_: False))  # syncs are due behind it
        return succeed(False)

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        return histogram(self._data.state.counts, start, end, bars)

    def snapshot(self) -> Snapshot:
        now, databases = self._now(), self._data.databases
        with self._data.frozen() as (transaction, state, changes):
            indexes = sorted(state.documents)
            expired = expired_in(transaction.cursor(db=databases.expiries), changes, indexes, now)
            rows = stored_rows(transaction.cursor(db=databases.records), changes, indexes, now)

            def let_go() -> None:
                self._snapshots.discard(opened)
                transaction.abort()

            opened = Snapshot(sum(state.documents.values()) - expired, rows, self._data.lock, let_go)
            self._snapshots.add(opened)
        return opened

    def remember(self, text: bytes) -> Deferred[None]:
        def job(writing: Writing) -> None:
            writing.transaction.put(_ASSIGNMENT, text, db=writing.databases.meta)

        def committed(_: object) -> None:
            self._remembered = text

        return self._writer.submit(Commit(job)).addCallback(committed)

    def recall(self) -> bytes | None:
        return self._remembered

    def close(self) -> Deferred[None]:
        return self._writer.close().addCallback(self._closed)

    # ------------------------------------------------------------------ inside

    def _closed(self, _: object) -> None:
        with self._data.lock:
            self._end_snapshots("the store was closed")
        self._data.close()
        self._directory.close()

    def _now(self) -> int:
        return int(self._seconds() * 1000)

    def _applied(
        self, view: View, state: State, changes: Changes | None, tasks: Sequence[Task], limit: int, room: int
    ) -> list[Answer]:
        def table(index: int) -> LmdbTable | None:
            if index not in state.documents:
                return None
            return LmdbTable(view, index, state, changes)

        application = Application(table, state.used, limit, room, self._now(), state.next_versions)
        return [application.answer(task) for task in tasks]

    def _outgrown(self) -> None:
        self._end_snapshots("the shard's data outgrew its map, which can't grow under a snapshot")

    def _end_snapshots(self, why: str) -> None:
        for snapshot in list(self._snapshots):
            snapshot.end(why)

    def _something_expired(self) -> bool:
        with self._data.reading() as view:
            return 0 < view.first_expiry() <= self._now()


def _unreadable(error: lmdb.Error) -> StorageFailed:
    return StorageFailed(f"the shard's disk could not be read: {error}")
