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
from array import array
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from typing import Any

import attrs
import lmdb
import msgspec
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.batch import VERSION, Answer, Has, Item, Read, Result
from pyshard.cluster import DEFAULT_INDEX
from pyshard.errors import ConfigError, StorageFailed
from pyshard.storage import layout
from pyshard.storage.application import Application, Found, cost, no_such_index
from pyshard.storage.buckets import BUCKET_BITS, histogram, new_counts
from pyshard.storage.directory import DataDirectory
from pyshard.storage.interface import Page, Task
from pyshard.storage.snapshot import Snapshot, expired_in, stored_rows
from pyshard.storage.writer import GroupCommit

_FIRST_MAP = 64 * 1024**3  # of address space, not of memory or disk
_SYNC_EVERY = 1.0  # seconds between syncs with Durability.ASYNC
_COUNTERS = b"counters"
_ASSIGNMENT = b"assignment"


class Durability(Enum):
    """When a change is acknowledged, and what may be lost after it was (README.md has the table)."""

    FSYNC = "fsync"
    ASYNC = "async"
    NONE = "none"


class _Counters(msgspec.Struct, array_like=True):
    """What is counted, as it is saved with each commit.

    :param version: the last one given.
    :param used: bytes that count against the limit.
    :param documents: index id → documents; an index that is dropped and not yet swept away is in `dropped`.
    :param dropped: ids of such indexes.
    :param buckets: the counts of `pyshard.storage.buckets`.
    """

    version: int
    used: int
    documents: dict[int, int]
    dropped: list[int]
    buckets: bytes


@attrs.define
class _State:
    """The counters of one transaction; those of the last commit stay as they are until it is committed."""

    version: int
    used: int
    documents: dict[int, int]
    dropped: list[int]
    counts: array[int]

    def copy(self) -> _State:
        return _State(self.version, self.used, dict(self.documents), list(self.dropped), self.counts[:])

    def packed(self) -> bytes:
        return msgspec.msgpack.encode(
            _Counters(self.version, self.used, self.documents, self.dropped, self.counts.tobytes())
        )

    def next_version(self) -> int:
        self.version += 1
        return self.version


class _Table:
    """`Table` of one index within one transaction; without `state`, for reading only."""

    def __init__(self, store: LmdbStore, transaction: lmdb.Transaction, index: int, state: _State | None) -> None:
        self._store = store
        self._transaction = transaction
        self._index = index
        self._state = state

    def find(self, key: bytes, slot: int) -> Found | None:
        """See `Table`."""
        value = self._transaction.get(layout.database_key(self._index, slot, key), db=self._store.records)
        return None if value is None else layout.unpack(key, memoryview(value))

    def put(self, key: bytes, slot: int, new: Found, old: Found | None) -> None:
        """See `Table`."""
        assert self._state is not None
        database = layout.database_key(self._index, slot, key)
        self._transaction.put(database, layout.pack(key, new), db=self._store.records)
        if old is None:
            self._count(slot, 1, cost(key, new.record))
        else:
            self._state.used += len(new.record) - len(old.record)
        self._move_expiry(database, old.expires if old else 0, new.expires)

    def delete(self, key: bytes, slot: int, old: Found) -> None:
        """See `Table`."""
        database = layout.database_key(self._index, slot, key)
        self._transaction.delete(database, db=self._store.records)
        self._count(slot, -1, -cost(key, old.record))
        self._move_expiry(database, old.expires, 0)

    def has(self, keys: Sequence[bytes], slots: Sequence[int], now: int) -> list[Result]:
        """See `Table`."""
        found: list[Result] = []
        for key, slot in zip(keys, slots, strict=True):
            value = self._transaction.get(layout.database_key(self._index, slot, key), db=self._store.records)
            found.append(value is not None and layout.is_live(key, memoryview(value), now))
        return found

    def read(self, keys: Sequence[bytes], slots: Sequence[int], now: int, room: int) -> list[Result]:
        """See `Table`."""
        found: list[Result] = []
        for key, slot in zip(keys, slots, strict=True):
            if room <= 0:
                break
            one = self.find(key, slot)
            if one is None or 0 < one.expires <= now:
                found.append(None)
            else:
                found.append(VERSION.pack(one.version) + one.record)
                room -= VERSION.size + len(one.record)
        return found

    def _count(self, slot: int, documents: int, used: int) -> None:
        assert self._state is not None
        self._state.documents[self._index] = self._state.documents.get(self._index, 0) + documents
        self._state.counts[slot >> BUCKET_BITS] += documents
        self._state.used += used

    def _move_expiry(self, database: bytes, old: int, new: int) -> None:
        if old and old != new:
            self._transaction.delete(layout.expiry_key(old, database), db=self._store.expiries)
        if new and old != new:
            self._transaction.put(layout.expiry_key(new, database), database, db=self._store.expiries)


