"""Who follows a store in memory: their places, and the ring of changes that is kept for them.

Rules:

- changes are kept only while somebody follows, within a bound;
- whoever waits for groups is told at once that there is one more.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.storage.follower_places import FollowedBound, FollowerPlaces, behind
from pyshard.storage.memory.change_ring import ChangeRing, RingFollower

_log = Logger()


class RingFollowers:
    """The followers of a store.

    :param bound: how much is kept for them.
    :param steady: the clock that times how long.
    :param take_notes: has the store note what changes from now on, or no more.
    :ivar places: what they need.
    :ivar ring: what is kept; None: nothing is.
    """

    def __init__(self, bound: FollowedBound, steady: Callable[[], float], take_notes: Callable[[bool], object]) -> None:
        self._bound = bound
        self._steady = steady
        self._take_notes = take_notes
        self._followers: dict[str, RingFollower] = {}
        self.places = FollowerPlaces()
        self.ring: ChangeRing | None = None

    def add_place(self, name: str, sequence: int) -> None:
        """Keep what changes from now on for a follower.

        :param sequence: the number of the store's last group.
        """
        self.places.follow(name, sequence)
        self._keep(sequence)

    def follow(self, name: str, after: int, ranges: SlotRanges | None, sequence: int) -> RingFollower:
        """See `IFollowedStore.follow`.

        :param sequence: the number of the store's last group.
        """
        self.places.follow(name, after)
        ring = self._keep(sequence)
        if not ring.has_after(after):
            self.forget(name)
            raise behind(name, after)
        if name in self._followers:
            self._followers.pop(name).end(f"{name} follows anew")
        follower = self._followers[name] = RingFollower(name, after, ranges, self.places, lambda: self.ring)
        return follower

    def forget(self, name: str) -> None:
        """See `IFollowedStore.forget`."""
        self.places.forget(name)
        if name in self._followers:
            self._followers.pop(name).end(f"{name} follows no more")
        self.release()

    def add(self, group: ChangeGroup) -> None:
        """Keep one more group, and give it to whoever waits."""
        assert self.ring is not None
        self.ring.add(group)
        self.release()
        for follower in list(self._followers.values()):
            follower.wake()

    def release(self) -> None:
        """Keep no more than followers need, within the bound; nothing if there are none."""
        if self.ring is None:
            return
        needed = self.places.needed()
        if needed is not None:
            for name in self.places.leave_behind(self.ring.release(needed)):
                _log.warn("{follower} follows too slowly: it has to start from a copy", follower=name)
        if not self.places.any:
            self.ring = None
            self._take_notes(False)

    def end(self, why: str) -> None:
        """End all followers; their places stay."""
        for follower in self._followers.values():
            follower.end(why)
        self._followers = {}

    def _keep(self, sequence: int) -> ChangeRing:
        """Keep changes from now on, if they aren't kept yet."""
        if self.ring is None:
            self.ring = ChangeRing(self._bound, self._steady, sequence)
            self._take_notes(True)
        return self.ring
