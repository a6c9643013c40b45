"""The engine of the durable store: a write-ahead log, a memtable over LMDB, and checkpoints from the one to the other.

An LMDB transaction copies, writes and syncs roughly one page of 4 KiB for each changed record. A *group*, which is as
much of what waits as may be, costs one write and one sync in the log.

Rules:

- whatever changes what a store has is a `LoggedUpdate`: batches, sweeps and trims, what is absorbed from other stores,
  indexes, ranges, what the shard has it remember. It is done when the log has its group. Then readers see it, too;
- a group has a bounded number of changes, of bytes, and of bytes that its answers give, however many batches wait; only
  its last batch may cross them;
- a `DirectUpdate` changes only how data are kept. It is done in a transaction of LMDB, after all before it;
- when a checkpoint begins, the log rotates; `pyshard.storage.durable.checkpoint` says when;
- after a checkpoint older segments of the log go, unless a follower needs them; a start replays what LMDB may lack;
- a change comes into LMDB only when it is safe in the log: with the durabilities `async` and `none`, which don't sync
  each group, the log is synced before each transaction;
- a broken log takes no groups until a transaction has flushed the whole memtable. When LMDB has everything, the log
  starts over at the beginning of its file (a new *lap*), unless a follower needs what it has;
- LMDB's map can't grow while it is open: if it is full, it is doubled and the whole transaction is done again. No
  other transaction may be open then, so readers wait for a moment, and snapshots are ended;
- a failing disk fails all updates of a group; any other error fails its own update alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from itertools import groupby
from typing import cast

import lmdb

from pyshard.clocks import steady_seconds
from pyshard.settings import settings
from pyshard.storage.durable.checkpoint import CheckpointSchedule
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.durable.failed_updates import FailureLog, reason_of
from pyshard.storage.durable.given_up_counts import CountsAhead
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.group_commit import Committed
from pyshard.storage.durable.hidden_records import recount
from pyshard.storage.durable.lmdb_data import LmdbData
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.log_retention import opened_log
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate, LoggedUpdate, Update
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.durable.replay import replay_logged
from pyshard.storage.durable.saved_meta import Incarnation, Meta
from pyshard.storage.follower_places import DEFAULT_BOUND, FollowedBound
from pyshard.storage.hidden_counts import HiddenCounts

#: Bytes of address space to begin with, not of memory or disk.
FIRST_MAP = 64 * 1024**3

#: Records that the memtable may have before a checkpoint begins.
MOST_CHANGED = 50_000

_SYNC_EVERY = 1.0  # seconds between syncs with Durability.ASYNC, and while the log is followed


class StorageEngine:
    """What is in a data directory. `commit_first` and `finish` are for the writer's thread, the rest for the readers'.

    :param directory: the locked data directory.
    :param seconds: the time since 1970, for versions.
    :param durability: when an update is done.
    :param first_map: bytes of address space to begin with.
    :param most_changed: records that the memtable may have before a checkpoint begins.
    :param steady: the clock that times syncs, and how long segments are kept.
    :param bound: how much of the log is kept for followers.
    :param new_id: gives hex UUIDs, for incarnations.
    :raises ConfigError: the data can't be opened. LMDB's and the system's own errors are raised, too.
    :ivar lock: held by whoever reads, and while something changes that readers see.
    :ivar counters: count all that there is.
    :ivar memtable: what the log has and LMDB doesn't.
    :ivar ahead: counts of what the store may give up soon.
    :ivar text: what the shard remembers.
    :ivar incarnation: see `pyshard.storage.durable.saved_meta`.
    :ivar swept: where in LMDB's expiries the next sweep begins.
    :ivar trimmed: the database key where the next trim begins of what is left over.
    :ivar unsynced: whether the disk lacks a group, and is to have it within a second.
    :ivar sequence: the number of the last group that readers see.
    :ivar safe: the number of the last group that will never be undone.
    :ivar on_safe: called in the writer's thread when there are more of these; None: nobody waits for that.
    :ivar lmdb: what LMDB has.
    """

    def __init__(
        self,
        directory: DataDirectory,
        seconds: Callable[[], float],
        durability: Durability,
        first_map: int = FIRST_MAP,
        most_changed: int = MOST_CHANGED,
        steady: Callable[[], float] = steady_seconds,
        bound: FollowedBound = DEFAULT_BOUND,
        new_id: Callable[[], str] = lambda: uuid.uuid4().hex,
    ) -> None:
        self._steady = steady
        self._failures = FailureLog(steady)
        self._durability = durability
        self._checkpoints = CheckpointSchedule(most_changed)
        self._last_sync = steady()
        self._given_bytes, self._background = 0, 0.0  # of the present commit; see `Committed`
        self.unsynced = False
        self.on_safe: Callable[[], None] | None = None
        self.swept = self.trimmed = b""
        self.memtable, self.ahead = Memtable(), CountsAhead()
        self.lmdb = LmdbData(directory, first_map, seconds())
        self.lock, self.environment, self.databases = self.lmdb.lock, self.lmdb.environment, self.lmdb.databases
        meta, self.counters = self.lmdb.meta, self.lmdb.counters.copy()
        self.text = meta.text
        self.incarnation = Incarnation.next(meta.incarnation, durability, new_id)
        try:
            self.log, self.retention = opened_log(directory, meta.log, self.lmdb.counters.sequence, bound, steady)
        except BaseException:
            self.environment.close()
            raise
        try:
            self._replay_log()
            self.sequence = self.safe = self.log.sequence
            self.retention.release(self.lmdb.counters.sequence)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[MergedView]:
        """All records as they are. The writer may wait for the end of this context, so it must be short."""
        with self.lock, self.environment.begin(buffers=True) as transaction:
            yield MergedView(self.databases, transaction, self.memtable)

    @contextmanager
    def frozen(self) -> Iterator[tuple[lmdb.Transaction, Counters, Memtable]]:
        """All records as they are, for long: a transaction of LMDB, the counters, and a copy of the memtable.

        The transaction stays open until the caller aborts it.
        """
        with self.lock:
            yield self.environment.begin(buffers=True), self.counters, self.memtable.copy()

    def commit_first(self, updates: Sequence[Update]) -> Committed:
        """Do those updates from the front that fit into a group, or into a transaction; one at the least.

        :return: the outcome of each: what its work returned, or a Failure. Nothing of a failed update is done.
        """
        alike = updates if len(updates) == 1 else list(next(groupby(updates, type))[1])
        self._given_bytes, self._background, began = 0, 0.0, self._steady()
        if type(alike[0]) is LoggedUpdate:
            outcomes = self._commit_group(cast("list[LoggedUpdate]", alike))
        else:
            outcomes = self._commit_direct(cast("list[DirectUpdate]", alike))
        if alike[0].background and all(update.background for update in alike):
            self._background = self._steady() - began
        self._sync_if_due()
        if self.log.kept:
            self.retention.release(self.lmdb.counters.sequence)
        if self.safe != self.log.synced:
            self.safe = self.log.synced
            if self.on_safe is not None:
                self.on_safe()
        return Committed(outcomes, self._given_bytes, self._background)

    def flush_all(self) -> None:
        """Write the whole memtable to LMDB, so that the next start has nothing to replay."""
        if self.lmdb.counters.sequence < self.log.sequence or self.lmdb.meta.incarnation != self.incarnation:
            self._commit_direct([DirectUpdate(WriteTransaction.flush_all)])

    def finish(self) -> None:
        """Do what the next start needn't do, and note that nothing is lost."""
        self.incarnation = Incarnation(self.incarnation.id, open=False)
        self.flush_all()

    def close(self) -> None:
        """Close the log and LMDB."""
        self.log.close()
        self.environment.close()

    # ------------------------------------------------------------------ inside

    def _replay_log(self) -> None:
        """Replay what the log has and LMDB doesn't; from the first start on, note in LMDB that there is a log."""
        for group in self.log.groups:
            counters, changes = self.counters.copy(), GroupChanges()
            with self.environment.begin(buffers=True) as transaction:
                replay_logged(MergedView(self.databases, transaction, changes, self.memtable), counters, changes, group)
            self._take(changes, counters)
        if self.log.groups:  # both files may have some
            self.log.groups = []
            self._checkpoints.begin(self.memtable, self.log.sequence)
        if not self.lmdb.counters.sequence or self.lmdb.meta.incarnation != self.incarnation:
            self._transact([])
        if self.counters.hidden.ranges.hidden:
            with self.reading() as view:
                recount(view, self.counters)  # it isn't saved, and groups may be replayed that LMDB has

    def _commit_group(self, updates: Sequence[LoggedUpdate]) -> list[object]:
        """Do updates, write what they change to the log as one group, then show it to readers.

        :return: the outcomes of those from the front that fit into a group; of one at the least.
        """
        outcomes: list[object] = []
        most_changes, most_bytes, tried, background = settings.MAX_GROUP_CHANGES, settings.MAX_GROUP_BYTES, 0, 0
        try:
            self._advance_checkpoint()
            began, counters, changes = self._steady(), self.counters.copy(), GroupChanges()
            with self.environment.begin(buffers=True) as transaction:
                view = MergedView(self.databases, transaction, changes, self.memtable)
                for tried, update in enumerate(updates, 1):  # noqa: B007  # used where one of them failed
                    outcomes.append(update.work(view, counters, changes))
                    if update.background:
                        self._background, background = self._steady() - began + self._background, len(changes.records)
                    if len(changes.records) >= most_changes or changes.largest >= most_bytes:
                        break  # what an update writes is known only when it is done
                difference = self.ahead.difference(view, changes.records)
            self._given_bytes += changes.given_bytes
            payload = changes.payload(counters.version)
            if payload:
                sync = self._durability is Durability.FSYNC or changes.must_sync
                self.log.append(payload, sync, counters.ballot)
                if changes.indexes is not None:
                    counters.indexes_since = self.log.sequence
                self.unsynced = not sync and (self._durability is Durability.ASYNC or self.retention.places.any)
                self._checkpoints.add(len(changes.records), len(payload), background)
                self._take(changes, counters)
                self.ahead.take(difference, counters.hidden.ranges.owned)
            elif changes.swept is not None:
                self.swept = changes.swept
        except Exception as error:  # noqa: BLE001  # see `FailureLog.outcomes`
            if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):
                self.retention.leave_behind(self.lmdb.counters.sequence)  # the next change may have room then
            return self._failures.outcomes(self._commit_group, updates[:tried] or updates)
        return outcomes

    def _take(self, changes: GroupChanges, counters: Counters) -> None:
        """Show readers what a group changes."""
        with self.lock:
            ranges = self.counters.hidden.ranges
            self.memtable.merge(changes)
            self.counters = counters
            self.sequence = self.log.active.sequence
            if changes.indexes is not None:
                self.lmdb.counters.set_indexes(changes.indexes, changes.next_index)
                self.lmdb.counters.indexes_since = counters.indexes_since
            self.text = self.text if changes.text is None else changes.text
            self.swept = self.swept if changes.swept is None else changes.swept
            self.trimmed = self.trimmed if changes.trimmed is None else changes.trimmed
            if changes.ranges is not None and changes.ranges.hidden != ranges.hidden:  # passed over, and visible now
                self.swept = self.trimmed = b""

    def _advance_checkpoint(self) -> None:
        """Begin a checkpoint if it is time, and flush what is due of the one that goes on; mend a broken log."""
        if self.log.broken:
            self._transact([])
        if self._checkpoints.may_begin(len(self.memtable.records), self.log.size):
            self.retention.make_room_to_rotate(self.lmdb.counters.sequence)
            if self.log.files > self.lmdb.meta.log.files:
                self._transact([])
            self.log.rotate(self._steady())
            self._checkpoints.begin(self.memtable, self.log.sequence)
        if self._checkpoints.current is not None and (due := self._checkpoints.due(self.memtable)):
            began, (checkpoint, keys, done) = self._steady(), due
            flush = DirectUpdate(lambda transaction: transaction.flush(keys))
            self._transact([flush], checkpoint.sequence if done == len(checkpoint.keys) else None)
            self._background += (self._steady() - began) * self._checkpoints.of_background
            self._checkpoints.flushed(done)

    def _commit_direct(self, updates: Sequence[DirectUpdate]) -> list[object]:
        """Do updates in one transaction of LMDB."""
        try:
            return self._transact(updates)
        except Exception:  # noqa: BLE001  # see `FailureLog.outcomes`
            return self._failures.outcomes(self._commit_direct, updates)

    def _transact(self, updates: Sequence[DirectUpdate], checkpointed: int | None = None) -> list[object]:
        """Do updates in one transaction, save the counters in it, and draw the consequences for memtable and log.

        :param checkpointed: the last group that LMDB has completely after the transaction; None: as before.
        """
        if self._durability is not Durability.FSYNC and not self.log.broken:
            self.log.sync()
            self.unsynced = False
        try:
            with self.environment.begin(write=True, buffers=True) as lmdb_transaction:
                transaction = WriteTransaction(
                    lmdb_transaction, self.databases, self.memtable, self.lmdb.counters.copy(), self.counters.copy()
                )
                if self.log.broken:
                    transaction.flush_all()
                outcomes = [update.work(transaction) for update in updates]
                everything = len(transaction.flushed) == len(self.memtable.records)
                saved = transaction.lmdb_counters
                saved.version = transaction.counters.version
                if everything:
                    # A broken log may have one more group, which was refused: a start must pass it over.
                    saved.sequence = self.log.sequence + self.log.broken
                elif checkpointed is not None:
                    saved.sequence = checkpointed
                saved.ballot, saved.origin = transaction.counters.ballot, transaction.counters.origin
                saved.hidden = HiddenCounts(transaction.counters.hidden.ranges)
                meta = Meta(saved.packed(), self.text, self.retention.saved(), self.incarnation)
                meta.write(lmdb_transaction, self.databases, self.lmdb.meta)
        except lmdb.MapFullError:
            self.lmdb.double_map()
            return self._transact(updates, checkpointed)
        self.lmdb.committed(saved, meta, transaction.flushed)
        if transaction.first_listed is not None:
            self.swept = min(self.swept, transaction.first_listed)
        with self.lock:
            self.memtable.discard(transaction.flushed)
            self.counters = transaction.counters
        if everything:
            self._checkpoints.current = None
            self.retention.begin_anew(saved.sequence)
        return outcomes

    def _sync_if_due(self) -> None:
        """Sync the log from time to time, where not each group is synced."""
        if self.unsynced and self._steady() - self._last_sync >= _SYNC_EVERY:
            try:
                self.log.sync()
            except OSError as error:
                self._failures.add("the disk could not be synced", reason_of(error))
            else:
                self.unsynced = False
                self._last_sync = self._steady()
