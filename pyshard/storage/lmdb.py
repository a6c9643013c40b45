"""The durable store: LMDB, with group commit in a writer thread.

A batch with any change goes to the writer (`pyshard.storage.writer`), which applies all that wait in one
transaction, with the counters, and answers them when it is committed. A batch that only reads is answered at once,
from a read transaction of its own. What a group changes is visible to nobody before its commit.

LMDB keeps its map's size for as long as it is open, and a full map ends the whole transaction: then the map is
doubled and the group is done again. No transaction that reads may be open meanwhile: those of batches and pages are
short and are waited for; snapshots keep theirs for long, and are ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import lmdb
import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.batch import Answer, Has, Item, Read, weight
from pyshard.cluster import DEFAULT_INDEX
from pyshard.errors import ConfigError, StorageFailed
from pyshard.storage import layout
from pyshard.storage.application import Application, no_such_index
from pyshard.storage.buckets import histogram, new_counts
from pyshard.storage.directory import DataDirectory
from pyshard.storage.interface import Page, Task
from pyshard.storage.snapshot import Snapshot, expired_in, stored_rows
from pyshard.storage.transaction import Counters, Databases, LmdbTable, State, sweep
from pyshard.storage.writer import GroupCommit

_FIRST_MAP = 64 * 1024**3  # of address space, not of memory or disk
_JOB = 1024  # bytes that a job that waits takes beside those of its runs
_SYNC_EVERY = 1.0  # seconds between syncs with Durability.ASYNC
_COUNTERS = b"counters"
_ASSIGNMENT = b"assignment"


class Durability(Enum):
    """When a change is acknowledged, and what may be lost after it was (README.md has the table)."""

    FSYNC = "fsync"
    ASYNC = "async"
    NONE = "none"


_Job = Callable[[lmdb.Transaction, State], Any]


class LmdbStore:
    """`IStore` in a data directory; see `pyshard.storage.interface` for what each method promises.

    It must be made after daemonizing, since an LMDB environment does not survive a fork.

    :param directory: the locked data directory; it is closed with the store, or when that can't be opened.
    :param seconds: the time since 1970, for versions and expiry.
    :param call_from_thread: has a function called in the reactor's thread; None: no writer thread, every change is
        committed where it is asked for.
    :param durability: when a change is acknowledged.
    :param first_map: bytes of address space to begin with.
    :raises ConfigError: the data can't be opened.
    """

    ephemeral = False
    _log = Logger()

    def __init__(
        self,
        directory: DataDirectory,
        seconds: Callable[[], float],
        call_from_thread: Callable[..., Any] | None = None,
        durability: Durability = Durability.FSYNC,
        first_map: int = _FIRST_MAP,
    ) -> None:
        self.identity = directory.identity
        self._directory = directory
        self._seconds = seconds
        self._durability = durability
        self._synced = seconds()
        self._unsynced = False
        self._map = threading.Lock()  # held by whoever reads, and while the map grows
        self._snapshots: set[Snapshot] = set()  # those that are open
        try:
            self._environment = lmdb.open(
                str(directory.records),
                map_size=max(first_map, _size_on_disk(directory) * 2),
                max_dbs=3,
                sync=durability is Durability.FSYNC,
                metasync=durability is Durability.FSYNC,
                readahead=False,
            )
            self._databases = Databases(*map(self._environment.open_db, (b"records", b"expiries", b"meta")))
            with self._environment.begin() as transaction:
                saved = transaction.get(_COUNTERS, db=self._databases.meta)
                self._remembered: bytes | None = transaction.get(_ASSIGNMENT, db=self._databases.meta)
            self._state = self._restored(saved)
        except (lmdb.Error, OSError, ValueError, msgspec.MsgspecError) as error:
            directory.close()
            raise ConfigError(f"{directory.records}: the data can't be opened ({error})") from None
        self._writer: GroupCommit[_Job] = GroupCommit(self._commit, call_from_thread)

    @classmethod
    def check(cls, directory: DataDirectory) -> None:
        """Open the data and let go of them again, to find out before daemonizing that they can't be opened.

        :raises ConfigError: they can't.
        """
        cls(directory, lambda: 0.0)._environment.close()

    @property
    def documents(self) -> int:
        return sum(self._state.documents.values())

    @property
    def used(self) -> int:
        return self._state.used

    def apply(self, tasks: Sequence[Task], limit: int, room: int) -> Deferred[list[Answer]]:
        if all(isinstance(task.run, Read | Has | Item) for task in tasks):
            try:
                with self._map, self._environment.begin(buffers=True) as transaction:
                    return succeed(self._applied(transaction, self._state, tasks, limit, room, reading=True))
            except lmdb.Error as error:
                return fail(_unreadable(error))
        return self._writer.submit(
            lambda transaction, state: self._applied(transaction, state, tasks, limit, room, reading=False),
            _JOB + sum(weight(task.run) for task in tasks),
        )

    def holds(self, index: int, keys: Sequence[bytes]) -> bool:
        return False  # its own keys begin with the slot

    def page(self, index: int, start: int, after: bytes | None, end: int, most: int, most_bytes: int) -> Deferred[Page]:
        if index not in self._state.documents:
            return fail(no_such_index(index))
        now, page = self._now(), Page([], False)
        first = layout.PREFIX.pack(index, start) if after is None else layout.database_key(index, start, after)
        behind = layout.PREFIX.pack(index, end)
        try:
            with self._map, self._environment.begin(db=self._databases.records, buffers=True) as transaction:
                cursor = transaction.cursor()
                if cursor.set_range(first):
                    for database, value in cursor.iternext():
                        if bytes(database[: layout.PREFIX.size]) >= behind:
                            break
                        if (after is not None and database == first) or 0 < layout.expiry_of(value) <= now:
                            continue
                        if len(page.keys) >= most or most_bytes <= 0:
                            return succeed(Page(page.keys, True))
                        page.keys.append(layout.whole_key(database, value))
                        most_bytes -= len(page.keys[-1])
        except lmdb.Error as error:
            return fail(_unreadable(error))
        return succeed(page)

    def set_indexes(self, indexes: Mapping[str, int]) -> Deferred[None]:
        wanted = {DEFAULT_INDEX, *indexes.values()}

        def job(_: lmdb.Transaction, state: State) -> None:
            for number in set(state.documents) - wanted:
                del state.documents[number]
                state.dropped.append(number)
            for number in wanted - set(state.documents):
                state.documents[number] = 0

        return self._writer.submit(job)

    def sweep(self, most: int) -> Deferred[bool]:
        if not self._state.dropped and not self._something_expired() and not self._unsynced:
            return succeed(False)
        return self._writer.submit(
            lambda transaction, state: sweep(transaction, self._databases, state, self._now(), most)
        )

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        return histogram(self._state.counts, start, end, bars)

    def snapshot(self) -> Snapshot:
        now = self._now()
        with self._map:
            transaction = self._environment.begin(buffers=True)
            # The counters of the same transaction: those in memory may be a commit behind what it sees.
            saved = transaction.get(_COUNTERS, db=self._databases.meta)
            documents = self._restored(None if saved is None else bytes(saved)).documents
            expired = expired_in(transaction.cursor(db=self._databases.expiries), documents, now)
            rows = stored_rows(transaction.cursor(db=self._databases.records), sorted(documents), now)

            def let_go() -> None:
                self._snapshots.discard(opened)
                transaction.abort()

            opened = Snapshot(sum(documents.values()) - expired, rows, self._map, let_go)
            self._snapshots.add(opened)
        return opened

    def remember(self, text: bytes) -> Deferred[None]:
        def job(transaction: lmdb.Transaction, _: State) -> None:
            transaction.put(_ASSIGNMENT, text, db=self._databases.meta)

        def committed(_: object) -> None:
            self._remembered = text

        return self._writer.submit(job).addCallback(committed)

    def recall(self) -> bytes | None:
        return self._remembered

    def close(self) -> Deferred[None]:
        return self._writer.close().addCallback(self._closed)

    # ------------------------------------------------------------------ inside

    def _closed(self, _: object) -> None:
        with self._map:
            self._end_snapshots("the store was closed")
        self._environment.sync(True)
        self._environment.close()
        self._directory.close()

    def _now(self) -> int:
        return int(self._seconds() * 1000)

    def _restored(self, saved: bytes | None) -> State:
        if saved is None:
            # Versions begin with the time in microseconds, as a memory store's do.
            return State(int(self._seconds() * 1_000_000), 0, {DEFAULT_INDEX: 0}, [], new_counts())
        counters = msgspec.msgpack.decode(saved, type=Counters)
        return State(
            counters.version, counters.used, counters.documents, counters.dropped, new_counts(counters.buckets)
        )

    def _applied(
        self,
        transaction: lmdb.Transaction,
        state: State,
        tasks: Sequence[Task],
        limit: int,
        room: int,
        reading: bool,
    ) -> list[Answer]:
        def table(index: int) -> LmdbTable | None:
            if index not in state.documents:
                return None
            return LmdbTable(self._databases, transaction, index, None if reading else state)

        application = Application(table, state.used, limit, room, self._now(), state.next_version)
        return [application.answer(task) for task in tasks]

    def _commit(self, jobs: Sequence[_Job]) -> Sequence[object]:
        """Do a group of jobs in one transaction; see `GroupCommit`."""
        while True:
            state = self._state.copy()
            try:
                try:
                    with self._environment.begin(write=True, buffers=True) as transaction:
                        outcomes = [job(transaction, state) for job in jobs]
                        transaction.put(_COUNTERS, state.packed(), db=self._databases.meta)
                except lmdb.MapFullError:
                    self._grow()
                    continue
            except (lmdb.Error, OSError) as error:
                self._log.error("the disk did not take a change: {error}", error=str(error))
                return [Failure(StorageFailed(f"the shard's disk did not take the change: {error}"))] * len(jobs)
            except Exception:  # noqa: BLE001  # a job failed unexpectedly: the others must not suffer for it
                if len(jobs) == 1:
                    return [Failure()]
                return [outcome for job in jobs for outcome in self._commit([job])]
            else:
                self._state = state
                self._sync()
                return outcomes

    def _sync(self) -> None:
        """With `Durability.ASYNC`, bring what was committed to the disk from time to time."""
        if self._durability is Durability.ASYNC:
            self._unsynced = True
            if not 0 <= self._seconds() - self._synced < _SYNC_EVERY:
                try:
                    self._environment.sync(True)
                except lmdb.Error as error:
                    self._log.error("the disk could not be synced: {error}", error=str(error))
                else:
                    self._unsynced = False
                    self._synced = self._seconds()

    def _grow(self) -> None:
        with self._map:
            self._end_snapshots("the shard's data outgrew its map, which can't grow under a snapshot")
            self._environment.set_mapsize(self._environment.info()["map_size"] * 2)

    def _end_snapshots(self, why: str) -> None:
        for snapshot in list(self._snapshots):
            snapshot.end(why)

    def _something_expired(self) -> bool:
        with self._map, self._environment.begin(db=self._databases.expiries) as transaction:
            cursor = transaction.cursor()
            return bool(cursor.first()) and layout.expired(cursor.key(), self._now())


def _unreadable(error: lmdb.Error) -> StorageFailed:
    return StorageFailed(f"the shard's disk could not be read: {error}")


def _size_on_disk(directory: DataDirectory) -> int:
    data = directory.records / "data.mdb"
    return data.stat().st_size if data.exists() else 0
