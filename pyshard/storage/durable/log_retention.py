"""How long segments of the log are kept for those who follow it.

Rules:

- segments are kept from the lowest place on (`pyshard.storage.follower_places`), but no more bytes of them, and for no
  more seconds, than operators allow;
- places outlive a restart, more or less: one that is found is never higher than it was;
- followers have places in the reactor's thread, and the writer's thread drops segments.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
from twisted.logger import Logger

from pyshard.storage.durable.data_directory import DataDirectory
from pyshard.storage.durable.failed_updates import FailureLog, reason_of
from pyshard.storage.durable.write_ahead_log import FEWEST, KeptSegment, WriteAheadLog, begin_files_anew
from pyshard.storage.follower_places import FollowedBound, FollowerPlaces

_log = Logger()


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


def need_not_be_kept(
    kept: Sequence[KeptSegment], flushed: int, needed: int | None, bound: FollowedBound, now: float
) -> int:
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
        self, log: WriteAheadLog, bound: FollowedBound, places: FollowerPlaces, steady: Callable[[], float]
    ) -> None:
        self._log = log
        self._bound = bound
        self._steady = steady
        self.places = places
        places.room = bound.size
        self._failures = FailureLog(steady)

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
        until = need_not_be_kept(kept, flushed, self.places.needed(), self._bound, self._steady())
        if kept and until >= kept[0].last:
            self.leave_behind(until)
        kept = self._log.kept
        seconds = self._steady() - kept[0].since if kept else 0.0
        self.places.kept = sum([segment.size for segment in kept])
        self.places.filled = self._bound.used(self.places.kept, seconds)

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
            self._failures.add("room of the log could not be given back", reason_of(error))

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
            self._failures.add("the log could not be begun anew", reason_of(error))


def opened_log(
    directory: DataDirectory,
    saved: SavedLog,
    flushed: int,
    bound: FollowedBound,
    steady: Callable[[], float],
    anew: bool = False,
    until: int | None = None,
) -> tuple[WriteAheadLog, LogRetention]:
    """The log in a data directory, and what is kept of it.

    :param saved: what LMDB has of it.
    :param flushed: LMDB has all groups up to this number; 0: the store never had a log.
    :param steady: the clock.
    :param anew: whether its files have nothing that counts.
    :param until: see `WriteAheadLog`.
    :raises ConfigError: the log can't be used: in one line, why.
    """
    places = FollowerPlaces(saved.places)
    if anew:
        begin_files_anew(
            [directory.log_file(number) for number in range(1, saved.files + 1)], directory.identity, flushed
        )
    needed = places.needed()
    log = WriteAheadLog(directory.log_file, directory.identity, flushed, saved.files, needed, now=steady(), until=until)
    return log, LogRetention(log, bound, places, steady)
