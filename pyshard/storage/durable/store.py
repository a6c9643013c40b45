"""The durable store: `IStore` over the data of a data directory.

Rules, beside those of every store (`pyshard.storage.interface`):

- a batch that only reads is answered at once, from what was done before it;
- any other batch waits for the writer thread (`pyshard.storage.durable.group_commit`), which has the engine
  (`pyshard.storage.durable.engine`) commit all that wait, and is answered when the store's durability says so;
- nobody sees what a batch changes before it is done;
- an open snapshot is ended, with the reason, if LMDB's map must grow, or the store is closed.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import lmdb
import msgspec
from twisted.internet.defer import Deferred, execute, fail, succeed
from twisted.python.failure import Failure

from pyshard.clocks import steady_seconds
from pyshard.errors import ConfigError, StorageFailed
from pyshard.metrics.disk_reads import disk_reads
from pyshard.metrics.store_figures import DiskFigures, StoreFigures
from pyshard.model.slot_ranges import SlotRanges, common
from pyshard.protocol.batch_answers import Answer, Result
from pyshard.protocol.batch_operations import changes
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.pages import Row
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.settings import settings
from pyshard.storage.batch_executor import BatchExecutor, no_such_index
from pyshard.storage.durable import assignment_updates, range_updates
from pyshard.storage.durable.copied_sizes import size_of_records
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.directory_refusals import data_refused
from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.durable.durable_replica import DurableReplica
from pyshard.storage.durable.engine import StorageEngine
from pyshard.storage.durable.expiry_sweep import sweep_expired
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.group_commit import GroupCommit
from pyshard.storage.durable.hidden_records import TRIM_COUNTED, trim
from pyshard.storage.durable.index_records import DurableIndex
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.lmdb_snapshots import LmdbSnapshots
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate, LoggedUpdate, ReplicaUpdate, Update
from pyshard.storage.durable.memtable_over_lmdb import FIRST_MAP, MOST_CHANGED
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.durable.page_of_keys import page_between
from pyshard.storage.durable.replica_log import ReplicaLog
from pyshard.storage.durable.store_followers import StoreFollowers
from pyshard.storage.follower_places import DEFAULT_BOUND, FollowedBound, FollowerPlaces
from pyshard.storage.following_interface import ICopy, IFollower
from pyshard.storage.interface import ITSELF, Page, PageBounds, Sender, Task
from pyshard.storage.look_budget import LookBudget
from pyshard.storage.ranges_interface import RangeChanges
from pyshard.storage.replicated_interface import ReplicaRole, SeenAnswers
from pyshard.storage.slot_histogram import histogram
from pyshard.storage.snapshot import Snapshot, StoreCopy


class LmdbStore(DurableReplica, RangeChanges):
    """`IStore` in a data directory; see `pyshard.storage.interface` for what each method promises.

    It must be made after daemonizing, since an LMDB environment does not survive a fork.

    :param directory: the locked data directory; it is closed with the store, or when the data can't be opened.
    :param seconds: the time since 1970, for versions and expiry.
    :param call_from_thread: has a function called in the reactor's thread; None: no writer thread, every change is
        committed where it is asked for.
    :param durability: when a change is acknowledged.
    :param first_map: bytes of address space to begin with.
    :param most_changed: records that may be changed before a checkpoint begins.
    :param steady: the clock that times syncs, and how long the log is kept for followers.
    :param bound: how much of the log is kept for them.
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
        steady: Callable[[], float] = steady_seconds,
        bound: FollowedBound = DEFAULT_BOUND,
    ) -> None:
        self.identity = directory.identity
        self._directory = directory
        self._seconds = seconds
        try:
            self._engine = StorageEngine(directory, seconds, durability, first_map, most_changed, steady, bound)
        except ConfigError:
            directory.close()
            raise
        except (lmdb.Error, OSError, ValueError, msgspec.MsgspecError) as error:
            directory.close()
            raise ConfigError(data_refused(directory.records, error, os.geteuid())) from None
        self._snapshots = LmdbSnapshots(self._engine)
        self.incarnation = self._engine.incarnation.id
        self._writer: GroupCommit[Update] = GroupCommit(
            self._engine.commit_first, call_from_thread, self._engine.finish, steady
        )
        self._engine.several_ask = self._writer.several_ask
        self._followers = StoreFollowers(self._engine, self.identity, call_from_thread)
        self._replica_log = ReplicaLog(self._engine, self.identity, seconds, lambda: uuid.uuid4().hex)

    @classmethod
    def check(cls, directory: DataDirectory, seconds: Callable[[], float]) -> None:
        """Open the data and close them again, so that daemonizing need not find out that they can't be opened.

        :param seconds: the time since 1970: new data begin their versions with it.
        :raises ConfigError: the data can't be opened.
        """
        cls(directory, seconds)._engine.close()

    @property
    def documents(self) -> int:
        counters = self._engine.counters
        return sum(counters.documents.values()) - counters.hidden.documents()

    def count(self, index: int) -> int:
        counters = self._engine.counters
        if index not in counters.documents:
            raise no_such_index(index)
        return counters.documents[index] - counters.hidden.documents(index)

    @property
    def used(self) -> int:
        return self._engine.counters.used - self._engine.counters.hidden.used()

    @property
    def figures(self) -> StoreFigures:
        log, writer = self._engine.log, self._writer
        free, size = self._directory.room
        disk = DiskFigures(writer.waiting_bytes, log.file_bytes, log.broken, writer.commits, log.sizes, free, size)
        return StoreFigures(self._engine.counters.expired, disk)

    def apply(self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        if not any(changes(task.run) for task in tasks):
            self._writer.ask(sender)
            try:
                with self._engine.reading() as view:
                    return succeed(self._execute(view, self._engine.counters, None, tasks, limit, room))
            except lmdb.Error as error:
                return fail(_unreadable(error))
        return self._submit_batch(
            lambda view, counters, changes: self._execute(view, counters, changes, tasks, limit, room), tasks, sender
        )

    def apply_seen(
        self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF
    ) -> Deferred[SeenAnswers]:
        engine = self._engine
        if not any(changes(task.run) for task in tasks):
            self._writer.ask(sender)
            try:
                with engine.reading() as view:
                    answers = self._execute(view, engine.counters, None, tasks, limit, room)
                    return succeed(SeenAnswers(answers, engine.sequence))
            except lmdb.Error as error:
                return fail(_unreadable(error))

        def work(view: MergedView, counters: Counters, changes: GroupChanges) -> SeenAnswers:
            answers = self._execute(view, counters, changes, tasks, limit, room)
            return SeenAnswers(answers, engine.log.sequence + changes.any)  # the group that is made, if any is

        return self._submit_batch(work, tasks, sender)

    def will_give(self, tasks: Sequence[Task]) -> int:
        return size_of_records(self._engine, tasks, settings.ANSWER_BYTES)

    def read_at_hand(self, index: int, keys: Sequence[bytes], room: int) -> list[Result] | None:
        return None

    def surely_has_all(self, index: int, keys: Sequence[bytes]) -> bool:
        return False  # database keys begin with the slot

    def page(self, index: int, start: int, after: bytes | None, end: int, bounds: PageBounds) -> Deferred[Page]:
        if index not in self._engine.counters.documents:
            return fail(no_such_index(index))
        owned = common(((start, end),), self._engine.counters.hidden.ranges.served)
        try:
            with self._engine.reading() as view:
                return succeed(page_between(view, index, owned, (start, after), bounds, self._now()))
        except lmdb.Error as error:
            return fail(_unreadable(error))

    def set_indexes(self, indexes: Mapping[str, int], next_index: int = 0, text: bytes | None = None) -> Deferred[None]:
        return self._writer.submit(assignment_updates.setting_indexes(indexes, next_index, text))

    def sweep(self, most: int) -> Deferred[bool]:
        engine = self._engine

        def work(view: MergedView, counters: Counters, changes: GroupChanges) -> bool:
            more = trim(view, counters, changes, engine.trimmed, most)
            return sweep_expired(view, counters, changes, engine.swept, self._now(), most) or more

        if engine.counters.hidden.uncounted:
            return self._count_behind(most)
        if engine.counters.dropped and engine.counters.indexes_since <= engine.committed:
            return self._writer.submit_background(
                DirectUpdate(lambda transaction: transaction.sweep(most) or self._is_more_to_sweep(), background=1)
            )
        if self._is_more_to_sweep() and not self.uncommitted.is_crowded:  # it would wait for the members, too
            counted = TRIM_COUNTED if self.ranges.left else 1
            return self._writer.submit_background(LoggedUpdate(work, background=counted))
        if engine.checkpoints.is_behind:  # else nothing would go on without changes, which may have to wait for it
            update = ReplicaUpdate(engine.advance_checkpoint, background=1)
            return self._writer.submit_background(update).addCallback(lambda _: engine.checkpoints.is_behind)
        if engine.unsynced or engine.retention.is_overdue():
            return self._writer.submit(ReplicaUpdate(engine.advance_checkpoint)).addCallback(bool)
        return succeed(False)

    def histogram(self, start: int, end: int, bars: int) -> list[int]:
        counters = self._engine.counters
        return histogram(counters.bucket_counts, start, end, bars, counters.hidden.buckets)

    def snapshot(self) -> Snapshot[Row]:
        return self._snapshots.open(self._now())

    @property
    def sequence(self) -> int:
        return self._engine.sequence

    def copy(self, name: str | None, ranges: SlotRanges | None = None) -> Deferred[ICopy]:
        opened: list[StoreCopy] = []

        def work(_: WriteTransaction) -> StoreCopy:
            def note(copy: StoreCopy) -> None:
                opened.append(copy)
                self._snapshots.add(copy)

            return self._followers.open_copy(name, ranges, note, lambda: self._snapshots.discard(opened[-1]))

        def failed(failure: Failure) -> Failure:
            for copy in opened:
                copy.close()
            if name is not None:
                self.forget(name)
            return failure

        copied: Deferred[ICopy] = self._writer.submit(DirectUpdate(work)).addErrback(failed)
        return copied

    def follow(self, name: str, after: int, ranges: SlotRanges | None = None) -> IFollower[ChangeGroup]:
        return self._followers.follow(name, after, ranges)

    def forget(self, name: str) -> None:
        self._followers.forget(name)

    @property
    def followers(self) -> FollowerPlaces:
        return self._engine.retention.places

    def absorb(self, group: ChangeGroup, origin: Origin | None = None) -> Deferred[None]:
        update = range_updates.absorbing(self._engine.ahead, group, origin, self._seconds())
        return self._writer.submit(update, group.size, len(group.changes))

    @property
    def origin(self) -> Origin | None:
        return self._engine.counters.origin

    @property
    def ranges(self) -> StoreRanges:
        return self._engine.counters.hidden.ranges

    def own(self, ranges: SlotRanges) -> Deferred[None]:
        return self._writer.submit(range_updates.owning(self._engine.ahead, ranges))

    def count_ahead(self, ranges: SlotRanges, most: int) -> Deferred[bool]:
        if self._engine.replica.role is ReplicaRole.ALONE:
            return self._writer.submit(range_updates.counting(self._engine.ahead, ranges, most))
        return self._writer.submit(ReplicaUpdate(lambda: self._replica_log.count_ahead(ranges, most)))

    def change_ranges(self, decide: Callable[[StoreRanges], StoreRanges]) -> Deferred[None]:
        return self._writer.submit(range_updates.changing(decide))

    def absorb_staged(self, name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        update = range_updates.absorbing_staged(name, group, sequence, limit, self._seconds())
        if self.uncommitted.is_crowded:
            return execute(self.uncommitted.check_own_work)
        return self._writer.submit(update, group.size, len(group.changes))

    def remember(self, text: bytes) -> Deferred[None]:
        return self._writer.submit(assignment_updates.remembering(text))

    def hold_large(self, seconds: float) -> None:
        self._writer.hold_large(seconds)

    def refuse_waiting(self) -> None:
        self._writer.refuse_waiting()

    def close(self) -> Deferred[None]:
        return self._writer.close().addCallback(self._writer_closed)

    # ------------------------------------------------------------------ inside

    def _writer_closed(self, _: object) -> None:
        self._followers.end("the store was closed")
        with self._engine.lock:
            self._snapshots.end("the store was closed")
        self._engine.close()
        self._directory.close()

    def _now(self) -> int:
        return int(self._seconds() * 1000)

    def _execute(
        self,
        view: MergedView,
        counters: Counters,
        changes: GroupChanges | None,
        tasks: Sequence[Task],
        limit: int,
        room: int,
    ) -> list[Answer]:
        """The answers of a batch; for the first parameters see `DurableIndex`."""

        def index_of(number: int) -> DurableIndex | None:
            if number not in counters.documents:
                return None
            return DurableIndex(view, number, counters, changes, looks)

        used, owned, looks = counters.used_of_limit, counters.hidden.ranges.served, LookBudget(disk_reads)
        executor = BatchExecutor(index_of, used, limit, room, self._now(), counters.next_versions, owned, looks)
        answers = [executor.answer(task) for task in tasks]
        if changes is not None:
            changes.given_bytes += room - executor.room
        return answers

    def _is_more_to_sweep(self) -> bool:
        if self._engine.counters.follows or self._engine.replica.role is ReplicaRole.MEMBER:
            return False
        with self._engine.reading() as view:
            return bool(self.ranges.left) or 0 < view.first_expiry(self._engine.swept) <= self._now()


def _unreadable(error: lmdb.Error) -> StorageFailed:
    return StorageFailed(f"the shard's disk could not be read: {error}")
