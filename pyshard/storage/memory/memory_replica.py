"""What a store in memory does as one of several replicas. Its log is the ring of its newest groups.

Rules:

- the ring has all groups that aren't committed, whoever follows; so whoever leads can give them to all others;
- a member's ring has what is pending, too. It is applied when it is committed;
- what is applied can't be undone: a former primary whose groups must go has to begin anew, with a copy;
- a copy begins with new indexes. Records of the former ones go as those of dropped indexes do, some at a time, and
  with each page of the copy at the latest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from twisted.internet.defer import Deferred, execute

from pyshard.errors import BadRequest
from pyshard.model.cluster_state import DEFAULT_INDEX
from pyshard.model.slot_ranges import EVERYTHING, SlotRanges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.protocol.log_positions import BallotHistory, LogPosition, cut_off, with_group
from pyshard.protocol.store_ranges import Origin, StoreRanges
from pyshard.settings import settings
from pyshard.storage.dict_values import values_of
from pyshard.storage.interface import Task
from pyshard.storage.memory.dropped_indexes import forget_dropped
from pyshard.storage.memory.followed_memory import FollowedMemory
from pyshard.storage.memory.hidden_records import HiddenRecords
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.memory.memory_reclamation import MemoryReclamation
from pyshard.storage.replica_log_checks import (
    can_not_undo,
    new_groups,
    not_primary,
    refuse_copy,
    refuse_cut,
    refuse_lead,
    refuse_promise,
    refuse_unless_member,
)
from pyshard.storage.replicated_interface import Promise, ReplicaRole
from pyshard.storage.uncommitted_bytes import UncommittedBytes
from pyshard.storage.version_bound import refuse_group_ahead, refuse_versions_ahead, versions_of

_ALWAYS_ALONE: BallotHistory = ((0, 1),)

#: Bytes of memory that a group takes until it is committed, beside its size, and those that each of its changes takes.
#: Most are of the answer that waits for it, with its connection: as a daemon was measured under tiny changes.
_GROUP, _CHANGE = 8000, 350


class MemoryReplica(FollowedMemory):
    """What of `IReplicatedStore` the store in memory does; see there for what each method promises."""

    log_format = 0
    role = ReplicaRole.ALONE
    _is_member = False  # as each batch asks, and an enum is slow to look into
    promised = Promise()
    incomplete = False
    incarnation: str
    touched: bool
    origin: Origin | None
    uncommitted: UncommittedBytes
    _committed = 0
    _newest: dict[tuple[int, bytes], int]  # by index and key: the last group of a primary that changed it, uncommitted
    _newest_other = 0  # the last group that changed more than records
    _ballots: BallotHistory = _ALWAYS_ALONE
    _head: ChangeGroup | None = None  # of the copy that was begun
    _dropped: list[MemoryIndex]
    _reclamation: MemoryReclamation
    held: int
    _new_id: Callable[[], str]
    _seconds: Callable[[], float]

    @property
    def position(self) -> LogPosition:
        """See `IReplicatedStore`."""
        if self.incomplete:
            return LogPosition()
        ring = self._followers.ring
        last = self.sequence if self.role is ReplicaRole.ALONE or ring is None else ring.last
        return LogPosition(self._ballots[-1][0] if last else 0, last)

    @property
    def safe(self) -> int:
        """See `IReplicatedStore`."""
        return self.position.sequence

    @property
    def ballots(self) -> BallotHistory:
        """See `IReplicatedStore`."""
        return () if self.incomplete else self._ballots

    @property
    def committed(self) -> int:
        """See `IReplicatedStore`."""
        return self.sequence if self.role is ReplicaRole.ALONE else self._committed

    @property
    def all_counted(self) -> bool:
        """See `IRangedStore`."""
        return not self._hidden.counts.uncounted

    def staged_documents(self, name: str) -> int:
        """See `IRangedStore`."""
        return self._hidden.counts.staged(name)

    def may_be_undone(self, index: str, keys: Sequence[bytes]) -> bool:
        """See `IReplicatedStore`."""
        number = self._names.get(index) if index else DEFAULT_INDEX
        newest = self._newest
        return number is None or self._newest_other > self._committed or any((number, key) in newest for key in keys)

    def will_copy(self, tasks: Sequence[Task]) -> int:
        """See `IStore`."""
        known = [(index, task.run.keys) for task in tasks if (index := self._indexes.get(task.index)) is not None]
        sizes = (map(len, filter(None, values_of(index.records, keys))) for index, keys in known)
        return min(settings.BATCH_WORK, sum(map(sum, sizes)))

    def promise(self, ballot: int, text: bytes = b"") -> Deferred[None]:
        """See `IReplicatedStore`."""

        def work() -> None:
            refuse_promise(self.promised.ballot, ballot)
            self.promised = Promise(ballot, text)

        return execute(work)

    def lead(self, ballot: int) -> Deferred[int]:
        """See `IReplicatedStore`."""

        def work() -> int:
            if self.role is ReplicaRole.MEMBER:
                refuse_unless_member("lead", self.role, self.incomplete)
            refuse_lead(self.position.ballot, self.promised.ballot, ballot)
            if self.role is ReplicaRole.ALONE:
                self._join()
            self._apply_pending(self.position.sequence)
            self._newest, ring = {}, self._followers.ring
            assert ring is not None
            for sequence in range(self._committed + 1, self.sequence + 1):
                group = ring.group(sequence)
                self._note_uncommitted(group)
                if self._is_member:  # else it is counted already
                    self._count_uncommitted(group, group.size)
            self.role, self._is_member = ReplicaRole.PRIMARY, False
            self.ballot = ballot
            self.sequence += 1
            self._ballots = with_group(self._ballots, ballot, self.sequence)
            self._take_notes(True)
            self._hidden.sweep_again()  # what a member has passed over
            first = ChangeGroup(self.sequence, ballot, self._version, [])
            self._followers.add(first, first.size)
            return self.sequence

        return execute(work)

    def be_member(self) -> Deferred[None]:
        """See `IReplicatedStore`."""

        def work() -> None:
            self._followers.end_uncommitted("this store isn't the primary any more")
            self._join()

        return execute(work)

    def append(self, groups: Sequence[ReplicatedGroup]) -> Deferred[None]:
        """See `IReplicatedStore`."""

        def work() -> None:
            refuse_unless_member("append", self.role, self.incomplete)
            changes = [group for group in groups if isinstance(group, ChangeGroup)]
            if len(changes) < len(groups):
                raise BadRequest(
                    "append: found groups of a log, expected groups of changes, since this store has no log"
                )
            new = new_groups(self._ballots, self.position, self.promised.ballot, changes)
            for group in new:
                refuse_group_ahead(group, self._seconds())
            for group in new:
                self._ballots = with_group(self._ballots, group.ballot, group.sequence)
                self._followers.add(group, group.size)

        return execute(work)

    def commit(self, sequence: int) -> Deferred[None]:
        """See `IReplicatedStore`."""

        def work() -> None:
            committed = min(sequence, self.position.sequence)
            if self.role is not ReplicaRole.ALONE and not self.incomplete and committed > self._committed:
                self._apply_pending(committed)
                self._settle(committed)
                self._committed = committed
                self.uncommitted.committed(committed)
                self._followers.committed(committed)

        return execute(work)

    def cut(self, sequence: int) -> Deferred[None]:
        """See `IReplicatedStore`."""

        def work() -> None:
            refuse_unless_member("cut", self.role, self.incomplete)
            refuse_cut(self._committed, sequence)
            if sequence < self.sequence:
                raise can_not_undo(sequence, self.sequence)
            assert self._followers.ring is not None
            self._followers.ring.cut(sequence)
            self._ballots = cut_off(self._ballots, sequence)

        return execute(work)

    def begin_copy(self, head: ChangeGroup) -> Deferred[None]:
        """See `IReplicatedStore`."""

        def work() -> None:
            refuse_unless_member("begin_copy", self.role, incomplete=False)
            refuse_copy(head, self.promised.ballot, self._seconds())
            self._head, self.incomplete, self.incarnation = head, True, self._new_id()
            self._followers.begin_anew(head.sequence)
            for index in self._indexes.values():
                index.leave_counts()
                self._dropped.append(index)
            self._indexes.clear()
            self._hidden = HiddenRecords(self, self._indexes)  # type: ignore[arg-type]  # the store is one
            self._names, self._remembered, self.origin, self._next_index = {}, None, None, 0
            self._have_indexes(head.indexes or {}, head.next_index)
            self._hidden.begin_copy(head.ranges or StoreRanges())
            self.sequence, self._committed = head.sequence, 0
            self.touched = False

        return execute(work)

    def load_page(self, changes: Sequence[Change]) -> Deferred[None]:
        """See `IReplicatedStore`."""

        def work() -> None:
            self._head_of_copy("load_page")
            refuse_versions_ahead(versions_of(changes), self._seconds())
            forget_dropped(self._dropped, 2 * len(changes))
            self._hidden.absorb(changes)
            self._reclamation.changed(self._indexes.values(), len(changes), self.held)
            self.touched = False

        return execute(work)

    def end_copy(self) -> Deferred[None]:
        """See `IReplicatedStore`."""

        def work() -> None:
            head = self._head_of_copy("end_copy")
            self._hidden.end_copy()
            self._version, self._remembered, self.ballot = head.version, head.text, head.ballot
            self._ballots = ((head.ballot, head.sequence),)
            self._committed = head.sequence
            self._followers.committed(head.sequence)
            self._head, self.incomplete = None, False

        return execute(work)

    # ------------------------------------------------------------------ inside

    def _have_indexes(self, indexes: Mapping[str, int], next_index: int) -> bool:
        """Have exactly these named indexes; whether anything is new."""
        raise NotImplementedError

    def _take_notes(self, wanted: bool) -> None:
        """Have the indexes note what changes from now on, or no more."""
        raise NotImplementedError

    def _refuse_member(self) -> None:
        """Refuse a change if another replica makes them."""
        if self._is_member:
            raise not_primary()

    def _not_swept(self) -> SlotRanges:
        """The slots of which sweeps leave what has expired to another store."""
        return EVERYTHING if self._is_member else self._hidden.not_swept(self.origin)

    def _head_of_copy(self, what: str) -> ChangeGroup:
        if self._head is None:
            raise BadRequest(f"{what}: found no copy that was begun, expected one; begin it anew")
        return self._head

    def _join(self) -> None:
        """Be a member."""
        if self.role is ReplicaRole.ALONE:
            self._committed = self.sequence
            self._followers.committed(self.sequence)
        self.role, self._is_member, self._newest = ReplicaRole.MEMBER, True, {}
        self.uncommitted.begin_anew()
        self._take_notes(False)

    def _note_uncommitted(self, group: ChangeGroup) -> None:
        """This store is the primary, and shows what a group changes before that is committed."""
        sequence, newest = group.sequence, self._newest
        for change in group.changes:
            newest[change.index, change.key] = sequence
        if group.indexes is not None or group.text is not None or group.ranges is not None:
            self._newest_other = sequence

    def _count_uncommitted(self, group: ChangeGroup, size: int, address: str = "") -> None:
        """Count what a group takes until it is committed.

        :param size: of the group.
        :param address: whose it is.
        """
        self.uncommitted.made(group.sequence, address, size + _GROUP + len(group.changes) * _CHANGE)

    def _settle(self, committed: int) -> None:
        """Groups of a primary up to a number are committed."""
        newest, ring = self._newest, self._followers.ring
        if not newest or ring is None:
            return
        for sequence in range(self._committed + 1, committed + 1):
            for change in ring.group(sequence).changes:
                if newest.get((change.index, change.key)) == sequence:
                    del newest[change.index, change.key]
        if not newest:
            newest.clear()  # a dict without keys keeps their places

    def _apply_pending(self, sequence: int) -> None:
        """Apply what is in the ring and isn't applied, up to a number."""
        ring = self._followers.ring
        while ring is not None and self.sequence < sequence:
            self._apply_group(ring.group(self.sequence + 1))

    def _apply_group(self, group: ChangeGroup) -> None:
        """Do what another replica did, under the same number."""
        if group.indexes is not None:
            self._have_indexes(group.indexes, group.next_index)
        if group.text is not None:
            self._remembered = group.text
        self._version = max(self._version, group.version)
        if group.ranges is not None:
            self._hidden.set_ranges(group.ranges)
        self._hidden.absorb(group.changes)
        self._hidden.ahead.settle()
        self._reclamation.changed(self._indexes.values(), len(group.changes), self.held)
        self.touched = False
        self.sequence, self.ballot = group.sequence, group.ballot
