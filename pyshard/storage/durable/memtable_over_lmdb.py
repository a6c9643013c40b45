"""The records of a durable store: a memtable over LMDB, the log before them, and checkpoints from the one to the other.

Rules:

- readers see the memtable over LMDB, under a lock that is held for a moment while either changes;
- when a checkpoint begins, the log rotates; `pyshard.storage.durable.checkpoint` says when;
- after a checkpoint older segments of the log go, unless a follower needs them; a start replays what LMDB may lack;
- a change comes into LMDB only when it is safe in the log, and committed: where not each group is synced, the log is
  synced before each transaction, and of what a primary has made LMDB gets what its members have, too;
- a broken log takes no groups until a transaction has flushed the whole memtable. When LMDB has everything, the log
  starts over at the beginning of its file (a new *lap*), unless a follower needs what it has. That of a replica is
  mended where it is, since LMDB must not get all of it, and its numbers must have no gap;
- LMDB's map can't grow while it is open: if it is full, it is doubled and the whole transaction is done again. No
  other transaction may be open then, so readers wait for a moment, and snapshots are ended.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import lmdb

from pyshard.clocks import steady_seconds
from pyshard.metrics.collector_time import COLLECTOR_TIME
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.log_groups import LogGroup
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage.durable.checkpoint import CheckpointSchedule
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.durable.flush_steps import FlushPace
from pyshard.storage.durable.given_up_counts import CountsAhead
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.hidden_records import recount
from pyshard.storage.durable.lmdb_data import LmdbData
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.log_retention import opened_log
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.durable.replay import replay_logged
from pyshard.storage.durable.replica_state import ReplicaState
from pyshard.storage.durable.saved_meta import Incarnation, Meta
from pyshard.storage.durable.uncommitted_size import size_of_group
from pyshard.storage.follower_places import DEFAULT_BOUND, FollowedBound
from pyshard.storage.hidden_counts import HiddenCounts
from pyshard.storage.replicated_interface import ReplicaRole

#: Bytes of address space to begin with, not of memory or disk.
FIRST_MAP = 64 * 1024**3

#: Records that the memtable may have before a checkpoint begins.
MOST_CHANGED = 50_000


class MemtableOverLmdb:
    """What is in a data directory. All that changes it is for the writer's thread.

    :param directory: the locked data directory.
    :param seconds: the time since 1970, for versions.
    :param durability: when an update is done.
    :param first_map: bytes of address space to begin with.
    :param most_changed: records that the memtable may have before a checkpoint begins.
    :param steady: the clock that times syncs, and how long segments are kept.
    :param bound: how much of the log is kept for followers.
    :param new_id: gives hex UUIDs, for incarnations.
    :param processor: seconds of a processor that the calling thread has had, but for garbage collections.
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
    :ivar lmdb: what LMDB has.
    :ivar replica: the store's part in a group of replicas.
    :ivar flushes: when the next one may begin.
    :ivar several_ask: tells whether several addresses have asked for something in so many seconds.
    :ivar background: seconds that the present commit took for background work; see `Committed`.
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
        processor: Callable[[], float] = COLLECTOR_TIME.processor,
    ) -> None:
        self._steady, self._processor = steady, processor
        self.durability = durability
        self.checkpoints, self.flushes = CheckpointSchedule(most_changed), FlushPace()
        self.several_ask: Callable[[float], bool] = lambda _: False
        self.background, self.unsynced = 0.0, False
        self.swept = self.trimmed = b""
        self.memtable, self.ahead = Memtable(), CountsAhead()
        self.lmdb = LmdbData(directory, first_map, seconds())
        self.lock, self.environment, self.databases = self.lmdb.lock, self.lmdb.environment, self.lmdb.databases
        meta, self.counters = self.lmdb.meta, self.lmdb.counters.copy()
        self.text = meta.text
        self.incarnation = Incarnation.next(meta.incarnation, durability, new_id)
        self.replica, flushed = ReplicaState(meta.replica, self.lmdb.counters), self.lmdb.counters.sequence
        try:
            self.log, self.retention = opened_log(
                directory,
                meta.log,
                flushed,
                bound,
                steady,
                anew=self.replica.incomplete,
                until=None if meta.replica is None else meta.replica.cut,
            )
        except BaseException:
            self.environment.close()
            raise
        try:
            self._replay_log()
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
    def frozen(self) -> Iterator[tuple[lmdb.Transaction[memoryview], Counters, Memtable]]:
        """All records as they are, for long: a transaction of LMDB, the counters, and a copy of the memtable.

        The transaction stays open until the caller aborts it.
        """
        with self.lock:
            yield self.environment.begin(buffers=True), self.counters, self.memtable.copy()

    @property
    def committed(self) -> int:
        """The number of the last group that is known to be committed."""
        return self.sequence if self.replica.role is ReplicaRole.ALONE else self.replica.committed

    def close(self) -> None:
        """Close the log and LMDB."""
        self.log.close()
        self.environment.close()

    def _replay_log(self) -> None:
        """Replay what the log has and LMDB doesn't; from the first start on, note in LMDB that there is a log."""
        for group in self.replica.found(self.log.groups):
            self.replay(group)
        self.sequence = self.log.sequence - len(self.replica.pending)
        if self.log.groups:  # both files may have some
            self.log.groups = []
            self.checkpoints.begin(self.memtable, self.sequence)
        cut = self.lmdb.meta.replica is not None and self.lmdb.meta.replica.cut is not None  # it is done by now
        if not self.lmdb.counters.sequence or self.lmdb.meta.incarnation != self.incarnation or cut:
            self.transact([])
        self.recount()

    def recount(self) -> None:
        """Count anew what is hidden: it isn't saved, and groups may be replayed that LMDB has."""
        if self.counters.hidden.ranges.hidden:
            with self.reading() as view:
                recount(view, self.counters)

    def replay(self, group: LogGroup) -> None:
        """Do what a group of the log did, and show it to readers."""
        counters, changes = self.counters.copy(), GroupChanges()
        with self.environment.begin(buffers=True) as transaction:
            view = MergedView(self.databases, transaction, changes, self.memtable)
            replay_logged(view, counters, changes, group, self.ahead)
            difference = self.ahead.difference(view, changes.records)
        self.checkpoints.add(len(changes.records), len(group.payload), 0)
        self.take(changes, counters, group.sequence, len(group.payload))
        self.ahead.take(difference, counters.hidden)

    def count_behind(self, most: int) -> bool:
        """Count on what is given up already, and isn't all counted; whether there is more.

        :param most: how many records are looked at, at the most.
        """
        if self.counters.hidden.uncounted:
            with self.environment.begin(buffers=True) as transaction:
                view = MergedView(self.databases, transaction, self.memtable)
                counters = self.ahead.count_behind(view, self.counters, most)
            if counters is None:
                return True
            with self.lock:
                self.counters = counters
        return False

    def go_back(self, groups: Sequence[LogGroup]) -> None:
        """Forget all that LMDB doesn't have, and do what some groups of the log did.

        :param groups: all that LMDB may lack of what is to be seen.
        """
        memtable, counters, text = Memtable(), self.lmdb.counters.copy(), self.lmdb.meta.text
        counters.expired = self.counters.expired
        for group in groups:
            counters, changes = counters.copy(), GroupChanges()
            with self.environment.begin(buffers=True) as transaction:
                replay_logged(MergedView(self.databases, transaction, changes, memtable), counters, changes, group)
            memtable.merge(changes)
            text = text if changes.text is None else changes.text
        with self.lock:
            self.memtable, self.counters, self.text = memtable, counters, text
            self.sequence = groups[-1].sequence if groups else self.lmdb.counters.sequence
            self.swept = self.trimmed = b""
        self.ahead = CountsAhead()
        self.checkpoints.stop()

    def empty(self, seconds: float, head: ChangeGroup) -> None:
        """Have no records and own nothing, in one transaction of LMDB that saves what the replica is.

        :param seconds: the time since 1970.
        :param head: of a copy: the store has its indexes and its number then.
        """
        counters = Counters.first(seconds)
        counters.set_indexes(head.indexes or {}, head.next_index)
        counters.sequence, counters.hidden.ranges = head.sequence, StoreRanges(owned=())
        meta = Meta(counters.packed(), None, self.retention.saved(), self.incarnation, self.replica.saved(0, 0))
        try:
            with self.environment.begin(write=True) as transaction:
                transaction.drop(self.databases.records, delete=False)  # without the lock: readers go on meanwhile
                transaction.drop(self.databases.expiries, delete=False)
                meta.write(transaction, self.databases, self.lmdb.meta)
        except lmdb.MapFullError:
            self.lmdb.double_map()
            self.empty(seconds, head)
            return
        self.lmdb.committed(counters, meta, {})
        with self.lock:
            self.memtable, self.counters, self.text, self.sequence = Memtable(), counters.copy(), None, head.sequence
            self.swept = self.trimmed = b""
        self.ahead = CountsAhead()
        self.checkpoints.stop()

    def take(self, changes: GroupChanges, counters: Counters, sequence: int, size: int) -> None:
        """Show readers what a group changes.

        :param size: bytes of its payload.
        """
        replica = self.replica
        if replica.uncommitted is not None:
            replica.uncommitted.settle(replica.committed, self.lmdb.counters)  # so that it stays small
            replica.uncommitted.add(sequence, changes, counters, self.memtable)
            replica.bytes.add_group(sequence, size_of_group(size, changes, counters))
        with self.lock:
            ranges = self.counters.hidden.ranges
            self.memtable.merge(changes)
            self.counters = counters
            self.sequence = sequence
            if changes.indexes is not None and replica.uncommitted is None:
                self.lmdb.counters.set_indexes(changes.indexes, changes.next_index)
                self.lmdb.counters.indexes_since = counters.indexes_since
            self.text = self.text if changes.text is None else changes.text
            self.swept = self.swept if changes.swept is None else changes.swept
            self.trimmed = self.trimmed if changes.trimmed is None else changes.trimmed
            if changes.ranges is not None and changes.ranges.hidden != ranges.hidden:  # passed over, and visible now
                self.swept = self.trimmed = b""

    def _settled(self) -> tuple[int, Counters, bytes | None]:
        """The newest state of which LMDB may have anything: number of the last group, counters, remembered text."""
        if (uncommitted := self.replica.uncommitted) is not None:
            return uncommitted.sequence, uncommitted.counters, uncommitted.text
        if self.replica.role is ReplicaRole.MEMBER:
            return self.sequence, self.counters, self.text
        # A broken log may have one more group, which was refused: a start must pass it over.
        return self.log.sequence + self.log.broken, self.counters, self.text

    def transact(
        self, updates: Sequence[DirectUpdate], checkpointed: Callable[[], int | None] = lambda: None
    ) -> list[object]:
        """Do updates in one transaction, save the counters in it, and draw the consequences for memtable and log.

        :param checkpointed: gives the last group that LMDB has completely after these updates; None: as before.
        """
        replica = self.replica
        if self.log.broken and replica.role is not ReplicaRole.ALONE:
            self.log.mend()  # as LMDB must not get all that it has, and no number may be left out
        if (self.durability is not Durability.FSYNC or self.log.synced < self.log.sequence) and not self.log.broken:
            self.log.sync()
            self.unsynced = False
        memtable = replica.settled(self.memtable, self.lmdb.counters)
        sequence, settled, text = self._settled()
        try:
            with self.environment.begin(write=True, buffers=True) as lmdb_transaction:
                transaction = WriteTransaction(
                    lmdb_transaction, self.databases, memtable, self.lmdb.counters.copy(), self.counters.copy()
                )
                if self.log.broken:
                    transaction.flush_all()
                outcomes = [update.work(transaction) for update in updates]
                everything = len(transaction.flushed) == len(memtable.records)
                saved = transaction.lmdb_counters
                saved.version, saved.ballot, saved.origin = settled.version, settled.ballot, settled.origin
                saved.sequence = sequence if everything else checkpointed() or saved.sequence
                saved.hidden = HiddenCounts(settled.hidden.ranges)
                kept = self.retention.saved(), self.incarnation, replica.saved(saved.sequence, sequence)
                meta = Meta(saved.packed(), text, *kept)
                meta.write(lmdb_transaction, self.databases, self.lmdb.meta)
        except lmdb.MapFullError:
            self.lmdb.double_map()
            return self.transact(updates, checkpointed)
        flushed = transaction.flushed
        self.lmdb.committed(saved, meta, flushed)
        if transaction.first_listed is not None:
            self.swept = min(self.swept, transaction.first_listed)
        with self.lock:
            self.memtable.discard(flushed if replica.uncommitted is None else replica.uncommitted.flushed(flushed))
            self.counters = transaction.counters
        if everything:
            self.checkpoints.end(saved.sequence)
            if saved.sequence >= self.log.sequence:
                self.retention.begin_anew(saved.sequence)
        return outcomes
