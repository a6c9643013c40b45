"""What a store in memory gives to whoever follows it: copies, and then its groups of changes, from the ring."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.storage.follower_places import FollowerPlaces
from pyshard.storage.following_interface import ICopy, IFollower, IFollowingReplica
from pyshard.storage.memory.hidden_records import HiddenRecords
from pyshard.storage.memory.index_records import MemoryIndex
from pyshard.storage.memory.ring_followers import RingFollowers
from pyshard.storage.memory.store_at_moment import StoreAtMoment
from pyshard.storage.snapshot import StoreCopy


class FollowedMemory:
    """What of `IFollowedStore` the store in memory does; see there for what each method promises.

    :ivar ballot: of the last group that it has made or applied.
    """

    ballot = 0
    sequence: int
    _version: int
    _remembered: bytes | None
    _indexes: dict[int, MemoryIndex]
    _names: dict[str, int]
    _next_index: int
    _hidden: HiddenRecords
    _followers: RingFollowers

    @property
    def ranges(self) -> StoreRanges:
        """See `IRangedStore`."""
        return self._hidden.ranges

    @property
    def committed(self) -> int:
        """See `IReplicatedStore`."""
        raise NotImplementedError

    def copy(self, name: str | None, ranges: SlotRanges | None = None) -> Deferred[ICopy]:
        """See `IFollowedStore`."""
        if name is not None:
            self._followers.add_place(name, self.sequence)
        moment = self._at_moment(ranges=ranges)
        named = self._names, self._remembered, self._next_index
        head = ChangeGroup(self.sequence, self.ballot, self._version, [], *named, self.ranges)
        return succeed(StoreCopy(head, moment.changes(), release=moment.forget, pinned=moment.pinned))

    def follow(self, name: str, after: int, ranges: SlotRanges | None = None) -> IFollower[ChangeGroup]:
        """See `IFollowedStore`."""
        return self._followers.follow(name, after, ranges, self.sequence, lambda: self.committed)

    @property
    def followers(self) -> FollowerPlaces:
        """See `IFollowedStore`."""
        return self._followers.places

    def forget(self, name: str) -> None:
        """See `IFollowedStore`."""
        self._followers.forget(name)

    def follow_as_replica(self, name: str, after: int, log_format: int) -> IFollowingReplica:
        """See `IFollowedStore`."""
        return self._followers.follow(name, after, None, self.sequence, None)

    # ------------------------------------------------------------------ inside

    def _at_moment(self, now: int = 0, ranges: SlotRanges | None = None) -> StoreAtMoment:
        """The indexes as they are now, for others to read; for the parameters see `StoreAtMoment`."""
        # What came from elsewhere may have higher versions than the group that it came with.
        self._version = max([self._version, *(index.absorbed for index in self._indexes.values())])
        return StoreAtMoment(self._indexes, self._version, now, ranges)
