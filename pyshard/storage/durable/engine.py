"""The engine of the durable store: a write-ahead log, a memtable over LMDB, and checkpoints from the one to the other.

An LMDB transaction copies, writes and syncs roughly one page of 4 KiB for each changed record. A *group*, which is as
much of what waits as may be, costs one write and one sync in the log.

Rules:

- whatever changes what a store has is a `LoggedUpdate`: batches, sweeps and trims, what is absorbed from other stores,
  indexes, ranges, what the shard has it remember. It is done when the log has its group. Then readers see it, too;
- a group has a bounded number of changes, of bytes, and of bytes that its answers give, however many batches wait; only
  its last batch may cross them;
- a `DirectUpdate` changes only how data are kept. It is done in a transaction of LMDB, after all before it;
- a failing disk fails all updates of a group; any other error fails its own update alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from errno import EDQUOT, ENOSPC
from itertools import groupby
from typing import cast

from twisted.python.failure import Failure

from pyshard.clocks import steady_seconds
from pyshard.settings import settings
from pyshard.storage.durable.checkpointed_memtable import CheckpointedMemtable
from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.durable.failed_updates import FailureLog, reason_of
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.group_commit import Committed
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate, LoggedUpdate, ReplicaUpdate, Update
from pyshard.storage.durable.memtable_over_lmdb import FIRST_MAP, MOST_CHANGED
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.durable.saved_meta import Incarnation
from pyshard.storage.follower_places import DEFAULT_BOUND, FollowedBound
from pyshard.storage.replica_log_checks import not_primary
from pyshard.storage.replicated_interface import ReplicaRole

_ALONE, _MEMBER = ReplicaRole.ALONE, ReplicaRole.MEMBER  # as each group asks, and an enum is slow to look into
_SYNC_EVERY = 1.0  # seconds between syncs with Durability.ASYNC, and while the log is followed


class StorageEngine(CheckpointedMemtable):
    """Commits updates to what is in a data directory; for the parameters see `MemtableOverLmdb`.

    `commit_first` and `finish` are for the writer's thread, the rest for the readers'.

    :ivar safe: the number of the last group that will never be undone.
    :ivar on_safe: called in the writer's thread when there may be more for followers; None: nobody waits for that.
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
        self._failures = FailureLog(steady)
        self._last_sync = steady()
        self._given_bytes = 0  # of the present commit; see `Committed`
        self.on_safe: Callable[[], None] | None = None
        super().__init__(directory, seconds, durability, first_map, most_changed, steady, bound, new_id)
        self.safe = self.log.sequence

    def commit_first(self, updates: Sequence[Update]) -> Committed:
        """Do those updates from the front that fit into a group, or into a transaction; one at the least.

        :return: the outcome of each: what its work returned, or a Failure. Nothing of a failed update is done.
        """
        alike = updates if len(updates) == 1 else list(next(groupby(updates, type))[1])
        self._given_bytes, self.background, began, owed = 0, 0.0, self._steady(), self.checkpoints.costs.owed
        if type(alike[0]) is LoggedUpdate:
            outcomes = self._commit_group(cast("list[LoggedUpdate]", alike))
        elif type(alike[0]) is DirectUpdate:
            outcomes = self._commit_direct(cast("list[DirectUpdate]", alike))
        else:
            outcomes = self._commit_replica(cast("list[ReplicaUpdate]", alike[:1]))
        if alike[0].background and all(update.background for update in alike):
            self.background = (self._steady() - began) * alike[0].background
        self._sync_if_due()
        if self.log.kept:
            self.retention.release(self.lmdb.counters.sequence)
        if self.safe != self.log.synced or self.replica.role is not _ALONE:
            self.safe = self.log.synced
            if self.on_safe is not None:
                self.on_safe()
        return Committed(outcomes, self._given_bytes, self.background, self.checkpoints.costs.owed - owed)

    def readable(self, uncommitted: bool) -> int:
        """The number up to which somebody who follows may be given groups.

        What isn't committed is for members, and as safe as the durability makes it: they all have it in any case.
        """
        role = self.replica.role
        if role is _ALONE:
            return self.safe
        if role is ReplicaRole.PRIMARY and uncommitted:
            return self.sequence if self.durability is not Durability.FSYNC else min(self.safe, self.sequence)
        return min(self.safe, self.replica.committed)

    def flush_all(self) -> None:
        """Write the memtable to LMDB, as far as it is committed, so that the next start has nothing to replay."""
        if self.lmdb.counters.sequence < self.log.sequence or self.lmdb.meta.incarnation != self.incarnation:
            self._commit_direct([DirectUpdate(WriteTransaction.flush_all)])

    def finish(self) -> None:
        """Do what the next start needn't do, and note that nothing is lost."""
        self.incarnation = Incarnation(self.incarnation.id, open=False)
        self.flush_all()

    # ------------------------------------------------------------------ inside

    def _commit_group(self, updates: Sequence[LoggedUpdate]) -> list[object]:
        """Do updates, write what they change to the log as one group, then show it to readers.

        :return: the outcomes of those from the front that fit into a group; of one at the least.
        """
        if self.replica.role is _MEMBER:
            return [Failure(not_primary())] * len(updates)
        outcomes: list[object] = []
        most_changes, most_bytes, tried = settings.MAX_GROUP_CHANGES, settings.MAX_GROUP_BYTES, 0
        background, replaceable = 0.0, True
        try:
            self.advance_checkpoint()
            began, counters, changes = self._steady(), self.counters.copy(), GroupChanges()
            with self.environment.begin(buffers=True) as transaction:
                view = MergedView(self.databases, transaction, changes, self.memtable)
                for tried, update in enumerate(updates, 1):  # noqa: B007  # used where one of them failed
                    outcomes.append(update.work(view, counters, changes))
                    replaceable = replaceable and update.replaceable
                    if update.background:
                        self.background += (self._steady() - began) * update.background
                        background = len(changes.records) * update.background
                    if len(changes.records) >= most_changes or changes.largest >= most_bytes:
                        break  # what an update writes is known only when it is done
                difference = self.ahead.difference(view, changes.records)
            self._given_bytes += changes.given_bytes
            payload = changes.payload(counters.version)
            if payload:
                # Members are given what is synced, and answers may wait for them.
                replaceable = replaceable and self.replica.role is _ALONE
                sync = changes.must_sync or (self.durability is Durability.FSYNC and not replaceable)
                self.log.append(payload, sync, counters.ballot)
                self.retention.places.written += len(payload)
                if self.replica.uncommitted is not None:
                    self.replica.add(counters.ballot, self.log.active.sequence)
                if changes.indexes is not None:
                    counters.indexes_since = self.log.sequence
                self.unsynced = not sync and (
                    replaceable or self.durability is Durability.ASYNC or self.retention.places.any
                )
                self.checkpoints.add(len(changes.records), len(payload), background)
                self.take(changes, counters, self.log.active.sequence, len(payload))
                self.ahead.take(difference, counters.hidden)
            else:  # what was looked at in vain is behind the next sweep, too
                self.swept = self.swept if changes.swept is None else changes.swept
                self.trimmed = self.trimmed if changes.trimmed is None else changes.trimmed
        except Exception as error:  # noqa: BLE001  # see `FailureLog.outcomes`
            self._make_room(error)
            return self._failures.outcomes(self._commit_group, updates[:tried] or updates)
        return outcomes

    def _commit_direct(self, updates: Sequence[DirectUpdate]) -> list[object]:
        """Do updates in one transaction of LMDB."""
        try:
            return self.transact(updates)
        except Exception:  # noqa: BLE001  # see `FailureLog.outcomes`
            return self._failures.outcomes(self._commit_direct, updates)

    def _commit_replica(self, updates: Sequence[ReplicaUpdate]) -> list[object]:
        """Do an update of a replica."""
        try:
            return [update.work() for update in updates]
        except Exception as error:  # noqa: BLE001  # see `FailureLog.outcomes`
            self._make_room(error)
            return self._failures.outcomes(self._commit_replica, updates)

    def _make_room(self, error: Exception) -> None:
        """Give up what is kept for followers alone, if the disk is full: the next change may have room then."""
        if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):
            self.retention.leave_behind(self.lmdb.counters.sequence)

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
