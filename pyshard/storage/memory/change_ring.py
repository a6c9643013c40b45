"""The newest changes of a store in memory, kept for whoever follows it.

Rules:

- it is there only while somebody follows: nothing is kept for nobody;
- what it keeps is bounded in bytes and seconds. A follower that needs what went is behind, and is told so;
- groups have numbers without gaps.
"""

from __future__ import annotations

from collections.abc import Callable

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import ChangeGroup, without_gaps
from pyshard.storage.follower_places import FollowedBound, FollowerPlaces, behind
from pyshard.storage.waiting_follower import WaitingFollower


class ChangeRing:
    """Groups of changes, the newest ones.

    :param bound: how many bytes of them are kept, and how long.
    :param steady: the clock.
    :param sequence: the number of the last group, from which on groups are kept.
    :ivar last: the number of the last group.
    :ivar added: bytes of groups that came since it was asked to release some.
    """

    def __init__(self, bound: FollowedBound, steady: Callable[[], float], sequence: int) -> None:
        self._bound = bound
        self._steady = steady
        self._groups: dict[int, tuple[ChangeGroup, int, float]] = {}  # by number: group, bytes, when it came
        self._first = sequence + 1
        self._size = self.added = 0
        self.last = sequence

    def add(self, group: ChangeGroup, size: int) -> None:
        """Keep one more group.

        :param size: of the group.
        """
        self._groups[group.sequence] = group, size, self._steady()
        self._size += size
        self.added += size
        self.last = group.sequence

    @property
    def size(self) -> int:
        """Bytes that are kept."""
        return self._size

    @property
    def filled(self) -> float:
        """Which part of the bound is used; see `FollowedBound.used`."""
        came = self._groups[self._first][2] if self._first <= self.last else self._steady()
        return self._bound.used(self._size, self._steady() - came)

    @property
    def is_full(self) -> bool:
        """Whether it has more bytes than the bound allows."""
        return self._size > self._bound.size

    def group(self, sequence: int) -> ChangeGroup:
        """The group with a number, which is here."""
        return self._groups[sequence][0]

    def cut(self, sequence: int) -> None:
        """Drop the groups above a number."""
        while self.last > sequence:
            _, size, _ = self._groups.pop(self.last)
            self._size -= size
            self.last -= 1

    def release(self, needed: int, always: int | None = None) -> int:
        """Drop groups that nobody needs, or that are over the bound.

        :param needed: followers need groups above this number.
        :param always: groups above this number are kept in any case; None: none are.
        :return: the number up to which groups are gone.
        """
        self.added = 0
        oldest = self._steady() - self._bound.seconds
        while self._first <= self.last and (always is None or self._first <= always):
            _, size, came = self._groups[self._first]
            if self._first > needed and self._size <= self._bound.size and came >= oldest:
                break
            del self._groups[self._first]
            self._size -= size
            self._first += 1
        if not self._groups:
            self._groups.clear()  # else it would keep their places
        return self._first - 1

    def has_after(self, sequence: int) -> bool:
        """Whether all groups behind a number are here."""
        return self._first - 1 <= sequence <= self.last

    def after(self, sequence: int, most_bytes: int, until: int) -> list[ChangeGroup]:
        """The groups behind a number, as many as have some bytes together, and one more.

        :param until: the number of the last one that may be given.
        """
        groups: list[ChangeGroup] = []
        while sequence < min(self.last, until) and most_bytes > 0:
            sequence += 1
            group, size, _ = self._groups[sequence]
            groups.append(group)
            most_bytes -= size
        return groups


class RingFollower(WaitingFollower[ChangeGroup]):
    """`IFollower` of a store in memory.

    :param name: its name.
    :param after: the number of the last group that it has.
    :param ranges: which slots it wants; None: all.
    :param places: the places of all followers.
    :param ring: gives the ring; None: nobody follows.
    :param readable: gives the number of the last group that it may be given; None: it is a member of a group of
        replicas, which is given all, also those that change nothing.
    """

    def __init__(
        self,
        name: str,
        after: int,
        ranges: SlotRanges | None,
        places: FollowerPlaces,
        ring: Callable[[], ChangeRing | None],
        readable: Callable[[], int] | None = None,
    ) -> None:
        super().__init__(name, places)
        self._sequence = after
        self._ranges = ranges
        self._ring = ring
        self._readable = readable

    def read(self, most_bytes: int) -> list[ChangeGroup]:
        """See `WaitingFollower`."""
        ring = self._ring()
        if ring is None or self._places.of(self._name) is None or not ring.has_after(self._sequence):
            raise behind(self._name, self._sequence)
        readable = ring.last if self._readable is None else self._readable()
        groups = ring.after(self._sequence, most_bytes, readable)
        if groups:
            self._sequence = groups[-1].sequence
        if self._readable is None:
            return groups
        return without_gaps([group.of_slots(self._ranges) for group in groups])
