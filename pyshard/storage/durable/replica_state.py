"""What a durable store knows of its part in a group of replicas: role, promise, ballots, and what isn't committed.

Rules:

- a store that is alone has nothing of this, and all its groups are committed;
- a member has applied what is committed, and nothing else; the rest of its log is pending;
- a primary has applied all, and `uncommitted` knows what LMDB must not get of that.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from pyshard.protocol.log_groups import LogGroup
from pyshard.protocol.log_positions import BallotHistory, LogPosition, cut_off, with_group
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.memtable import FlushableMemtable, Memtable
from pyshard.storage.durable.saved_meta import SavedReplica
from pyshard.storage.durable.uncommitted_groups import UncommittedGroups
from pyshard.storage.replicated_interface import Promise, ReplicaRole
from pyshard.storage.uncommitted_bytes import UncommittedBytes

#: The history of a store that was always alone.
ALWAYS_ALONE: BallotHistory = ((0, 1),)


class ReplicaState:
    """That of a store. The writer's thread changes it.

    :param saved: what it has saved; None: it never was one of several replicas.
    :param counters: those that LMDB has saved.
    :ivar role: what it does.
    :ivar promised: what it has promised.
    :ivar promising: what is being saved of that; None: nothing.
    :ivar incomplete: whether it has a part of a copy.
    :ivar cutting: groups of the log above this number are being cut off, and none is appended; None: none are.
    :ivar committed: all groups up to this number are committed; of a store that is alone it says nothing.
    :ivar ballots: those of the log; of a store that is alone they say nothing.
    :ivar position: the log's last group; likewise.
    :ivar pending: the groups of a member's log that aren't applied, in order.
    :ivar uncommitted: what a primary has made and isn't committed, or had made until it became a member.
    :ivar bytes: what the changes of a primary take that aren't committed.
    """

    def __init__(self, saved: SavedReplica | None, counters: Counters) -> None:
        known = saved or SavedReplica()
        self.role = ReplicaRole.ALONE if saved is None else ReplicaRole.MEMBER
        self.promised: Promise = known.promised
        self.promising: Promise | None = None
        self.incomplete = known.incomplete
        self.cutting: int | None = None
        self.committed = 0 if known.incomplete else max(known.committed, counters.sequence)
        self.pending: deque[LogGroup] = deque()
        self.uncommitted: UncommittedGroups | None = None
        self.bytes = UncommittedBytes()
        self.begin_history(known.starts, counters.sequence)
        if saved is None:
            self.ballots = ALWAYS_ALONE

    def begin_history(self, ballots: BallotHistory, last: int) -> None:
        """Know the ballots of all groups that there are.

        :param last: the number of the last one.
        """
        self.ballots = cut_off(ballots, last)
        self.position = LogPosition(self.ballots[-1][0] if self.ballots else 0, last)

    def add(self, ballot: int, sequence: int) -> None:
        """The log has one group more."""
        if ballot != self.position.ballot or not self.ballots:
            self.ballots = with_group(self.ballots, ballot, sequence)
        self.position = LogPosition(ballot, sequence)

    def cut(self, sequence: int) -> None:
        """The log has no groups above a number any more."""
        self.begin_history(self.ballots, min(sequence, self.position.sequence))
        while self.pending and self.pending[-1].sequence > sequence:
            self.pending.pop()

    def found(self, groups: Sequence[LogGroup]) -> Sequence[LogGroup]:
        """Take what the log has and LMDB doesn't, at a start.

        :return: those groups that are to be applied at once.
        """
        if self.role is ReplicaRole.ALONE:
            return groups
        for group in groups:
            self.add(group.ballot, group.sequence)
        self.pending.extend(group for group in groups if group.sequence > self.committed)
        return [group for group in groups if group.sequence <= self.committed]

    def settled(self, memtable: Memtable, lmdb_counters: Counters) -> FlushableMemtable:
        """The records of a memtable that LMDB may get.

        :param lmdb_counters: get to know the newest indexes that it may know.
        """
        if self.uncommitted is None:
            return memtable
        self.settle(lmdb_counters)
        return self.uncommitted.settled(memtable)

    def settle(self, lmdb_counters: Counters) -> None:
        """Take note of what is committed by now; see `settled`."""
        if self.uncommitted is not None:
            self.uncommitted.settle(self.committed, lmdb_counters)

    def saved(self, sequence: int, committed: int) -> SavedReplica | None:
        """What is to be saved; None: nothing.

        :param sequence: LMDB has all groups up to this number.
        :param committed: LMDB has nothing of groups above this one.
        """
        promised = self.promising or self.promised
        if self.role is ReplicaRole.ALONE and not promised.ballot:
            return None
        if self.incomplete:
            return SavedReplica(promised, incomplete=True)
        return SavedReplica(promised, committed, cut_off(self.ballots, sequence), cut=self.cutting)
