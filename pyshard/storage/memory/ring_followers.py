"""Who follows a store in memory: their places, and the ring of changes that is kept for them.

Rules:

- changes are kept only while somebody follows, within a bound. One of several replicas keeps those that aren't
  committed in any case;
- whoever waits for groups is told at once that there is one more;
- what nobody needs any more is looked for now and then: when some bytes were added, and at each sweep of the store.
  It goes some at a time, also when all have gone who followed.
"""

from __future__ import annotations

from collections.abc import Callable

from twisted.logger import Logger

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.storage.follower_places import FollowedBound, FollowerPlaces, behind
from pyshard.storage.memory.change_ring import ChangeRing, RingFollower

_log = Logger()

_RELEASED = 64 * 1024  # bytes of memory of groups that are added before what nobody needs is looked for


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
        self._uncommitted: set[str] = set()  # the names of those that are given what isn't committed
        self._always: int | None = None  # groups above this number are kept, whoever follows
        self.places = FollowerPlaces()
        self.places.room = bound.size
        self.ring: ChangeRing | None = None
        self._unwanted: list[ChangeRing] = []  # which are still to be let go

    def add_place(self, name: str, sequence: int) -> None:
        """Keep what changes from now on for a follower.

        :param sequence: the number of the store's last group.
        """
        self.places.follow(name, sequence)
        self._keep(sequence)

    def follow(
        self, name: str, after: int, ranges: SlotRanges | None, sequence: int, readable: Callable[[], int] | None
    ) -> RingFollower:
        """See `IFollowedStore.follow`.

        :param sequence: the number of the store's last group.
        :param readable: see `RingFollower`.
        """
        self.places.follow(name, after)
        ring = self._keep(sequence)
        if not ring.has_after(after):
            self.forget(name)
            raise behind(name, after)
        if name in self._followers:
            self._followers.pop(name).end(f"{name} follows anew")
        follower = self._followers[name] = RingFollower(name, after, ranges, self.places, lambda: self.ring, readable)
        if readable is None:
            self._uncommitted.add(name)
        else:
            self._uncommitted.discard(name)
        return follower

    def forget(self, name: str) -> None:
        """See `IFollowedStore.forget`."""
        self.places.forget(name)
        if name in self._followers:
            self._followers.pop(name).end(f"{name} follows no more")
        self.release()

    def add(self, group: ChangeGroup, size: int) -> None:
        """Keep one more group, and give it to whoever waits.

        :param size: of the group.
        """
        assert self.ring is not None
        self.ring.add(group, size)
        self.places.written += size
        if self.ring.added >= _RELEASED or self.ring.is_full:
            self.release()
        self._wake()

    def committed(self, sequence: int) -> None:
        """From here on keep all groups above a number in any case. Those up to it are committed.

        :param sequence: of a store that was alone, the number of its last group.
        """
        if self.ring is None:
            self.ring = ChangeRing(self._bound, self._steady, sequence)
        self._always = sequence
        self.release()
        self._wake()

    def begin_anew(self, sequence: int) -> None:
        """Forget all groups, and all who follow.

        :param sequence: the number before that of the next group.
        """
        self.end("this store becomes a copy of another one")
        self.places.leave_behind(sequence + 1 if self.ring is None else max(sequence, self.ring.last) + 1)
        if self.ring is not None:
            self._unwanted.append(self.ring)
        self.ring, self._always = ChangeRing(self._bound, self._steady, sequence), sequence

    def end_uncommitted(self, why: str) -> None:
        """End those that are given what isn't committed."""
        for name in self._uncommitted & self._followers.keys():
            self._followers.pop(name).end(why)

    def _wake(self) -> None:
        for follower in list(self._followers.values()):
            follower.wake()

    def release(self) -> bool:
        """Keep no more than followers need, within the bound; nothing if there are none. What goes, goes in steps.

        :return: whether more may be let go at once.
        """
        more = self._let_go()
        if self.ring is None:
            return more
        needed = self.places.needed()
        if needed is not None or self._always is not None:
            more = self.ring.release(self.ring.last if needed is None else needed, self._always) or more
            for name in self.places.leave_behind(self.ring.first - 1):
                _log.warn("{follower} follows too slowly: it has to start from a copy", follower=name)
            self.places.filled, self.places.kept = self.ring.filled, self.ring.size
        if not self.places.any and self._always is None:
            self._unwanted.append(self.ring)
            self.ring, more = None, True
            self._take_notes(False)
        return more

    def _let_go(self) -> bool:
        """Let go of some groups that were kept for those who are gone; whether there are more."""
        if self._unwanted and not self._unwanted[-1].release(self._unwanted[-1].last):
            self._unwanted.pop()
        return bool(self._unwanted)

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
