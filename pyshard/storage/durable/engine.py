"""Durable data: an LMDB environment, the log before it, and the changes that are in the log and not yet in LMDB.

A *change* is done by writing what has become of each record into the log; when that is on the disk the change is
done, and readers see it at once. So it costs one append and one sync, where a transaction of LMDB's own would copy,
write and sync a page of 4 KiB for about every record.

When many records were changed a *round* begins: they go into LMDB, in the order of their keys, so that a page takes
many of them. They go some at a time, each time a few more records were changed, so that no change waits for long; each
part is a transaction, with the counters of what is in LMDB. With the last part LMDB has everything that was in the log
when the round began, which is in one of the log's two files; that one is free again.

A start reads from the log what LMDB may not have, and does it again over what LMDB has. That some of it is there
already does no harm: the log has all changes since, and says what has become of each record.

What isn't a change of records (a *commit*: indexes, sweeping) is done in a transaction of LMDB's own.

LMDB keeps its map's size for as long as it is open, and a full map ends the whole transaction: then the map is
doubled and the transaction is done again. No transaction that reads may be open meanwhile: those of batches and pages
are short and are waited for; snapshots keep theirs for long, and are ended.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import Enum
from itertools import groupby
from pathlib import Path
from typing import TypeAlias, TypeVar, cast

import attrs
import lmdb
import msgspec
from twisted.logger import Logger
from twisted.python.failure import Failure

from pyshard.errors import StorageFailed
from pyshard.storage.durable.counters import State
from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.write_transaction import Writing
from pyshard.storage.durable.lmdb_index import apply_again
from pyshard.storage.durable.memtable import Changes, Databases, View
from pyshard.storage.durable.write_ahead_log import Logs

#: Bytes of address space to begin with, not of memory or disk.
FIRST_MAP = 64 * 1024**3

#: Records that may have been changed until the changes go into LMDB.
MOST_CHANGED = 50_000

_MOST_BYTES = 16 * 1024 * 1024  # bytes of the log from which on they do, too
_PAGE = 4096  # bytes of a page of LMDB
_SYNC_EVERY = 1.0  # seconds between syncs with Durability.ASYNC
_COUNTERS = b"counters"


class Durability(Enum):
    """When a change is acknowledged, and what may be lost after it was (README.md has the table)."""

    FSYNC = "fsync"
    ASYNC = "async"
    NONE = "none"


@attrs.frozen
class Change:
    """A job that changes records.

    :param work: is given the records, the counters and what takes the changes, which is part of the former; gives the
        job's result.
    """

    work: Callable[[View, State, Changes], object]


@attrs.frozen
class Commit:
    """A job in a transaction of LMDB.

    :param work: gives the job's result.
    """

    work: Callable[[Writing], object]


@attrs.define
class Round:
    """Changes on their way into LMDB.

    :param keys: database keys of all of them, in order.
    :param sequence: of the last group of the log that LMDB has everything of when all of them are there.
    :param done: how many are.
    """

    keys: list[bytes]
    sequence: int
    done: int = 0

    def part(self, changes: Changes, pages: int) -> tuple[list[bytes], int]:
        """What is to go next, and what `done` is then.

        :param pages: how many pages of LMDB it may change, at the worst.
        """
        records, done = changes.records, self.done
        part = self.keys[done : done + pages]
        values = list(map(records.get, part))
        if None not in values and max(map(len, values), default=0) < _PAGE:  # type: ignore[arg-type]  # none is None
            return part, done + len(part)
        part = []
        while done < len(self.keys) and pages > 0:
            database = self.keys[done]
            if database in records:  # else something else has brought it in
                part.append(database)
                pages -= 1 + len(records[database]) // _PAGE
            done += 1
        return part, done


Job: TypeAlias = Change | Commit
_J = TypeVar("_J", Change, Commit)


class DurableData:
    """What is in a data directory. `do` and `settle` are for one thread, the rest is for that of the readers.

    :param directory: the locked data directory; it is closed with the data, or when they can't be opened.
    :param seconds: the time since 1970.
    :param durability: when a change is done.
    :param first_map: bytes of address space to begin with.
    :param most_changed: records that may have been changed until they go into LMDB.
    :raises ConfigError: the data can't be opened.
    :ivar lock: held by whoever reads, and to change what readers see.
    :ivar state: the counters.
    :ivar changes: what is in the log and not yet in LMDB.
    :ivar unsynced: whether a change isn't on the disk, and is to be brought there within a second.
    :ivar on_growth: called with the lock held before the map grows: no transaction may be open then.
    """

    _log = Logger()

    def __init__(
        self,
        directory: DataDirectory,
        seconds: Callable[[], float],
        durability: Durability,
        first_map: int = FIRST_MAP,
        most_changed: int = MOST_CHANGED,
    ) -> None:
        self._seconds = seconds
        self._durability = durability
        self._most_changed = most_changed
        self._part = max(1, most_changed // 25)  # pages, at the worst, of what goes into LMDB at a time
        self._due = 0  # pages that are to go into LMDB, as long as there is a round
        self._round: Round | None = None
        self._synced = seconds()
        self.unsynced = False
        self.on_growth: Callable[[], None] = lambda: None
        self.lock = threading.Lock()
        self._committing = threading.Lock()  # held while `state` and what LMDB counts change together
        self.changes = Changes()
        self.environment = lmdb.open(
            str(directory.records),
            map_size=max(first_map, _size_on_disk(directory.records) * 2),
            max_dbs=3,
            readahead=False,
        )
        try:
            self.databases = Databases(*map(self.environment.open_db, (b"records", b"expiries", b"meta")))
            with self.environment.begin() as transaction:
                saved = self.meta(transaction, _COUNTERS)
            self._stored = State.first(seconds()) if saved is None else State.unpacked(saved)
            self.state = self._stored.copy()
            self.logs = Logs(directory.logs, directory.identity, self._stored.sequence)
        except BaseException:
            self.environment.close()
            raise
        try:
            self._catch_up()
        except BaseException:
            self.close()
            raise

    def meta(self, transaction: lmdb.Transaction, name: bytes) -> bytes | None:
        """A text that belongs to no record."""
        found = transaction.get(name, db=self.databases.meta)
        return None if found is None else bytes(found)

    @contextmanager
    def reading(self) -> Iterator[View]:
        """All records as they are, for as long as nobody else waits for it."""
        with self.lock, self.environment.begin(buffers=True) as transaction:
            yield View(self.databases, transaction, self.changes)

    @contextmanager
    def frozen(self) -> Iterator[tuple[lmdb.Transaction, State, Changes]]:
        """All records as they are: a transaction to be kept, the counters, and what to bring to bear on what it sees.

        May have to wait for a commit that is being done.
        """
        with self._committing, self.lock:
            yield self.environment.begin(buffers=True), self.state, self.changes.copy()

    def do(self, jobs: Sequence[Job]) -> list[object]:
        """Do jobs in order; see `GroupCommit`."""
        outcomes: list[object] = []
        for kind, alike in groupby(jobs, type):
            if kind is Change:
                outcomes += self._change(cast("list[Change]", list(alike)))
            else:
                outcomes += self._commit(cast("list[Commit]", list(alike)))
        self._sync()
        return outcomes

    def settle(self) -> None:
        """Bring all changes into LMDB, so that the next start has nothing to read from the log."""
        if self.changes.records:
            self._commit([Commit(Writing.settle)])

    def close(self) -> None:
        """Let go of everything."""
        self.logs.close()
        self.environment.close()

    # ------------------------------------------------------------------ inside

    def _catch_up(self) -> None:
        """Take from the log what LMDB doesn't have; have LMDB know that there is a log, from the first time on."""
        for group in self.logs.groups:
            version, done = msgspec.msgpack.decode(group.text, type=tuple[int, dict[bytes, bytes]])
            with self.reading() as view:
                apply_again(view, self.state, self.changes, done)
            self.state.version = version
        if self.logs.groups:  # both files may have some
            self.logs.groups = []
            self._round = Round(sorted(self.changes.records), self.logs.sequence)
        elif not self._stored.sequence:
            self._transact([])

    def _change(self, jobs: Sequence[Change]) -> list[object]:
        """Do jobs, write what they change into the log, and have readers see it."""
        try:
            self._make_room()
            state, changes = self.state.copy(), Changes()
            with self.environment.begin(buffers=True) as transaction:
                view = View(self.databases, transaction, changes, self.changes)
                outcomes = [job.work(view, state, changes) for job in jobs]
            if changes.records:
                text = msgspec.msgpack.encode((state.version, changes.records))
                self.logs.append(text, self._durability is Durability.FSYNC)
                self.unsynced = self._durability is Durability.ASYNC
                self._due += 2 * (len(changes.records) + len(text) // _PAGE)
                with self.lock:
                    self.changes.update(changes)
                    self.state = state
        except Exception:  # noqa: BLE001  # see `_failed`
            return self._failed(self._change, jobs)
        return outcomes

    def _make_room(self) -> None:
        """Have some of the changes in LMDB if there are many, or all of them if the log is broken."""
        if self.logs.broken:
            self._transact([])
        if self._round is None and (len(self.changes.records) >= self._most_changed or self.logs.size >= _MOST_BYTES):
            self.logs.switch()
            self._round = Round(sorted(self.changes.records), self.logs.sequence)
            self._due = 0
        going = self._round
        if going is not None and self._due >= self._part:
            part, done = going.part(self.changes, self._due)
            last = done == len(going.keys)
            self._transact([Commit(lambda writing: writing.bring_in(part))], going.sequence if last else None)
            self._due, going.done = 0, done
            if last:
                self._round = None

    def _commit(self, jobs: Sequence[Commit]) -> list[object]:
        """Do jobs in one transaction of LMDB."""
        try:
            with self._committing:
                return self._transact(jobs)
        except Exception:  # noqa: BLE001  # see `_failed`
            return self._failed(self._commit, jobs)

    def _failed(self, do: Callable[[Sequence[_J]], list[object]], jobs: Sequence[_J]) -> list[object]:
        """What becomes of jobs of which none was done, from within the handler of what was raised."""
        failure = Failure()
        if failure.check(lmdb.Error, OSError):
            why = _told(failure.value)
            self._log.error("the disk did not take a change: {error}", error=why)
            return [Failure(StorageFailed(f"the shard's disk did not take the change: {why}"))] * len(jobs)
        if len(jobs) > 1:  # one of them failed unexpectedly: the others must not suffer for it
            return [outcome for job in jobs for outcome in do([job])]
        return [failure] * len(jobs)

    def _transact(self, jobs: Sequence[Commit], safe: int | None = None) -> list[object]:
        """Do jobs in one transaction, and put down what follows for the changes and the log.

        When the log is broken, all changes come into LMDB first, so that it can begin anew.

        :param safe: the sequence number of the last group of the log that LMDB then has everything of, if it changes.
        """
        if self._durability is not Durability.FSYNC and not self.logs.broken:
            self.logs.sync()  # LMDB must have nothing that the log may lose
            self.unsynced = False
        try:
            with self.environment.begin(write=True, buffers=True) as transaction:
                writing = Writing(transaction, self.databases, self.changes, self._stored.copy(), self.state.copy())
                if self.logs.broken:
                    writing.settle()
                outcomes = [job.work(writing) for job in jobs]
                everything = len(writing.brought) == len(self.changes.records)
                writing.stored.version = writing.state.version
                if everything:
                    writing.stored.sequence = self.logs.sequence + self.logs.broken  # what may come then was refused
                elif safe is not None:
                    writing.stored.sequence = safe
                transaction.put(_COUNTERS, writing.stored.packed(), db=self.databases.meta)
        except lmdb.MapFullError:
            self._grow()
            return self._transact(jobs, safe)
        self._stored = writing.stored
        with self.lock:
            self.changes.forget(writing.brought)
            self.state = writing.state
        if everything:
            self._round = None
            try:
                self.logs.restart(writing.stored.sequence)
            except OSError as error:
                self._log.error("the log could not be begun anew: {error}", error=_told(error))
        return outcomes

    def _grow(self) -> None:
        with self.lock:
            self.on_growth()
            self.environment.set_mapsize(self.environment.info()["map_size"] * 2)

    def _sync(self) -> None:
        """With `Durability.ASYNC`, bring what was done to the disk from time to time."""
        if self.unsynced and not 0 <= self._seconds() - self._synced < _SYNC_EVERY:
            try:
                self.logs.sync()
            except OSError as error:
                self._log.error("the disk could not be synced: {error}", error=_told(error))
            else:
                self.unsynced = False
                self._synced = self._seconds()


def _told(error: BaseException | None) -> str:
    return error.strerror if isinstance(error, OSError) and error.strerror else str(error)


def _size_on_disk(records: Path) -> int:
    data = records / "data.mdb"
    return data.stat().st_size if data.exists() else 0
