"""A plain store with a log, as a replica needs it: a few lines in place of files and dicts, for simulations.

It has its rules in the open: the log is a list; what is behind `committed` in it isn't applied, but for a primary,
which applies what it does at once; the disk has what was synced.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.defer import Deferred, fail, succeed

from pyshard.errors import BadRequest, FollowerBehind, NotConfigured
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.protocol.log_positions import BallotHistory, LogPosition, cut_off, with_group
from pyshard.storage.replicated_interface import Promise, ReplicaRole
from pyshard.storage.uncommitted_bytes import UncommittedBytes

#: Groups that a log keeps behind those that are applied on disk.
KEPT = 200


@attrs.define
class Disk:
    """What outlives a process, or the machine's power.

    :param identity: of the store.
    :param incarnation: of that, too.
    :param base: the position before the first group of the log.
    :param history: the ballots of the whole log.
    :param log: the groups.
    :param flushed: the records up to a committed group, and its number.
    :param promised: the last promise.
    :param complete: whether it has all that its log says.
    """

    identity: str
    incarnation: str = "1"
    base: LogPosition = attrs.Factory(LogPosition)
    history: BallotHistory = ()
    log: list[ChangeGroup] = attrs.Factory(list)
    flushed: tuple[int, dict[bytes, bytes]] = (0, {})
    promised: tuple[int, bytes] = (0, b"")
    complete: bool = True


class ModelStore:
    """`ReplicaStore` over a list.

    :param disk: what it had before, and what it leaves behind.
    :param ephemeral: whether the disk is none: it is gone with the process.
    :param synced: gives a Deferred that fires when the disk has what was written before.
    """

    log_format = 0

    def __init__(self, disk: Disk, ephemeral: bool, synced: Callable[[], Deferred[None]]) -> None:
        self.disk = disk
        self.identity, self.incarnation, self.ephemeral = disk.identity, disk.incarnation, ephemeral
        self._synced = synced
        self.uncommitted = UncommittedBytes()
        self.log = list(disk.log)
        self.base = disk.base
        self.ballots = disk.history
        self.committed, values = disk.flushed
        self.values = dict(values)
        self.applied = self.committed
        self.safe = self.position.sequence
        self.incomplete = not disk.complete
        self.promised = Promise(*disk.promised)
        self._leads = 0  # the ballot
        self._cuts = 0  # how often groups went
        self._copying: tuple[ChangeGroup, dict[bytes, bytes]] | None = None
        self._waiting: list[Deferred[None]] = []

    # ------------------------------------------------------------------ what a primary's callers ask

    def execute(
        self, work: Callable[[dict[bytes, bytes]], tuple[object, dict[bytes, bytes | None]]]
    ) -> tuple[object, int, bool, Deferred[None]]:
        """Do something at the primary.

        :param work: given the values, gives a result, and what becomes of keys.
        :return: the result, the last group that it saw, whether that is its own, and when that is safe.
        :raises NotConfigured: this store makes no groups.
        """
        if not self._leads:
            raise NotConfigured("not leading")
        result, changed = work(self.values)
        if not changed:
            return result, self.position.sequence, False, succeed(None)
        changes = [Change(0, 0, key, 0, 0, value) for key, value in changed.items()]
        group = ChangeGroup(self.position.sequence + 1, self._leads, 0, changes)
        self._add([group])
        self._apply(group.sequence)
        return result, group.sequence, True, self._sync()

    def groups_behind(self, after: int) -> list[ChangeGroup]:
        """The groups behind a number that are safe."""
        if after < self.base.sequence:
            raise FollowerBehind("gone")
        return [group for group in self.log[after - self.base.sequence :] if group.sequence <= self.safe]

    def snapshot(self) -> tuple[ChangeGroup, dict[bytes, bytes]]:
        """What is committed: where the log stood then, and the values."""
        number, known = self.disk.flushed
        values, ballot = dict(known), self.base.ballot
        for group in self.log:
            if group.sequence <= self.committed:
                ballot = group.ballot
                if group.sequence > number:
                    _apply(group, values)
        return ChangeGroup(self.committed, ballot, 0, []), values

    def more(self) -> Deferred[None]:
        """Fires when more is safe."""
        waiter: Deferred[None] = Deferred()
        self._waiting.append(waiter)
        return waiter

    # ------------------------------------------------------------------ ReplicaStore

    @property
    def position(self) -> LogPosition:
        """See `ReplicaStore`."""
        return LogPosition(self.log[-1].ballot, self.log[-1].sequence) if self.log else self.base

    @property
    def role(self) -> ReplicaRole:
        """See `ReplicaStore`."""
        return ReplicaRole.PRIMARY if self._leads else ReplicaRole.MEMBER

    def may_be_undone(self, index: str, keys: Sequence[bytes]) -> bool:
        """See `IReplicatedStore`."""
        return self.position.sequence > self.committed

    def promise(self, ballot: int, text: bytes = b"") -> Deferred[None]:
        """See `ReplicaStore`."""

        def saved(_: None) -> None:
            self.disk.promised = ballot, text
            self.promised = Promise(ballot, text)

        return self._synced().addCallback(saved)

    def lead(self, ballot: int) -> Deferred[int]:
        """See `ReplicaStore`."""
        self._leads = ballot
        sequence = self.position.sequence + 1
        self._add([ChangeGroup(sequence, ballot, 0, [])])
        self._apply(sequence)
        return self._sync().addCallback(lambda _: sequence)

    def be_member(self) -> Deferred[None]:
        """See `ReplicaStore`."""
        self._leads = 0
        return succeed(None)

    def append(self, groups: Sequence[ReplicatedGroup]) -> Deferred[None]:
        """See `ReplicaStore`."""
        for group in groups:
            assert isinstance(group, ChangeGroup)
            last = self.position
            if group.sequence <= last.sequence:
                known = (
                    self.log[group.sequence - self.base.sequence - 1] if group.sequence > self.base.sequence else None
                )
                if known is None or known.ballot != group.ballot:
                    return fail(BadRequest("another group is there"))
                continue
            if group.sequence != last.sequence + 1 or group.ballot < last.ballot:
                return fail(BadRequest(f"found {group.sequence} of {group.ballot} behind {last}"))
            self._add([group])
        return self._sync()

    def commit(self, sequence: int) -> Deferred[None]:
        """See `ReplicaStore`."""
        assert sequence <= self.position.sequence
        self.committed = max(self.committed, sequence)
        if not self._leads:
            self._apply(self.committed)
        if self.committed > self.disk.flushed[0] + 20 and self.applied == self.committed <= self.safe:
            self.disk.flushed = self.committed, dict(self.values)
            if self.committed - self.base.sequence > KEPT:
                keep = self.committed - KEPT // 2
                base = self.log[keep - self.base.sequence - 1]
                self.log = self.log[keep - self.base.sequence :]
                self.base = self.disk.base = LogPosition(base.ballot, base.sequence)
                self.disk.log = [group for group in self.disk.log if group.sequence > keep]
        return succeed(None)

    def cut(self, sequence: int) -> Deferred[None]:
        """See `ReplicaStore`."""
        if sequence < max(self.committed, self.base.sequence):
            return fail(BadRequest("committed groups can't be cut"))
        self._cuts += 1
        self.log = self.log[: sequence - self.base.sequence]
        self.ballots = cut_off(self.ballots, sequence)
        self.safe = min(self.safe, sequence)
        if self.applied > sequence:
            number, values = self.disk.flushed
            self.values, self.applied = dict(values), number
            self._apply(self.committed)
        return self._sync()

    def begin_copy(self, head: ChangeGroup) -> Deferred[None]:
        """See `ReplicaStore`."""
        self._cuts += 1
        self.incomplete, self.disk.complete = True, False
        self.incarnation = self.disk.incarnation = self.disk.incarnation + "c"
        self.log, self.ballots, self.base = [], (), LogPosition()
        self.disk.log, self.disk.history, self.disk.base, self.disk.flushed = [], (), LogPosition(), (0, {})
        self.values, self.applied, self.committed, self.safe = {}, 0, 0, 0
        self._copying = head, {}
        return succeed(None)

    def load_page(self, rows: Sequence[Change]) -> Deferred[None]:
        """See `ReplicaStore`."""
        assert self._copying is not None
        self._copying[1].update({row.key: row.record for row in rows if row.record is not None})
        return succeed(None)

    def end_copy(self) -> Deferred[None]:
        """See `ReplicaStore`."""
        assert self._copying is not None
        head, values = self._copying
        self._copying = None
        self.values, self.applied, self.committed = values, head.sequence, head.sequence
        self.safe = head.sequence
        self.base, self.ballots = LogPosition(head.ballot, head.sequence), ((head.ballot, head.sequence),)
        self.incomplete = False

        def saved(_: None) -> None:
            self.disk.base, self.disk.history, self.disk.log = self.base, self.ballots, list(self.log)
            self.disk.flushed, self.disk.complete = (self.applied, dict(values)), True

        return self._synced().addCallback(saved)

    # ------------------------------------------------------------------ inside

    def _add(self, groups: Sequence[ChangeGroup]) -> None:
        for group in groups:
            self.log.append(group)
            self.ballots = with_group(self.ballots, group.ballot, group.sequence)

    def _apply(self, sequence: int) -> None:
        for group in self.log[max(0, self.applied - self.base.sequence) : sequence - self.base.sequence]:
            _apply(group, self.values)
            self.applied = group.sequence

    def _sync(self) -> Deferred[None]:
        """Have the disk get the log as it is now. Syncs end in the order in which they began."""
        cuts, last, log = self._cuts, self.position.sequence, self.log[:]

        def saved(_: None) -> None:
            disk = self.disk
            if cuts == self._cuts:
                self.safe = max(self.safe, last)
            disk.log = [group for group in log if group.sequence > disk.base.sequence]
            disk.history = cut_off(self.ballots, last) if cuts == self._cuts else _history(disk)
            waiting, self._waiting = self._waiting, []
            for waiter in waiting:
                if not waiter.called:
                    waiter.callback(None)

        return self._synced().addCallback(saved)


def _history(disk: Disk) -> BallotHistory:
    """That of a log which has lost groups since: what can be told of it without them."""
    history: BallotHistory = ()
    if disk.base.sequence:
        history = with_group(history, disk.base.ballot, disk.base.sequence)
    for group in disk.log:
        history = with_group(history, group.ballot, group.sequence)
    return history


def _apply(group: ChangeGroup, values: dict[bytes, bytes]) -> None:
    for change in group.changes:
        if change.record is None:
            values.pop(change.key, None)
        else:
            values[change.key] = change.record
