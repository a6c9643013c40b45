"""What a store does as one of several replicas of a shard, so that all of them have the same log.

A store is *alone* until it is told otherwise: it makes its groups by itself, and each is committed when it is made.
Among replicas one store *leads*, as the primary: it makes the groups. The others are *members*, or learners that are to
be members: they append the primary's groups. Who leads, when a group is committed, and who may answer clients, is
decided above the store.

Rules:

- a group has one (ballot, sequence) in all replicas (`pyshard.protocol.log_positions`), and sequences have no gaps;
- a primary shows a group at once to who reads. Whoever answers clients waits until what the answer saw is committed
  (`apply_seen`);
- a member keeps what it has appended *pending*. It shows a group when it is told that the group is committed;
- what is committed is never undone. What isn't can be: a durable store keeps it in the log alone until it is;
- a member makes no groups of its own: it refuses whatever changes something (`ShuttingDown`), and sweeps only what is
  out of sight in every replica anyway;
- a store that is restarted is a member, if it ever was told of replicas. What it knew to be committed is applied, and
  the rest of its log is pending.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import NamedTuple, Protocol

import msgspec
from twisted.internet.defer import Deferred

from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.protocol.log_positions import BallotHistory, LogPosition
from pyshard.storage.uncommitted_bytes import UncommittedBytes


class ReplicaRole(Enum):
    """What a store does in its shard; see the head of this module."""

    ALONE = "alone"
    MEMBER = "member"
    PRIMARY = "primary"


class Promise(msgspec.Struct, array_like=True, frozen=True):
    """What a store has promised.

    :param ballot: it takes part in no configuration of replicas with a lower number; 0: it has promised nothing.
    :param text: what whoever asked for the promise wanted to have back.
    """

    ballot: int = 0
    text: bytes = b""


class SeenAnswers(NamedTuple):
    """The answers of a batch, and what they have seen.

    :param sequence: no answer has seen more than the groups up to this number.
    """

    answers: list[Answer]
    sequence: int


class IReplicatedStore(Protocol):
    """A store that may be one of several replicas; see the head of this module."""

    @property
    def role(self) -> ReplicaRole:
        """What it does now."""
        ...

    @property
    def position(self) -> LogPosition:
        """The last group of its log, applied or pending; (0, 0) while the store is incomplete."""
        ...

    @property
    def log_format(self) -> int:
        """The format of its log, of which another store with that format takes groups as they are; 0: it has none."""
        ...

    @property
    def safe(self) -> int:
        """The number of the last group of its log that is as safe as the store makes it."""
        ...

    @property
    def ballots(self) -> BallotHistory:
        """The ballots of its log; nothing while the store is incomplete."""
        ...

    @property
    def committed(self) -> int:
        """The number of the last group that is known to be committed."""
        ...

    @property
    def uncommitted(self) -> UncommittedBytes:
        """What a primary's changes take until they are committed. Who has it apply a batch looks there before."""
        ...

    @property
    def promised(self) -> Promise:
        """What it has promised last, also before a restart if the store is durable."""
        ...

    @property
    def incomplete(self) -> bool:
        """Whether a copy was begun and isn't ended: what is there is no state that any store ever had."""
        ...

    def may_be_undone(self, index: str, keys: Sequence[bytes]) -> bool:
        """Whether what a primary shows of some records comes from a group that isn't committed, as far as it knows.

        :param index: the name of their index.
        :return: also true while a group isn't committed that changes more than records, such as indexes.
        """
        ...

    def promise(self, ballot: int, text: bytes = b"") -> Deferred[None]:
        """Take part in no configuration below a ballot any more. A durable store has it on disk when this fires.

        What it does otherwise stays as it is: a primary goes on under its ballot until it is told to do something else.

        :param text: is given back by `promised`.
        :raises BadRequest: (in the Deferred) a higher ballot was promised.
        :raises StorageFailed: (in the Deferred) nothing was promised.
        """
        ...

    def lead(self, ballot: int) -> Deferred[int]:
        """Make groups from here on, under a ballot. All that is pending is applied before.

        What is applied so isn't committed by that: `commit` says when it is.

        :param ballot: that was promised last, and above those of all groups in the log.
        :return: a Deferred of the number of the first group of this ballot. It has no changes, and is synced in every
            mode. Versions that are given later are above all in the log.
        :raises BadRequest: (in the Deferred) it is another ballot, or the store is incomplete.
        :raises StorageFailed: (in the Deferred) the disk failed, and the store does what it did before.
        """
        ...

    def be_member(self) -> Deferred[None]:
        """Make no groups any more. What was asked for and isn't begun is refused.

        Groups that a durable primary has made and that aren't committed are pending then, and out of sight. A store in
        memory can't undo them: they stay in sight, and if they have to go, `cut` says that it must begin anew.
        Followers that were given uncommitted groups are ended.

        :raises StorageFailed: (in the Deferred) the disk failed. A primary makes no groups any more anyway; a lone
            store is still alone.
        """
        ...

    def append(self, groups: Sequence[ReplicatedGroup]) -> Deferred[None]:
        """Take groups of the primary, in order. They are pending then; whoever calls bounds how many there are.

        A group that is here already, with the same ballot, is passed over.

        :return: a Deferred that fires when all of these are as safe as the store makes them.
        :raises BadRequest: (in the Deferred) one isn't the next, its ballot falls, is above the promised one, or isn't
            that of the group which is here; or it can't be read; or the store isn't a member, or is incomplete. None
            was taken.
        :raises StorageFailed: (in the Deferred) the disk failed. Some at the front may have been taken.
        """
        ...

    def commit(self, sequence: int) -> Deferred[None]:
        """All groups up to a number are committed, as far as the log has them.

        :return: a Deferred that fires when they can be seen. For a primary that is so already.
        :raises StorageFailed: (in the Deferred) the disk failed, and some of them aren't applied yet.
        """
        ...

    def cut(self, sequence: int) -> Deferred[None]:
        """Have no groups above a number any more, also after a restart.

        :raises FollowerBehind: (in the Deferred) some of these are committed, or can't be undone. The store has to
            begin anew, with a copy.
        :raises BadRequest: (in the Deferred) the store isn't a member, or is incomplete.
        :raises StorageFailed: (in the Deferred) the disk failed. `position` says whether these are gone anyway. Then
            they are cut off before anything is appended, or at the next start.
        """
        ...

    def begin_copy(self, head: ChangeGroup) -> Deferred[None]:
        """Give up everything but the promise, and begin to be a copy of another replica. The store is incomplete then.

        Its incarnation is another one from here on, and whoever followed it begins anew.

        :param head: of the copy (`ICopy.head`).
        :raises BadRequest: (in the Deferred) the store isn't a member, or has promised nothing.
        :raises StorageFailed: (in the Deferred) the disk failed; it is to be tried again.
        """
        ...

    def load_page(self, changes: Sequence[Change]) -> Deferred[None]:
        """Take records of the copy.

        :raises BadRequest: (in the Deferred) no copy was begun since the store was opened.
        :raises StorageFailed: (in the Deferred) the disk failed; the page may be given again.
        """
        ...

    def end_copy(self) -> Deferred[None]:
        """All of the copy is here: the store has what the other one had, up to the head's group, and is a member.

        :raises BadRequest: (in the Deferred) no copy was begun since the store was opened.
        :raises StorageFailed: (in the Deferred) the disk failed; it is to be tried again.
        """
        ...
