"""What a replica needs of its store, and of the network."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from twisted.internet.defer import Deferred

from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.replication.pulls import Pull, Pulled
from pyshard.storage.replicated_interface import IReplicatedStore


class ReplicaStore(IReplicatedStore, Protocol):
    """A store whose log is the same as that of other replicas.

    :ivar identity: see `IStore`.
    :ivar incarnation: see `IFollowedStore`.
    :ivar ephemeral: see `IStore`.
    """

    identity: str
    incarnation: str
    ephemeral: bool


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

    def groups(self, follower: str, after: int, log_format: int) -> Awaitable[Sequence[ReplicatedGroup]]:
        """Those behind a number, when there are some; none after a while.

        :param log_format: of the follower's store; see `IReplicatedStore.log_format`.

        :raises FollowerBehind: they aren't kept.
        """
        ...
