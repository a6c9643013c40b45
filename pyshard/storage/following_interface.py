"""What a store does for those who follow it: a copy to begin with, and every group of changes behind it."""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred

from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.settings import settings


class ICopy(Protocol):
    """All records that a store had at one moment, for whoever follows it from there on; or those of some slots.

    :ivar head: a group with the number of the last one before that moment, the names of indexes, the remembered text,
        and no records. It is to be absorbed before the records are.
    """

    head: ChangeGroup

    @property
    def pinned(self) -> int:
        """See `ISnapshot`."""
        ...

    def page(self, most_bytes: int, most_steps: int = settings.SNAPSHOT_STEPS) -> list[Change] | None:
        """The next records, as `ISnapshot.page` gives rows; those that have expired and aren't swept away, too."""
        ...

    def close(self) -> None:
        """See `ISnapshot`."""
        ...


class IFollower(Protocol):
    """Who is given a store's groups of changes, in order, none left out; see `IStore.follow`."""

    def groups(self, most_bytes: int) -> Deferred[list[ChangeGroup]]:
        """The next groups, when there are some. They are as safe as the store makes them. One call at a time.

        Groups that change nothing which is wanted are left out, but for the last one, which says how far they go.

        :param most_bytes: about how many bytes of groups are looked at.
        :raises FollowerBehind: (in the Deferred) the next group isn't kept any more.
        :raises StorageFailed: (in the Deferred) the disk failed, or the follower or the store was closed.
        """
        ...

    def confirm(self, sequence: int) -> None:
        """Groups up to this number are needed no more, not even after a restart of the follower."""
        ...

    def close(self) -> None:
        """Stop. The follower's place stays, so that `follow` can go on there; see `IStore.forget`."""
        ...
