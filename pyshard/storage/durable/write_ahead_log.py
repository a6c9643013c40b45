"""The write-ahead log: whatever changes a store stands here before it is acknowledged, in groups.

Groups are in the order of their commit. They lie in *segments*: each is a lap of one file (`LogFile`).

Rules:

- the *active* segment takes new groups. While a checkpoint flushes what it has, the next one does;
- a segment is *kept* while LMDB lacks a group of it, or a follower needs one, within a bound of bytes and seconds;
- files of segments that aren't kept are *spare*, and are used again. There are two files at first. One is added when a
  segment must begin and none is spare;
- a file that was added takes groups only when LMDB knows of it, so that a start misses it if it is gone;
- segments that are kept for followers alone never stop a writer: where the disk has no room, they go;
- followers read the files by themselves (`pyshard.storage.durable.log_reader`). They see by salts and numbers whether a
  file still has what they look for.

Everything here is for one thread, but for `segments`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import attrs

from pyshard.metrics.histogram import BYTES, Histogram
from pyshard.protocol.log_groups import LogGroup
from pyshard.storage.durable.log_file import LogFile, cut_segment, cut_to_header, lap_in, unusable
from pyshard.storage.durable.log_format import HEADER_BYTES, Lap

#: How many files a log has at the least.
FEWEST = 2


class Segment(NamedTuple):
    """Where groups lie: a file, and the lap of it that has them."""

    path: Path
    lap: Lap


@attrs.frozen
class KeptSegment:
    """A segment that takes no more groups.

    :param last: the number of its last group, or a higher one.
    :param size: bytes of its file.
    :param since: when it was found, or took no more groups: seconds of the steady clock.
    """

    segment: Segment
    last: int
    size: int
    since: float


class WriteAheadLog:
    """The files of the log.

    :param path_of: the path of the file with a number; they count from 1.
    :param identity: hex, of the store.
    :param flushed: the sequence number up to which LMDB has all groups; 0: the store never had a log.
    :param files: how many files there are.
    :param kept: followers need groups above this number; None: there are no followers.
    :param random: gives so many random bytes, for salts.
    :param now: seconds of the steady clock.
    :param until: groups above this number were being cut off, and are cut off now; None: none were.
    :raises ConfigError: the log can't be used: in one line, why.
    :ivar groups: those that were found and that LMDB doesn't have, in order; whoever opened the log empties the list.
    :ivar active: the file that takes new groups.
    :ivar files: how many files there are now.
    :ivar kept: segments that take no more groups, the oldest first.
    :ivar sizes: bytes of the groups that were written.
    """

    def __init__(
        self,
        path_of: Callable[[int], Path],
        identity: str,
        flushed: int,
        files: int = FEWEST,
        kept: int | None = None,
        random: Callable[[int], bytes] = os.urandom,
        now: float = 0.0,
        until: int | None = None,
    ) -> None:
        self._path_of = path_of
        self._identity = identity
        self._random = random
        self._spare: list[Path] = []
        self.files = files
        self.groups: list[LogGroup] = []
        self.kept: list[KeptSegment] = []
        self.segments: tuple[Segment, ...] = ()
        self.sizes = Histogram(BYTES)
        self._cutting: int | None = None  # where it is to be cut, as long as that has failed
        paths = [path_of(number) for number in range(1, files + 1)]
        if not flushed:
            for path in paths:
                LogFile.found(path, identity, 0, random).close()
        opened = self._opened(paths, flushed, kept, now, until)
        self.active = opened.pop()
        for file in opened:
            file.close()
            if file.groups:
                self.groups += file.groups
                self.kept.append(KeptSegment(Segment(file.path, file.lap), file.sequence, file.size, now))
            else:
                self._spare.append(file.path)
        self.groups += self.active.groups
        self.active.groups = []
        sequences = [group.sequence for group in self.groups]
        if sequences != list(range(flushed + 1, flushed + 1 + len(sequences))):
            self.close()
            acknowledged = f"changes {flushed + 1:,} to {max(sequences):,} were acknowledged"
            raise unusable(paths[0], ValueError(f"{acknowledged}, and there are only {len(sequences):,} of them"))
        self._changed()

    def _opened(
        self, paths: list[Path], flushed: int, kept: int | None, now: float, until: int | None
    ) -> list[LogFile]:
        """The files that may have groups which LMDB lacks, in order; the last one is the active one.

        The others are kept, unread. A file surely ends where the next one begins if that has groups; a rotation that
        failed may have left one without any.
        """
        laps = sorted([(lap_in(path, self._identity), path) for path in paths], key=lambda each: each[0].base)
        opened: list[LogFile] = []
        end: int | None = None  # of what wasn't looked at yet
        try:
            for lap, path in reversed(laps):
                if end is not None and end <= flushed:
                    self.kept.insert(0, KeptSegment(Segment(path, lap), end, path.stat().st_size, now))
                    end = lap.base
                else:
                    file = LogFile.found(path, self._identity, flushed, self._random, kept, until)
                    opened.append(file)
                    end = lap.base if file.lap == lap else end
        except BaseException:
            for file in opened:
                file.close()
            raise
        return sorted(opened, key=lambda file: (file.sequence, file.sequence > file.lap.base))

    @property
    def sequence(self) -> int:
        """The number of the last group."""
        return self.active.sequence if self._cutting is None else self._cutting

    @property
    def synced(self) -> int:
        """The number of the last group that the disk is known to have, with all before it."""
        return self.active.synced

    @property
    def size(self) -> int:
        """Bytes of the segment that takes new groups."""
        return self.active.size

    @property
    def groups_in_segment(self) -> int:
        """How many groups the segment has that takes new ones."""
        return self.active.sequence - self.active.lap.base

    @property
    def file_bytes(self) -> int:
        """Bytes of all segments that have groups; for any thread."""
        return sum([segment.size for segment in self.kept]) + self.size

    @property
    def broken(self) -> bool:
        """See `LogFile`."""
        return self.active.broken

    def append(self, payload: bytes, sync: bool, ballot: int = 0) -> None:
        """See `LogFile`."""
        self.active.append(payload, sync, ballot)
        self.sizes.add(len(payload))

    def sync(self) -> None:
        """See `LogFile`."""
        self.active.sync()

    def must_grow(self) -> bool:
        """Whether `rotate` needs another file. LMDB must know of it before."""
        return not self._spare

    def grow(self) -> None:
        """Have one more file.

        :raises OSError: there is none more.
        """
        path = self._path_of(self.files + 1)
        LogFile.reused(path, self._identity, 0, self._random, synced=True).close()
        self.files += 1
        self._spare.append(path)

    def rotate(self, now: float = 0.0) -> None:
        """Have the next segment take new groups. LMDB must have all groups of those that are kept.

        :param now: seconds of the steady clock.
        :raises OSError: the same segment as before takes new groups.
        """
        active = self.active
        active.sync()  # the disk must not have groups of the next segment without those before them
        path = max(self._spare, key=_size_of)  # to write over what is there costs less than to make a file longer
        self.active = LogFile.reused(path, self._identity, active.sequence, self._random)
        self._spare.remove(path)
        active.close()
        self.kept.append(KeptSegment(Segment(active.path, active.lap), active.sequence, active.size, now))
        self._changed()

    def begin_lap(self, sequence: int) -> None:
        """Begin the log anew in the active file; LMDB must have all groups, and followers need none."""
        self.active.begin_lap(sequence)
        self._changed()

    def mend(self) -> None:
        """Have a log that is broken take groups again, where it is.

        Other than `begin_lap` this needs nothing of LMDB, and leaves no number out.

        :raises OSError: it is as broken as it was.
        """
        if self._cutting is not None:
            self.cut(self._cutting)
        elif self.active.broken:
            self.active.mend()

    def cut(self, sequence: int) -> None:
        """Have no groups above a number any more. LMDB has none of these, and nobody reads them.

        LMDB must know of it before: of a file that is being made shorter, a power failure may leave some bytes behind
        others that are gone, which look like damage.

        :raises OSError: the disk may have some still. The log is broken then, unless they are all here.
        """
        active = self.active
        if self._cutting is None:
            self.mend()
            if sequence >= active.lap.base:
                active.cut(sequence)
                return
        self._cutting = sequence
        try:
            self._cut_segments(sequence)
        except BaseException:
            active.broken = True
            raise
        self._cutting = None
        self._changed()

    def _cut_segments(self, sequence: int) -> None:
        """Cut the active segment, which has no group that stays, and those before it.

        The newest go first. So there is never a gap, wherever this stops.
        """
        self.active.cut(self.active.lap.base)
        while self.kept and self.kept[-1].last > sequence:
            kept = self.kept[-1]
            size = cut_segment(kept.segment.path, kept.segment.lap, sequence)
            if kept.segment.lap.base < sequence:
                self.kept[-1] = attrs.evolve(kept, last=sequence, size=size)
            else:
                self._spare.append(kept.segment.path)
                del self.kept[-1]
        self.active.begin_lap(sequence)

    def begin_anew(self, sequence: int) -> None:
        """Forget all groups, and number the next ones from another number on. No start finds the former ones then.

        :param sequence: the number before that of the next group.
        :raises OSError: the disk failed; it is to be tried again before the log is used.
        """
        self._spare += [kept.segment.path for kept in self.kept]
        self.kept = []
        begin_files_anew(self._spare, self._identity, sequence, self._random)
        self.active.begin_lap(sequence)
        self.active.sync()
        self._cutting = None
        self._changed()

    def release(self, until: int) -> None:
        """Keep those segments no more that have no group above a number.

        :raises OSError: a file that isn't needed couldn't be made shorter.
        """
        released = [kept for kept in self.kept if kept.last <= until]
        if not released:
            return
        self.kept = self.kept[len(released) :]
        self._changed()
        self._spare += [kept.segment.path for kept in released]
        for path in sorted(self._spare, key=_size_of)[:-1]:  # one keeps its room, for the next segment
            if _size_of(path) > HEADER_BYTES:
                cut_to_header(path)

    def close(self) -> None:
        """Close the files."""
        self.active.close()

    def _changed(self) -> None:
        """Tell followers where groups lie now."""
        kept = [each.segment for each in self.kept]
        self.segments = (*kept, Segment(self.active.path, self.active.lap))


def begin_files_anew(
    paths: Iterable[Path], identity: str, sequence: int, random: Callable[[int], bytes] = os.urandom
) -> None:
    """Have files of a log have no groups, whatever they had.

    :param identity: hex, of the store.
    :param sequence: the number before that of the next group.
    :raises OSError: the disk failed.
    """
    for path in paths:
        LogFile.reused(path, identity, sequence, random, synced=True).close()


def _size_of(path: Path) -> int:
    return path.stat().st_size
