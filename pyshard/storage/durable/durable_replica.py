"""What the durable store does as one of several replicas: the reactor's side of `pyshard.storage.durable.replica_log`.

Rules:

- whatever changes anything waits for the writer's thread, behind all that was asked for before;
- only a primary is told at once what is committed, since nothing is to be done for it: the writer sees it later;
- a batch counts from when it is submitted until its group is committed, where this store leads. What it was found to
  take more than it was admitted with is looked at once more by the writer, before the next one is done;
- who follows with what isn't committed is ended as soon as the store is to be a member.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.model.key_slots import slots_of
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.protocol.log_positions import BallotHistory, LogPosition
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.copied_sizes import will_copy
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.data_directory import FORMAT
from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.durable.engine import StorageEngine
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.group_commit import GroupCommit
from pyshard.storage.durable.logged_and_direct_updates import LoggedUpdate, ReplicaUpdate, Update
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.durable.replica_log import ReplicaLog, ballots_of, position_of
from pyshard.storage.durable.store_followers import StoreFollowers
from pyshard.storage.durable.uncommitted_size import own_size_of_group, size_of_batch
from pyshard.storage.durable.update_size import update_size
from pyshard.storage.following_interface import IFollowingReplica
from pyshard.storage.interface import Sender, Task
from pyshard.storage.replicated_interface import Promise, ReplicaRole
from pyshard.storage.uncommitted_bytes import UncommittedBytes

_T = TypeVar("_T")


class DurableReplica:
    """What of `IReplicatedStore` the durable store does; see there for what each method promises."""

    log_format = FORMAT
    incarnation: str
    _engine: StorageEngine
    _writer: GroupCommit[Update]
    _followers: StoreFollowers
    _replica_log: ReplicaLog
    _last_made = 0  # the number of the last group that was counted for somebody's address
    _leads = False  # as far as the reactor's thread knows; also `commit` is in order then

    @property
    def role(self) -> ReplicaRole:
        """See `IReplicatedStore`."""
        return self._engine.replica.role

    @property
    def position(self) -> LogPosition:
        """See `IReplicatedStore`."""
        return position_of(self._engine)

    @property
    def writable(self) -> float:
        """See `IStore`."""
        return self._engine.checkpoints.allowance.rate

    @property
    def safe(self) -> int:
        """See `IReplicatedStore`."""
        engine, last = self._engine, self.position.sequence
        return min(engine.safe, last) if engine.durability is Durability.FSYNC else last

    @property
    def ballots(self) -> BallotHistory:
        """See `IReplicatedStore`."""
        return ballots_of(self._engine)

    @property
    def committed(self) -> int:
        """See `IReplicatedStore`."""
        return self._engine.committed

    @property
    def promised(self) -> Promise:
        """See `IReplicatedStore`."""
        return self._engine.replica.promised

    @property
    def incomplete(self) -> bool:
        """See `IReplicatedStore`."""
        return self._engine.replica.incomplete

    @property
    def uncommitted(self) -> UncommittedBytes:
        """See `IReplicatedStore`."""
        return self._engine.replica.bytes

    def recall(self) -> bytes | None:
        """See `IStore`."""
        return self._engine.text

    @property
    def all_counted(self) -> bool:
        """See `IRangedStore`."""
        return not self._engine.counters.hidden.uncounted

    def staged_documents(self, name: str) -> int:
        """See `IRangedStore`."""
        return self._engine.counters.hidden.staged(name)

    def may_be_undone(self, index: str, keys: Sequence[bytes]) -> bool:
        """See `IReplicatedStore`."""
        number = self._engine.counters.indexes.get(index) if index else DEFAULT_INDEX
        uncommitted = self._engine.replica.uncommitted
        if number is None or uncommitted is None:
            return True
        slots = slots_of(keys, index.encode())
        db_keys = map(lmdb_encoding.database_key, repeat(number), slots, keys)
        return uncommitted.any_of(db_keys, self._engine.committed)

    def will_copy(self, tasks: Sequence[Task]) -> int:
        """See `IStore`."""
        return will_copy(self._engine, tasks)

    def promise(self, ballot: int, text: bytes = b"") -> Deferred[None]:
        """See `IReplicatedStore`."""
        return self._writer.submit(ReplicaUpdate(lambda: self._replica_log.promise(Promise(ballot, text))))

    def lead(self, ballot: int) -> Deferred[int]:
        """See `IReplicatedStore`."""

        def leads(sequence: int) -> int:
            self._leads = self.role is ReplicaRole.PRIMARY
            return sequence

        led: Deferred[int] = self._writer.submit(ReplicaUpdate(lambda: self._replica_log.lead(ballot)))
        return led.addCallback(leads)

    def be_member(self) -> Deferred[None]:
        """See `IReplicatedStore`."""

        def begun(outcome: None) -> None:
            self.uncommitted.begin_anew()
            return outcome

        self._leads = False
        self._followers.end_uncommitted("this store isn't the primary any more")
        return self._writer.submit(ReplicaUpdate(self._replica_log.be_member)).addCallback(begun)

    def follow_as_replica(self, name: str, after: int, log_format: int) -> IFollowingReplica:
        """See `IFollowedStore`."""
        return self._followers.follow_as_replica(name, after, log_format)

    def append(self, groups: Sequence[ReplicatedGroup]) -> Deferred[None]:
        """See `IReplicatedStore`."""
        return self._writer.submit(ReplicaUpdate(lambda: self._replica_log.append(groups)))

    def commit(self, sequence: int) -> Deferred[None]:
        """See `IReplicatedStore`."""
        if not self._leads:
            return self._writer.submit(ReplicaUpdate(lambda: self._replica_log.commit(sequence)))
        self._replica_log.commit(sequence)
        self.uncommitted.committed(self.committed)
        self._followers.wake()
        return succeed(None)

    def cut(self, sequence: int) -> Deferred[None]:
        """See `IReplicatedStore`."""
        return self._writer.submit(ReplicaUpdate(lambda: self._replica_log.cut(sequence)))

    def begin_copy(self, head: ChangeGroup) -> Deferred[None]:
        """See `IReplicatedStore`."""

        def begun(outcome: None) -> None:
            self.incarnation = self._engine.incarnation.id
            return outcome

        self._followers.end("this store becomes a copy of another one")
        return self._writer.submit(ReplicaUpdate(lambda: self._replica_log.begin_copy(head))).addCallback(begun)

    def load_page(self, changes: Sequence[Change]) -> Deferred[None]:
        """See `IReplicatedStore`."""
        return self._writer.submit(ReplicaUpdate(lambda: self._replica_log.load_page(changes)))

    def end_copy(self) -> Deferred[None]:
        """See `IReplicatedStore`."""
        return self._writer.submit(ReplicaUpdate(self._replica_log.end_copy))

    # ------------------------------------------------------------------ inside

    def _count_behind(self, most: int) -> Deferred[bool]:
        """Count on what is given up already; a Deferred of whether there may be more to sweep."""

        def work() -> bool:
            self._engine.count_behind(most)
            return True

        return self._writer.submit_background(ReplicaUpdate(work, background=1))

    def _submit_batch(
        self, work: Callable[[MergedView, Counters, GroupChanges], object], tasks: Sequence[Task], sender: Sender
    ) -> Deferred[Any]:
        """Have a batch done that changes something; a primary's counts until it is committed.

        :param work: see `LoggedUpdate`.
        :return: see `GroupCommit.submit`.
        """
        (size, changed), copied = update_size(tasks), will_copy(self._engine, tasks)
        if not self._leads:
            return self._writer.submit(LoggedUpdate(work), size, changed, sender, copied)
        uncommitted, address, put = self.uncommitted, sender.address, 0

        def work_and_count(view: MergedView, counters: Counters, changes: GroupChanges) -> object:
            nonlocal put
            before = changes.put_bytes
            if (refused := uncommitted.refusal_now(before)) is not None:
                return Failure(refused)
            outcome = work(view, counters, changes)
            put = changes.put_bytes - before
            return outcome

        def done(outcome: _T) -> _T:
            uncommitted.end(address, size + copied)
            if self._leads and not isinstance(outcome, Failure):
                taken, sequence = size_of_batch(size, changed, put, tasks), self.position.sequence
                if sequence > self._last_made:  # who is first in a group has what that takes by itself
                    taken += own_size_of_group(self._engine.counters)
                    self._last_made = sequence
                uncommitted.made(sequence, address, taken)
            return outcome

        uncommitted.begin(address, size + copied)
        return self._writer.submit(LoggedUpdate(work_and_count), size, changed, sender, copied).addBoth(done)
