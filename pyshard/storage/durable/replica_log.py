"""What a durable store does with its log as one of several replicas. All is for the writer's thread.

Rules:

- whatever is to come back after a restart is on the disk before a method returns;
- a member applies what is committed, and keeps the rest of its log pending: so the log can be cut without undoing;
- a primary that becomes a member throws its memtable away, and replays the log over LMDB up to what is committed;
- a copy empties LMDB in one transaction, which also says that the store is incomplete. Records go into LMDB a page at
  a time, without the log. The last transaction says that the store is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from errno import EIO

from pyshard.errors import BadRequest
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_groups import LogGroup, ReplicatedGroup
from pyshard.protocol.log_positions import BallotHistory, LogPosition
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.durability_modes import Durability
from pyshard.storage.durable.engine import StorageEngine
from pyshard.storage.durable.group_changes import barrier, decoded
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.log_changes import change_value, check_sizes, for_log
from pyshard.storage.durable.log_reader import GroupGone, LogReader
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.durable.merged_view import MergedView
from pyshard.storage.durable.replica_state import ALWAYS_ALONE
from pyshard.storage.durable.saved_meta import Incarnation
from pyshard.storage.durable.uncommitted_groups import UncommittedGroups
from pyshard.storage.hidden_counts import HiddenCounts
from pyshard.storage.replica_log_checks import (
    new_groups,
    refuse_copy,
    refuse_cut,
    refuse_lead,
    refuse_promise,
    refuse_unless_member,
)
from pyshard.storage.replicated_interface import Promise, ReplicaRole
from pyshard.storage.version_bound import refuse_versions_ahead, versions_of

_READ = 4 * 1024 * 1024  # bytes of the log that are read at a time


class ReplicaLog:
    """The log of a store that may be one of several replicas; see `IReplicatedStore` for what each method promises.

    :param engine: the store's engine.
    :param identity: the store's.
    :param seconds: the time since 1970.
    :param new_id: gives hex UUIDs, for incarnations.
    """

    def __init__(
        self, engine: StorageEngine, identity: str, seconds: Callable[[], float], new_id: Callable[[], str]
    ) -> None:
        self._engine = engine
        self._state = engine.replica
        self._identity = identity
        self._seconds = seconds
        self._new_id = new_id
        self._head: ChangeGroup | None = None  # of the copy that was begun
        self._hidden = HiddenCounts()  # what its pages have of what is hidden when it is complete

    def promise(self, promised: Promise) -> None:
        """See `IReplicatedStore.promise`."""
        state = self._state
        refuse_promise(state.promised.ballot, promised.ballot)
        state.promising = promised
        try:
            self._engine.transact([])
        finally:
            state.promising = None
        state.promised = promised

    def lead(self, ballot: int) -> int:
        """See `IReplicatedStore.lead`."""
        engine, state = self._engine, self._state
        if state.role is ReplicaRole.MEMBER or state.incomplete:
            self._refuse_unless_whole_member("lead")
        last = 0 if state.role is ReplicaRole.ALONE else state.position.ballot
        refuse_lead(last, state.promised.ballot, ballot)
        if state.role is ReplicaRole.ALONE:
            self._be_alone_no_more()
        else:
            engine.advance_checkpoint()
        version = decoded(state.pending[-1].payload).version if state.pending else engine.counters.version
        self._append(LogGroup(engine.log.sequence + 1, barrier(version), ballot), sync=True)
        if state.uncommitted is None:
            state.uncommitted = UncommittedGroups(engine.sequence, engine.counters, engine.text)
        state.role = ReplicaRole.PRIMARY
        try:
            self._apply(state.position.sequence)
        except BaseException:
            state.role = ReplicaRole.MEMBER  # and what it has applied is undone before anything else is done
            raise
        return state.position.sequence

    def be_member(self) -> None:
        """See `IReplicatedStore.be_member`."""
        engine, state = self._engine, self._state
        if state.role is ReplicaRole.ALONE:
            self._be_alone_no_more()
        state.role = ReplicaRole.MEMBER
        self._undo()
        if engine.lmdb.meta.replica is None:
            engine.transact([])  # so that it is a member after a restart, too

    def append(self, groups: Sequence[ReplicatedGroup]) -> None:
        """See `IReplicatedStore.append`."""
        engine, state = self._engine, self._state
        self._refuse_unless_whole_member("append")
        check_sizes(groups)
        new = list(map(for_log, new_groups(state.ballots, state.position, state.promised.ballot, groups)))
        refuse_versions_ahead([each.version for each in new], self._seconds())
        if new or engine.log.broken:
            engine.advance_checkpoint()
        sync = engine.durability is Durability.FSYNC
        for group, must_sync, _ in new:
            sync = sync or must_sync
            self._append(group, sync=sync and group is new[-1].group)
        if sync and engine.log.synced < engine.log.sequence:  # of a call that has failed
            engine.log.sync()
        if not sync and new:
            engine.unsynced = engine.durability is Durability.ASYNC or engine.retention.places.any

    def commit(self, sequence: int) -> None:
        """See `IReplicatedStore.commit`."""
        state = self._state
        if state.role is ReplicaRole.PRIMARY:
            state.committed = max(state.committed, min(sequence, state.position.sequence))
        elif state.role is ReplicaRole.MEMBER and not state.incomplete:
            self._undo()
            if state.pending and state.pending[0].sequence <= sequence:
                self._engine.advance_checkpoint()
                self._apply(sequence)

    def count_ahead(self, ranges: SlotRanges, most: int) -> bool:
        """See `IRangedStore.count_ahead`: whether there are more. A member's are counted for what it will be told."""
        engine = self._engine
        given_up = engine.counters.hidden.ranges.given_up(ranges)
        if engine.counters.hidden.uncounted:
            return engine.count_behind(most) or bool(given_up)
        with engine.environment.begin(buffers=True) as transaction:
            view = MergedView(engine.databases, transaction, engine.memtable)
            return not engine.ahead.count(view, engine.counters, given_up, most)

    def cut(self, sequence: int) -> None:
        """See `IReplicatedStore.cut`."""
        engine, state = self._engine, self._state
        self._refuse_unless_whole_member("cut")
        refuse_cut(state.committed, sequence)
        if sequence < state.position.sequence or engine.log.broken:
            before, state.cutting = state.cutting, min(sequence, state.position.sequence)
            try:
                engine.transact([])
            except BaseException:
                state.cutting = before
                raise
            state.cut(state.cutting)  # from here on a start does so, too, whatever becomes of the rest
            engine.safe = min(engine.safe, state.cutting)
            self._finish_cut()

    def begin_copy(self, head: ChangeGroup) -> None:
        """See `IReplicatedStore.begin_copy`."""
        engine, state = self._engine, self._state
        refuse_unless_member("begin_copy", state.role, incomplete=False)
        refuse_copy(head, state.promised.ballot, self._seconds())
        self._head, was_incomplete, state.incomplete = None, state.incomplete, True
        incarnation, engine.incarnation = engine.incarnation, Incarnation(self._new_id(), engine.incarnation.open)
        try:
            engine.empty(self._seconds(), head)
        except BaseException:
            state.incomplete, engine.incarnation = was_incomplete, incarnation
            raise
        state.uncommitted = None
        state.pending.clear()
        state.cutting = None
        state.committed = 0
        state.begin_history((), 0)
        engine.retention.leave_behind(engine.log.sequence + 1)
        engine.log.begin_anew(head.sequence)
        engine.safe = head.sequence
        self._head, self._hidden = head, HiddenCounts()
        self._hidden.set_ranges(head.ranges or StoreRanges(), lambda _: (), {})

    def load_page(self, changes: Sequence[Change]) -> None:
        """See `IReplicatedStore.load_page`."""
        engine = self._engine
        self._head_of_copy("load_page")
        refuse_versions_ahead(versions_of(changes), self._seconds())
        page = Memtable()
        for change in changes:
            db_key = lmdb_encoding.database_key(change.index, change.slot, change.key)
            page.put(db_key, change_value(change), change.expires)
        loaded = list(page.records.items()) if self._hidden.ranges.hidden else []
        engine.memtable = page
        try:
            engine.transact([DirectUpdate(WriteTransaction.flush_all)])
            with engine.lock:
                engine.counters = engine.lmdb.counters.copy()
        finally:
            engine.memtable = Memtable()
        for db_key, value in loaded:
            number, slot = lmdb_encoding.PREFIX.unpack_from(db_key)
            self._hidden.note(number, slot, 1, lmdb_encoding.used_by(db_key, value))

    def end_copy(self) -> None:
        """See `IReplicatedStore.end_copy`."""
        engine, state, head = self._engine, self._state, self._head_of_copy("end_copy")
        counters = engine.lmdb.counters.copy()
        counters.version, counters.ballot = head.version, head.ballot
        counters.hidden = self._hidden
        before = engine.counters, engine.text
        state.incomplete = False
        state.begin_history(((head.ballot, head.sequence),), head.sequence)
        try:
            with engine.lock:
                engine.counters, engine.text, engine.sequence = counters, head.text, head.sequence
            engine.transact([])
        except BaseException:
            state.incomplete = True
            state.begin_history((), 0)
            engine.counters, engine.text = before
            raise
        state.committed = head.sequence
        self._head = None

    # ------------------------------------------------------------------ inside

    def _be_alone_no_more(self) -> None:
        """Prepare to be one of several replicas: all that the store has made alone is committed.

        Before, a broken log is mended as that of a lone store is, which leaves a number out, and LMDB knows of that.
        """
        engine, state = self._engine, self._state
        engine.advance_checkpoint()
        if engine.log.broken:
            raise OSError(EIO, "the log could not be mended after a write had failed")
        engine.sequence = state.committed = engine.log.sequence  # a number that was left out has no group
        state.begin_history(ALWAYS_ALONE, engine.log.sequence)

    def _head_of_copy(self, what: str) -> ChangeGroup:
        if self._head is None:
            raise BadRequest(f"{what}: found no copy that was begun, expected one; begin it anew")
        return self._head

    def _refuse_unless_whole_member(self, what: str) -> None:
        refuse_unless_member(what, self._state.role, self._state.incomplete)
        self._finish_cut()
        self._undo()

    def _finish_cut(self) -> None:
        """Cut the log, where LMDB knows that it is to be cut: see `WriteAheadLog.cut`. Then LMDB forgets that."""
        engine, state = self._engine, self._state
        sequence = state.cutting
        if sequence is None:
            return
        engine.log.cut(sequence)
        state.cutting = None
        try:
            engine.transact([])
        except BaseException:
            state.cutting = sequence
            raise

    def _append(self, group: LogGroup, sync: bool) -> None:
        """Append a group to the log. It is pending then."""
        self._engine.log.append(group.payload, sync, group.ballot)
        self._state.add(group.ballot, group.sequence)
        self._state.pending.append(group)

    def _apply(self, sequence: int) -> None:
        """Apply what is pending up to a number; of a member that is committed then."""
        state = self._state
        while state.pending and state.pending[0].sequence <= sequence:
            self._engine.replay(state.pending[0])
            applied = state.pending.popleft()
            if state.role is ReplicaRole.MEMBER:
                state.committed = applied.sequence

    def _undo(self) -> None:
        """Have what a former primary has applied, and isn't committed, pending again."""
        engine, state = self._engine, self._state
        uncommitted = state.uncommitted
        if uncommitted is None:
            return
        uncommitted.settle(state.committed, engine.lmdb.counters)
        if len(uncommitted):
            groups = self._read_log()
            engine.go_back([group for group in groups if group.sequence <= state.committed])
            state.pending.clear()
            state.pending.extend(group for group in groups if group.sequence > state.committed)
            engine.counters.hidden = uncommitted.counters.hidden.copy()
        state.uncommitted = None

    def _read_log(self) -> list[LogGroup]:
        """All groups that LMDB may lack."""
        engine = self._engine
        reader = LogReader(lambda: engine.log.segments, self._identity, engine.lmdb.counters.sequence)
        groups: list[LogGroup] = []
        try:
            while reader.sequence < engine.log.sequence:
                groups += reader.read(engine.log.sequence, _READ)
        except GroupGone:
            raise OSError(f"the log lacks group {reader.sequence + 1:,}") from None
        finally:
            reader.close()
        return groups


def position_of(engine: StorageEngine) -> LogPosition:
    """The last group of a store's log; see `IReplicatedStore.position`."""
    state = engine.replica
    if state.role is ReplicaRole.ALONE:
        return LogPosition(engine.counters.ballot, engine.log.sequence)
    return LogPosition() if state.incomplete else state.position


def ballots_of(engine: StorageEngine) -> BallotHistory:
    """See `IReplicatedStore.ballots`."""
    state = engine.replica
    if state.role is ReplicaRole.ALONE:
        return ALWAYS_ALONE
    return () if state.incomplete else state.ballots
