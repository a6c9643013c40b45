"""What a replica needs of its store, and of the network."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_positions import BallotHistory, LogPosition
from pyshard.replication.pulls import Pull, Pulled


class ReplicaStore(Protocol):
    """A store whose log is the same as that of other replicas; see `pyshard.storage.replicated_interface`.

    :ivar identity: see `IStore`.
    :ivar incarnation: see `IFollowedStore`.
    :ivar ephemeral: see `IStore`.
    """

    identity: str
    incarnation: str
    ephemeral: bool

    @property
    def position(self) -> LogPosition:
        """Where its log ends."""
        ...

    @property
    def history(self) -> BallotHistory:
        """Which ballots its log has."""
        ...

    @property
    def safe(self) -> int:
        """The number of the last group that it will never lose by itself. Groups being written aren't safe yet."""
        ...

    @property
    def committed(self) -> int:
        """The number up to which groups are committed; a member has applied them."""
        ...

    @property
    def complete(self) -> bool:
        """Whether it has all up to its last group; else it needs a copy."""
        ...

    @property
    def promised(self) -> tuple[int, bytes]:
        """The last ballot that was promised, and the text that went with it."""
        ...

    def promise(self, ballot: int, text: bytes) -> Deferred[None]:
        """Save that no lower ballot counts any more; it fires when the disk has it. The last may have a new text."""
        ...

    def lead(self, ballot: int) -> Deferred[int]:
        """Apply all that the log has, and make groups under this ballot from now on; the number of the first one."""
        ...

    def follow_others(self) -> Deferred[None]:
        """Make no groups by itself any more: they come from others."""
        ...

    def append(self, groups: Sequence[ChangeGroup]) -> Deferred[None]:
        """Take groups of the primary's log; it fires when they are safe. They are applied when they are committed."""
        ...

    def commit(self, sequence: int) -> Deferred[None]:
        """All groups up to a number are committed."""
        ...

    def cut(self, sequence: int) -> Deferred[None]:
        """Forget all groups behind a number.

        :raises BadRequest: (in the Deferred) some of them are committed, or were never kept: it needs a copy.
        """
        ...

    def begin_copy(self, head: ChangeGroup) -> Deferred[None]:
        """Forget everything, and begin to be a copy."""
        ...

    def take_copied(self, rows: Sequence[Change]) -> Deferred[None]:
        """Take records of the copy."""
        ...

    def end_copy(self) -> Deferred[None]:
        """The copy is complete: the log stands where the head does."""
        ...


class Primary(Protocol):
    """The primary, as a member reaches it over the network.

    Each raises `PyshardError` in the Deferred, as the primary does, or since it can't be reached. Each ends within a
    limit of time.
    """

    def pull(self, question: Pull) -> Deferred[Pulled]:
        """Ask for more."""
        ...

    def open_copy(self) -> Deferred[ChangeGroup]:
        """Begin to read a copy; the group up to which it has all."""
        ...

    def copied_rows(self) -> Deferred[list[Change]]:
        """The next records of the copy; none at the end."""
        ...


class GroupSource(Protocol):
    """Gives the groups of the primary's own log."""

    def groups(self, follower: str, after: int) -> Awaitable[list[ChangeGroup]]:
        """Those behind a number, when there are some; none after a while.

        :raises FollowerBehind: they aren't kept.
        """
        ...
