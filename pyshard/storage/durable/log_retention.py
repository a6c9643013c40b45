"""How long segments of the log are kept for those who follow it.

Rules:

- a follower has a name, and a *place*: the number of the last group that it needs no more;
- segments are kept from the lowest place on, but no more bytes of them, and for no more seconds, than operators allow;
- a follower whose next group is gone is *behind*: its place is given up, and it must start from a snapshot;
- places outlive a restart, more or less: one that is found is never higher than it was;
- followers have places in the reactor's thread, and the writer's thread drops segments.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs
import msgspec
from twisted.logger import Logger

from pyshard.settings import settings
from pyshard.storage.durable.failed_updates import reason_of
from pyshard.storage.durable.write_ahead_log import FEWEST, KeptSegment, WriteAheadLog


@attrs.frozen
class LogBound:
    """How much of the log is kept for followers, beside what LMDB lacks.

    :param size: bytes of segments that take no more groups.
    :param seconds: how long such a segment is kept.
    """

    size: int = settings.FOLLOWED_LOG_BYTES
    seconds: float = settings.FOLLOWED_LOG_SECONDS


_log = Logger()

#: What it is unless operators set it.
DEFAULT_BOUND = LogBound()


class SavedLog(msgspec.Struct, array_like=True, frozen=True):
    """What LMDB has of the log; docs/storage.md has the format.

    :param files: how many files the log has.
    :param places: name → place of each follower.
    """

    files: int = FEWEST
    places: dict[str, int] = {}

    @classmethod
    def unpacked(cls, saved: bytes | None) -> SavedLog:
        """What was saved.

        :raises ValueError: it is damaged.
        """
        return cls() if saved is None else msgspec.msgpack.decode(saved, type=cls)

    def packed(self) -> bytes:
        """The bytes to save."""
        return msgspec.msgpack.encode(self)


class FollowerPlaces:
    """The places of followers.

    :param places: name → place.
    """

    def __init__(self, places: Mapping[str, int]) -> None:
        self._places = dict(places)
        self._lock = threading.Lock()

    @property
    def by_name(self) -> dict[str, int]:
        """Name → place of each follower."""
        with self._lock:
            return dict(self._places)

    def of(self, name: str) -> int | None:
        """The place of a follower; None: it is behind, or nobody of this name follows."""
        return self._places.get(name)

    def follow(self, name: str, place: int) -> None:
        """Keep groups above a place for a follower, new or not."""
        with self._lock:
            self._places[name] = place

    def confirm(self, name: str, place: int) -> None:
        """Raise the place of a follower that isn't behind."""
        with self._lock:
            if name in self._places:
                self._places[name] = max(place, self._places[name])

    def forget(self, names: Iterable[str]) -> None:
        """Keep nothing for these any more."""
        with self._lock:
            for name in names:
                self._places.pop(name, None)

    def needed(self) -> int | None:
        """Followers need groups above this number; None: there are no followers."""
        with self._lock:
            return min(self._places.values(), default=None)

    def leave_behind(self, until: int) -> list[str]:
        """Have no place below a number any more, since groups up to it are gone.

        :return: the names of the followers that are behind now.
        """
        with self._lock:
            behind = [name for name, place in self._places.items() if place < until]
            for name in behind:
                del self._places[name]
        return behind


def need_not_be_kept(kept: Sequence[KeptSegment], flushed: int, needed: int | None, bound: LogBound, now: float) -> int:
    """The number up to which segments need not be kept.

    :param kept: the oldest first.
    :param flushed: LMDB has all groups up to this number.
    :param needed: followers need groups above this number; None: there are no followers.
    :param now: seconds of the steady clock.
    """
    until = flushed if needed is None else min(flushed, needed)
    followed = [segment for segment in kept if until < segment.last <= flushed]
    size = sum(segment.size for segment in followed)
    for segment in followed:
        if size <= bound.size and now - segment.since <= bound.seconds:
            break
        until = segment.last
        size -= segment.size
    return until


class LogRetention:
    """The log of a store, as far as it is kept for followers. All but `places` is for the writer's thread.

    :param log: the log.
    :param bound: how much of it is kept.
    :param steady: the clock.
    :ivar places: what the followers need.
    """

    def __init__(
        self, log: WriteAheadLog, bound: LogBound, places: FollowerPlaces, steady: Callable[[], float]
    ) -> None:
        self._log = log
        self._bound = bound
        self._steady = steady
        self.places = places

    def saved(self) -> SavedLog:
        """What is to be saved of it now."""
        return SavedLog(self._log.files, self.places.by_name)

    def make_room_to_rotate(self, flushed: int) -> None:
        """See that a file is spare, if need be by leaving followers behind.

        :param flushed: LMDB has all groups up to this number.
        """
        if self._log.must_grow():
            try:
                self._log.grow()
            except OSError:
                self.leave_behind(flushed)

    def release(self, flushed: int) -> None:
        """Give back segments that nobody needs, or that are over the bound.

        :param flushed: LMDB has all groups up to this number.
        """
        kept = self._log.kept
        if kept:
            until = need_not_be_kept(kept, flushed, self.places.needed(), self._bound, self._steady())
            if until >= kept[0].last:
                self.leave_behind(until)

    def is_overdue(self) -> bool:
        """Whether a segment is kept for longer than it should be; for any thread."""
        kept = self._log.kept
        return bool(kept) and self._steady() - kept[0].since > self._bound.seconds

    def leave_behind(self, until: int) -> None:
        """Give back segments up to a number, whoever needs them."""
        for name in self.places.leave_behind(until):
            _log.warn("{follower} follows too slowly: it has to start from a snapshot", follower=name)
        try:
            self._log.release(until)
        except OSError as error:
            _log.error("room of the log could not be given back: {error}", error=reason_of(error))

    def begin_anew(self, sequence: int) -> None:
        """Write over the active file from its start, unless a follower needs what it has. LMDB has everything.

        :param sequence: of the last group, or of one that a broken log refused.
        """
        needed = self.places.needed()
        if not self._log.broken and needed is not None and needed < sequence:
            return
        self.leave_behind(sequence)  # of a broken log nobody may read on: it may have what was refused
        try:
            self._log.begin_lap(sequence)
        except OSError as error:
            _log.error("the log could not be begun anew: {error}", error=reason_of(error))
