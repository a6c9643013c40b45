"""The newest changes of a store in memory, kept for whoever follows it.

Rules:

- it is there only while somebody follows: nothing is kept for nobody;
- what it keeps is bounded in bytes and seconds. A follower that needs what went is behind, and is told so;
- groups have numbers without gaps;
- the newest groups, and all that aren't committed, are kept as they are. Older ones, which a late follower needs,
  become blocks of bytes. There small changes take a tenth of the memory, and Python's garbage collector has nothing to
  look through, for which everybody would wait;
- what is counted is what it takes of memory (tests/storage/test_kept_changes_size.py);
- a call packs one block at the most, and lets go of some groups: everybody would wait for all of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable
from operator import attrgetter
from typing import NamedTuple

import msgspec

from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.change_groups import ChangeGroup, without_gaps
from pyshard.protocol.change_pages import encode_groups
from pyshard.storage.follower_places import FollowedBound, FollowerPlaces, behind
from pyshard.storage.waiting_follower import WaitingFollower

#: Bytes of memory that a group takes beside its size, while it is kept as it is, and those that each change takes.
_GROUP, _CHANGE = 360, 170

_BLOCK = 256 * 1024  # bytes of memory of groups that become a block
_BLOCK_OVERHEAD = 200  # bytes of memory that a block takes beside what it has
_LOOSE = 32  # times as many bytes, beside keys and records, have groups that are kept as they are
_LET_GO = 1024 * 1024  # bytes of memory that are let go at a time, beside as many as came

_decode = msgspec.msgpack.Decoder(list[ChangeGroup]).decode


class _GroupBlock(NamedTuple):
    """Groups as MessagePack, with the numbers of the first and the last one, and when that one came."""

    first: int
    last: int
    data: bytes
    came: float


class ChangeRing:
    """Groups of changes, the newest ones.

    :param bound: how many bytes of them are kept, and how long.
    :param steady: the clock.
    :param sequence: the number of the last group, from which on groups are kept.
    :ivar first: the number of the first group that is here.
    :ivar last: the number of the last group.
    :ivar size: bytes of memory that all take.
    :ivar added: bytes of memory of groups that came since it was asked to release some.
    """

    def __init__(self, bound: FollowedBound, steady: Callable[[], float], sequence: int) -> None:
        self._bound = bound
        self._steady = steady
        self._block = min(_BLOCK, bound.size // 1024)
        self._blocks: deque[_GroupBlock] = deque()
        self._loose: dict[int, tuple[ChangeGroup, int, float]] = {}  # by number: group, size, when it came
        self._beside = 0  # bytes of memory that these take beside their sizes
        self.size = self.added = 0
        self.first = sequence + 1
        self.last = sequence

    def add(self, group: ChangeGroup, size: int) -> None:
        """Keep one more group.

        :param size: of the group.
        """
        self._loose[group.sequence] = group, size, self._steady()
        beside = _GROUP + _CHANGE * len(group.changes)
        self._beside += beside
        self.size += size + beside
        self.added += size + beside
        self.last = group.sequence

    @property
    def filled(self) -> float:
        """Which part of the bound is used; see `FollowedBound.used`."""
        now = self._steady()
        return self._bound.used(self.size, now - self._oldest()[1] if self.first <= self.last else 0.0)

    @property
    def is_full(self) -> bool:
        """Whether it has more bytes than the bound allows."""
        return self.size > self._bound.size

    def group(self, sequence: int) -> ChangeGroup:
        """The group with a number, which is here and not committed."""
        return self._loose[sequence][0]

    def cut(self, sequence: int) -> None:
        """Drop the groups above a number, of which none is committed."""
        while self.last > sequence:
            self._take(self.last)
            self.last -= 1

    def release(self, needed: int, always: int | None = None) -> bool:
        """Drop some of those groups that nobody needs, or that are over the bound. If there are none, pack older ones.

        :param needed: followers need groups above this number.
        :param always: groups above this number are kept as they are in any case; None: none are.
        :return: whether there may be more to drop.
        """
        least, self.added = self.size - _LET_GO - self.added, 0
        until = self.last if always is None else min(always, self.last)
        long_ago = self._steady() - self._bound.seconds
        while self.first <= until and self.size > least:
            last, came = self._oldest()
            if last > needed and self.size <= self._bound.size and came >= long_ago:
                self._pack(until)
                return False
            self._drop_oldest()
        if not self._loose:
            self._loose.clear()  # else it would keep their places
        return self.first <= until

    def has_after(self, sequence: int) -> bool:
        """Whether all groups behind a number are here."""
        return self.first - 1 <= sequence <= self.last

    def after(self, sequence: int, most_bytes: int, until: int) -> list[ChangeGroup]:
        """The groups behind a number, as many as have some bytes together, and one more.

        :param until: the number of the last one that may be given.
        """
        groups: list[ChangeGroup] = []
        until = min(self.last, until)
        while sequence < until and most_bytes > 0:
            if sequence + 1 in self._loose:
                group, size, _ = self._loose[sequence + 1]
                groups.append(group)
                sequence, most_bytes = sequence + 1, most_bytes - size
                continue
            block = self._blocks[bisect_left(self._blocks, sequence + 1, key=attrgetter("last"))]
            for group in _decode(block.data)[sequence + 1 - block.first :]:
                if sequence < until and most_bytes > 0:
                    groups.append(group)
                    sequence, most_bytes = sequence + 1, most_bytes - group.size
        return groups

    def _oldest(self) -> tuple[int, float]:
        """The number of the oldest group, or of the last one of its block, and when it came."""
        if self._blocks:
            return self._blocks[0].last, self._blocks[0].came
        return self.first, self._loose[self.first][2]

    def _drop_oldest(self) -> None:
        """Drop the oldest group, or its block."""
        if self._blocks:
            block = self._blocks.popleft()
            self.size -= len(block.data) + _BLOCK_OVERHEAD
            self.first = block.last + 1
        else:
            self._take(self.first)
            self.first += 1

    def _take(self, number: int) -> tuple[ChangeGroup, float]:
        """Keep a group no more as it is; when it came."""
        group, size, came = self._loose.pop(number)
        beside = _GROUP + _CHANGE * len(group.changes)
        self._beside -= beside
        self.size -= size + beside
        return group, came

    def _pack(self, until: int) -> None:
        """Make one block of the oldest groups that aren't in one, if too many are kept as they are.

        :param until: the number of the last group that may be in it.
        """
        first = number = self._blocks[-1].last + 1 if self._blocks else self.first
        if self._beside <= (_LOOSE + 1) * self._block or first > until:
            return
        least, came, groups = self.size - self._block, 0.0, list[ChangeGroup]()
        while number <= until and (self.size > least or not groups):
            group, came = self._take(number)
            groups.append(group)
            number += 1
        data = encode_groups(groups)
        self._blocks.append(_GroupBlock(first, number - 1, data, came))
        self.size += len(data) + _BLOCK_OVERHEAD


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
