"""What a store does for those who follow it, and what it takes of a store that it follows."""

from __future__ import annotations

from typing import Protocol, TypeAlias, TypeVar

from twisted.internet.defer import Deferred

from pyshard.errors import StorageFailed
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_groups import LogGroup
from pyshard.protocol.store_ranges import Origin
from pyshard.settings import settings
from pyshard.storage.follower_places import FollowerPlaces

_G = TypeVar("_G")


class ICopy(Protocol):
    """All records that a store had at one moment, for whoever follows it from there on; or those of some slots.

    :ivar head: a group with the number of the last one before that moment, the names of indexes, the remembered text,
        the ranges, and no records. It is to be absorbed before the records are.
    """

    head: ChangeGroup

    @property
    def pinned(self) -> int:
        """See `ISnapshot`."""
        ...

    def page(self, most_bytes: int, most_steps: int = settings.SNAPSHOT_STEPS) -> list[Change] | None:
        """The next records, as `ISnapshot.page` gives rows; those that have expired, or that the store hides, too."""
        ...

    def close(self) -> None:
        """See `ISnapshot`."""
        ...


class FollowerEnded(StorageFailed):
    """The follower was ended, for a later one of its name, or since nothing is kept for it. The disk is well."""


class IFollower(Protocol[_G]):
    """Who is given a store's groups of changes, in order, none left out; see `IFollowedStore.follow`."""

    def groups(self, most_bytes: int) -> Deferred[list[_G]]:
        """The next groups, when there are some. They are as safe as the store makes them. One call at a time.

        Groups that change nothing which is wanted are left out, but for the last one, which says how far they go.

        :param most_bytes: about how many bytes of groups are looked at.
        :raises FollowerBehind: (in the Deferred) the next group isn't kept any more.
        :raises StorageFailed: (in the Deferred) the disk failed.
        :raises FollowerEnded: (in the Deferred) the follower was ended, or the store was closed.
        """
        ...

    def confirm(self, sequence: int) -> None:
        """Groups up to this number are needed no more, not even after a restart of the follower."""
        ...

    def close(self) -> None:
        """Stop. The follower's place stays, so that `follow` can go on there; see `IFollowedStore.forget`."""
        ...


#: Another replica as a follower; see `IFollowedStore.follow_as_replica`.
IFollowingReplica: TypeAlias = IFollower[ChangeGroup] | IFollower[LogGroup]


class IFollowedStore(Protocol):
    """A store that is followed, and that follows others.

    One of several replicas (`pyshard.storage.replicated_interface`) gives followers what is committed, but for members.
    A copy has all that the store shows. Of a primary that may be more: whoever gives the copy away waits until the
    number of its head is committed.

    :ivar incarnation: hex UUID, another one whenever the store may have lost changes that it acknowledged. Whoever
        followed it before begins anew.
    """

    incarnation: str

    @property
    def sequence(self) -> int:
        """The number of the last group of changes. What only reads doesn't raise it."""
        ...

    def copy(self, name: str | None, ranges: SlotRanges | None = None) -> Deferred[ICopy]:
        """All records as they are now, with versions, and keep what changes from here on for a follower.

        :param name: of the follower, which follows from `head.sequence` of the copy on; None: nothing is kept.
        :param ranges: only records of these slots; None: all.
        :raises StorageFailed: (in the Deferred) there is no copy.
        """
        ...

    def follow(self, name: str, after: int, ranges: SlotRanges | None = None) -> IFollower[ChangeGroup]:
        """Follow the store's changes, and have them kept until they are confirmed, within a bound.

        A follower that is too slow is left behind. It never stops a writer.

        :param name: of the follower; one at a time.
        :param after: the number of the last group that it has.
        :param ranges: only changes of records of these slots; None: all. Indexes, text and ranges are given anyway.
        :raises FollowerBehind: what comes after that number isn't kept, or was never there.
        """
        ...

    def follow_as_replica(self, name: str, after: int, log_format: int) -> IFollowingReplica:
        """Be given all that the store has, as another replica of its shard.

        A primary gives groups that aren't committed, too, and none is left out, whatever it changes. It ends when the
        store is primary no more. For the rest see `follow`.

        :param log_format: of the other replica's store; see `IReplicatedStore`. With the same one it is given groups of
            the log.
        :raises FollowerBehind: what comes after that number isn't kept, or was never there.
        """
        ...

    def forget(self, name: str) -> None:
        """Keep nothing for a follower any more."""
        ...

    @property
    def followers(self) -> FollowerPlaces:
        """The names of those for whom something is kept, also from before a restart, and how much it is."""
        ...

    def absorb(self, group: ChangeGroup, origin: Origin | None = None) -> Deferred[None]:
        """Have become of this store what has become of another one: of records, indexes, text and ranges.

        Versions and expiries are taken as they are, and versions of this store are above them from then on. A record of
        an index that isn't there is passed over. The group gets a number of this store's own.

        :param group: the head of a copy, a page of one as a group, or a group that a follower was given; in order.
        :param origin: whose group it is, and the number up to which all is absorbed with it; 0 while a copy is read.
            It is saved with the group, which is passed over where it is absorbed already.
        :raises StorageFailed: (in the Deferred) nothing was absorbed.
        """
        ...

    @property
    def origin(self) -> Origin | None:
        """Whose groups the store absorbs, as `absorb` was last given it; None: nobody's.

        While it is another store's, `sweep` removes neither what has expired nor what is left over: the other store
        does that, and its groups say so. `IRangedStore.own` makes an end of it.
        """
        ...