_Job = Callable[[lmdb.Transaction, _State], Any]


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
            self.records = self._environment.open_db(b"records")
            self.expiries = self._environment.open_db(b"expiries")
            self._meta = self._environment.open_db(b"meta")
            with self._environment.begin() as transaction:
                saved = transaction.get(_COUNTERS, db=self._meta)
                self._remembered: bytes | None = transaction.get(_ASSIGNMENT, db=self._meta)
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
            lambda transaction, state: self._applied(transaction, state, tasks, limit, room, reading=False)
        )

    def page(self, index: int, start: int, after: bytes | None, end: int, most: int, most_bytes: int) -> Deferred[Page]:
        if index not in self._state.documents:
            return fail(no_such_index(index))
        now, page = self._now(), Page([], False)
        first = layout.PREFIX.pack(index, start) if after is None else layout.database_key(index, start, after)
        behind = layout.PREFIX.pack(index, end)
        try:
            with self._map, self._environment.begin(db=self.records, buffers=True) as transaction:
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

        def job(_: lmdb.Transaction, state: _State) -> None:
            for number in set(state.documents) - wanted:
                del state.documents[number]
                state.dropped.append(number)
            for number in wanted - set(state.documents):
                state.documents[number] = 0

        return self._writer.submit(job)

    def sweep(self, most: int) -> Deferred[bool]:
        if not self._state.dropped and not self._something_expired() and not self._unsynced:
            return succeed(False)
        return self._writer.submit(lambda transaction, state: self._swept(transaction, state, most))

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        return histogram(self._state.counts, start, end, bars)

    def snapshot(self) -> Snapshot:
        now = self._now()
        with self._map:
            transaction = self._environment.begin(buffers=True)
            # The counters of the same transaction: those in memory may be a commit behind what it sees.
            saved = transaction.get(_COUNTERS, db=self._meta)
            documents = self._restored(None if saved is None else bytes(saved)).documents
            expired = expired_in(transaction.cursor(db=self.expiries), documents, now)
            rows = stored_rows(transaction.cursor(db=self.records), sorted(documents), now)

            def let_go() -> None:
                self._snapshots.discard(opened)
                transaction.abort()

            opened = Snapshot(sum(documents.values()) - expired, rows, self._map, let_go)
            self._snapshots.add(opened)
        return opened

    def remember(self, text: bytes) -> Deferred[None]:
        def job(transaction: lmdb.Transaction, _: _State) -> None:
            transaction.put(_ASSIGNMENT, text, db=self._meta)

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

    def _restored(self, saved: bytes | None) -> _State:
        if saved is None:
            # Versions begin with the time in microseconds, as a memory store's do.
            return _State(int(self._seconds() * 1_000_000), 0, {DEFAULT_INDEX: 0}, [], new_counts())
        counters = msgspec.msgpack.decode(saved, type=_Counters)
        return _State(
            counters.version, counters.used, counters.documents, counters.dropped, new_counts(counters.buckets)
        )

    def _applied(
        self,
        transaction: lmdb.Transaction,
        state: _State,
        tasks: Sequence[Task],
        limit: int,
        room: int,
        reading: bool,
    ) -> list[Answer]:
        def table(index: int) -> _Table | None:
            if index not in state.documents:
                return None
            return _Table(self, transaction, index, None if reading else state)

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
                        transaction.put(_COUNTERS, state.packed(), db=self._meta)
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
        with self._map, self._environment.begin(db=self.expiries) as transaction:
            cursor = transaction.cursor()
            return bool(cursor.first()) and layout.expired(cursor.key(), self._now())

    def _swept(self, transaction: lmdb.Transaction, state: _State, most: int) -> bool:
        """Remove up to `most` records that nobody can see; whether there are more."""
        now = self._now()
        expiries = transaction.cursor(db=self.expiries)
        while most > 0 and expiries.first() and layout.expired(expiries.key(), now):
            self._forget(transaction, state, bytes(expiries.value()))
            most -= 1
        for index in list(state.dropped):
            cursor, prefix = transaction.cursor(db=self.records), layout.PREFIX.pack(index, 0)[:4]
            while most > 0 and cursor.set_range(prefix) and cursor.key()[:4] == prefix:
                self._forget(transaction, state, bytes(cursor.key()))
                most -= 1
            if most > 0:
                state.dropped.remove(index)
        return most <= 0

    def _forget(self, transaction: lmdb.Transaction, state: _State, database: bytes) -> None:
        """Remove one record, by its database key, with its expiry and what is counted for it."""
        stored = transaction.get(database, db=self.records)
        assert stored is not None  # every expiry has its record
        value = memoryview(stored)
        key = layout.whole_key(memoryview(database), value)
        found = layout.unpack(key, value)
        assert found is not None  # the key is the value's own
        transaction.delete(database, db=self.records)
        index, slot = layout.PREFIX.unpack_from(database)
        if index in state.documents:
            state.documents[index] -= 1
        state.counts[slot >> BUCKET_BITS] -= 1
        state.used -= cost(key, found.record)
        if found.expires:
            transaction.delete(layout.expiry_key(found.expires, database), db=self.expiries)


def _unreadable(error: lmdb.Error) -> StorageFailed:
    return StorageFailed(f"the shard's disk could not be read: {error}")


def _size_on_disk(directory: DataDirectory) -> int:
    data = directory.records / "data.mdb"
    return data.stat().st_size if data.exists() else 0
