"""Slows writers down, so that a copy of their shard ends, and a follower and a disk keep up, whatever they would write.

How much they may write together says `pyshard.shard.follower_allowance`, or the store itself for the sake of its disk,
each second anew, or sooner where much is written.

Rules:

- What is counted is bytes. A change that writes what it finds, such as a touch of a large document, counts with that,
  as far as it can be told before. Any other may write more than it brings: so what was written of late, beside what was
  counted, says how much the next ones will write.
- What writers may write is divided fairly between the addresses that they come from: each gets what it had, up to a
  level. So who changes little isn't slowed for the sake of another one, and the heaviest is slowed first.
- A change is made at once, and in order. It is its answer that waits, for a second at the most. A change that would
  have to wait for longer is refused before anything is done for it (`Overloaded`): clients send it again by
  themselves. So neither many changes in flight, nor large ones, write more than they may.
- For a follower only who changes slots that are followed is slowed, and only while the follower asks for more. For the
  disk everybody is. Both hold side by side, and the longer wait counts.
- Operators are told when writers begin to be slowed, but not all the time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from math import inf
from typing import NamedTuple, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from pyshard.errors import Overloaded
from pyshard.model.key_slots import SLOTS, LazySlots
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.protocol.batch_operations import Run, changes
from pyshard.shard.slowdowns import DISK, FOLLOWER, Slowdowns
from pyshard.storage.follower_places import FollowerPlaces

#: Seconds that an answer waits at the most.
LONGEST = 1.0

ALL: SlotRanges = ((0, SLOTS),)

_LOOK = 1.0  # seconds between looks
_LOOK_AT = 0.02  # of what may be kept for followers: when so much was brought or written, the next look is due
_BRIEF = 1e-3  # seconds that there are between two looks at the least, to count by
_LEAST = 4096  # bytes a second that all may bring in any case: what others than they write is no reason to stop them
_FADES = 0.5  # part of what was counted before a second that counts behind it
_T = TypeVar("_T")

_log = Logger()


class Allowed(NamedTuple):
    """What writers may write.

    :ivar rate: bytes of changes in a second; inf: as much as they like.
    :ivar ranges: the slots in which it is so.
    :ivar follower: for whose sake.
    """

    rate: float = inf
    ranges: SlotRanges = ()
    follower: str = ""


class WriterPace:
    """How long answers to changes wait, so that no more is written than may be. Pure; times are in seconds."""

    def __init__(self) -> None:
        self._began: float | None = None  # to count
        self._counts: dict[str, int] = {}  # by address: bytes that were brought since then
        self._count = 0  # of all of them, and of those that aren't slowed
        self._rates: dict[str, float] = {}  # by address: bytes that it has brought in a second of late
        self._brought = self._wrote = 0.0  # bytes of late, of all addresses
        self._written = 0  # bytes of changes that were ever written by then
        self._level = inf  # bytes that an address may bring in a second
        self._owed: dict[str, tuple[float, float]] = {}  # by address: bytes that it brought too soon, and when

    def is_due(self, now: float, written: int, much: float) -> bool:
        """Whether it is time for `look`.

        :param written: bytes of changes that were ever written.
        :param much: bytes behind which it is time in any case.
        """
        if self._began is None or now - self._began >= _LOOK:
            return True
        return now - self._began >= _BRIEF and max(self._count, written - self._written) >= much

    def look(self, now: float, written: int, allowed: Callable[[float], float]) -> None:
        """Count anew, and by what was counted share out what may be written.

        :param written: see `is_due`.
        :param allowed: gives bytes of changes that may be written in a second, given how many were.
        """
        seconds = _LOOK if self._began is None else max(_BRIEF, now - self._began)
        wrote = 0 if self._began is None else max(0, written - self._written)
        fades = _FADES ** min(seconds, 60.0)
        self._brought = self._brought * fades + self._count
        self._wrote = self._wrote * fades + wrote
        faded = {address: self._rates.get(address, 0.0) * fades for address in self._rates.keys() | self._counts.keys()}
        newer = (1 - fades) / seconds
        rates = {address: rate + self._counts.get(address, 0) * newer for address, rate in faded.items()}
        self._rates = {address: rate for address, rate in rates.items() if rate >= 1}
        times = max(1.0, self._wrote / self._brought) if self._brought else 1.0
        rate = allowed(wrote / seconds)
        left = {address: (owed, now) for address in self._owed if (owed := self._left(address, now)) > 0}
        self._level = inf if rate == inf else level(self._rates.values(), max(_LEAST, rate / times))
        self._owed = {} if rate == inf else left
        self._began, self._counts, self._count, self._written = now, {}, 0, written

    def wait(self, now: float, address: str, brought: int) -> float:
        """For how long the answer to changes is to wait; longer than `LONGEST`: they are to be refused.

        :param address: whose they are.
        :param brought: their bytes that count for the address.
        """
        return self._left(address, now) / self._level if brought else 0.0

    def note(self, size: int, now: float, address: str, brought: int) -> None:
        """Note changes that are made; see `wait`.

        :param size: all of their bytes.
        """
        self._counts[address] = self._counts.get(address, 0) + brought
        self._count += size
        if brought and self._level != inf:
            self._owed[address] = self._left(address, now) + brought, now

    def _left(self, address: str, now: float) -> float:
        """Bytes that an address has brought too soon, as it is now."""
        owed, since = self._owed.get(address, (0.0, now))
        return 0.0 if self._level == inf else max(0.0, owed - self._level * max(0.0, now - since))


def level(rates: Iterable[float], total: float) -> float:
    """Up to which rate each may have its own, so that all have a total together. Without any: the total."""
    share, waiting = total, sorted(rates)
    while waiting and (share := total / len(waiting)) > waiting[0]:
        total -= waiting.pop(0)
    return share


class SlowedWriters:
    """The writers of one shard.

    :param places: the followers of its store.
    :param allowed: gives what may be written, given how many bytes of changes were written in a second of late.
    :param clock: times answers.
    :param writable: gives bytes of changes a second for which the store has room; see `IStore`.
    :ivar allowed: what may be written now for the sake of followers.
    """

    def __init__(
        self,
        places: FollowerPlaces,
        allowed: Callable[[float], Allowed],
        clock: IReactorTime,
        writable: Callable[[], float] = lambda: inf,
    ) -> None:
        self._places = places
        self._writable = writable
        self._find = allowed
        self._clock = clock
        self._pace, self._disk_pace = WriterPace(), WriterPace()
        self._disk_slows = False  # as far as the last look knows
        self._slowdowns = Slowdowns()
        self.allowed = Allowed()

    def serve(
        self,
        runs: Sequence[Run],
        size: int,
        begin: Callable[[], Deferred[_T]],
        address: str = "",
        copied: Callable[[], int] = lambda: 0,
    ) -> Deferred[_T]:
        """Have a batch applied, and its answer wait, if it changes what somebody can't catch up with.

        :param size: bytes that the batch brings.
        :param begin: applies it.
        :param address: whose it is.
        :param copied: gives the bytes that it writes of what it finds. It is asked only where anybody is slowed.
        :raises Overloaded: it would have to wait for too long; nothing was done.
        """
        followed, disk_slows = self._places.any or self.allowed.rate != inf, self._disk_slows or self._writable() != inf
        if not followed and not disk_slows:
            return begin()
        now, written, much = self._clock.seconds(), self._places.written, _LOOK_AT * self._places.room
        size += copied()
        seconds, brought = 0.0, size
        if followed:
            if self._pace.is_due(now, written, much):
                self._pace.look(now, written, self._look)
            brought = self._brought(runs, size)
            seconds = self._pace.wait(now, address, brought)
        if disk_slows:
            if self._disk_pace.is_due(now, written, much):
                self._disk_pace.look(now, written, self._look_at_disk)
            seconds = max(seconds, self._disk_pace.wait(now, address, size))
        if seconds > LONGEST:
            raise Overloaded(
                "more is written to this shard than its disk, a copy of it, or who follows it can keep up with, so its "
                "writers are slowed down; nothing was done, try again later"
            )
        if followed:
            self._pace.note(size, now, address, brought)
        if disk_slows:
            self._disk_pace.note(size, now, address, size)
        applied = begin()
        if seconds <= 0:
            return applied
        waited: Deferred[None] = Deferred()
        self._clock.callLater(seconds, waited.callback, None)
        return applied.addBoth(lambda outcome: waited.addCallback(lambda _: outcome))

    def described(self) -> dict[str, object]:
        """For `stat`, as docs/protocol.md lists it."""
        now = self._clock.seconds()
        is_slowed = self._slowdowns.rate(FOLLOWER, now) != inf
        return {**self._slowdowns.described(now), "slowed_for": self.allowed.follower if is_slowed else ""}

    def _look(self, written: float) -> float:
        self.allowed = self._find(written)
        if self._slowdowns.note(FOLLOWER, self._clock.seconds(), self.allowed.rate):
            _log.warn(
                "writers are slowed down, to {rate:,} bytes of changes a second, so that {follower} gets all",
                rate=round(self.allowed.rate),
                follower=self.allowed.follower,
            )
        return self.allowed.rate

    def _look_at_disk(self, _: float) -> float:
        writable = self._writable()
        self._disk_slows = writable != inf
        if self._slowdowns.note(DISK, self._clock.seconds(), writable):
            _log.warn(
                "writers are slowed down, to {rate:,} bytes of changes a second, so that the disk keeps up",
                rate=round(writable),
            )
        return writable

    def _brought(self, runs: Sequence[Run], size: int) -> int:
        """Bytes of a batch that change slots for which writers are slowed; of all, while they aren't."""
        ranges = self.allowed.ranges
        if self.allowed.rate == inf or ranges == ALL:
            return size
        changed = sum([_changed(run, ranges) for run in runs if changes(run)])
        return -(-size * changed // max(1, sum([len(run.keys) for run in runs])))


def _changed(run: Run, ranges: SlotRanges) -> int:
    return sum(in_ranges(slot, ranges) for slot in LazySlots(run.keys, run.index.encode()))
