"""Reading the log while it is written: groups in order, from the files of its segments. For one thread, whichever.

Rules:

- a group is taken only if it has the salt of its lap, the next number and the right checksum. So a file that is used
  again meanwhile is noticed, and so is a group that is gone: nothing is ever left out;
- a reader remembers where it is, and looks for its place in a segment only when it begins. Then it goes by the heads of
  the groups before it, of which a segment has a bounded number (`pyshard.storage.durable.checkpoint`);
- bytes behind the last group that may be read are never looked at: they may be old, or be undone.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from pyshard.protocol.log_groups import LogGroup
from pyshard.storage.durable.log_format import (
    GROUP_BYTES,
    HEADER_BYTES,
    group_at,
    lap_of,
    size_of_group,
    skip_groups,
)
from pyshard.storage.durable.write_ahead_log import Segment

_CHUNK = 256 * 1024  # bytes that are read at a time


class GroupGone(Exception):
    """The next group is no longer in the log."""


class LogReader:
    """Reads a log.

    :param segments: gives where groups lie now, the oldest first.
    :param identity: hex, of the store.
    :param sequence: the number of the last group that isn't wanted.
    :ivar sequence: the number of the last group that was read.
    """

    def __init__(self, segments: Callable[[], Sequence[Segment]], identity: str, sequence: int) -> None:
        self._segments = segments
        self._identity = bytes.fromhex(identity)
        self.sequence = sequence
        self._file: int | None = None
        self._salt = b""
        self._place = 0  # of the next group in the file

    def read(self, until: int, most_bytes: int) -> list[LogGroup]:
        """The next groups, at least one if there is one.

        :param until: the number of the last group that may be read; the log has it.
        :param most_bytes: how many bytes of the log are read, but for the last group.
        :raises GroupGone: the log doesn't have the next group any more.
        :raises OSError: the log can't be read.
        """
        groups: list[LogGroup] = []
        size, buffer, begin = 0, b"", 0
        while self.sequence < until and (size < most_bytes or not groups):
            if self._file is None:
                self._find()
                buffer, begin = b"", self._place
            buffer, begin = self._filled(buffer, begin, GROUP_BYTES)
            needed = size_of_group(buffer[self._place - begin :], self._salt)
            if needed is not None:
                buffer, begin = self._filled(buffer, begin, needed)
            found = group_at(buffer, self._place - begin, self._salt)
            if found is None or found[0].sequence != self.sequence + 1:
                self.close()  # the segment has ended; the next one has the group
                continue
            group = found[0]
            groups.append(group)
            length = GROUP_BYTES + len(group.payload)
            self._place += length
            self.sequence = group.sequence
            size += length
        return groups

    def find(self, until: int) -> None:
        """Find the next group, if there is one.

        :param until: see `read`.
        :raises GroupGone: the log doesn't have it any more.
        :raises OSError: the log can't be read.
        """
        if self.sequence < until and self._file is None:
            self._find()

    def close(self) -> None:
        """Close the file. The reader may read on."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _filled(self, buffer: bytes, begin: int, needed: int) -> tuple[bytes, int]:
        """Bytes of the file, at least so many from the place on if there are as many; and where they begin."""
        if self._place + needed <= begin + len(buffer):
            return buffer, begin
        assert self._file is not None
        return os.pread(self._file, max(needed, _CHUNK), self._place), self._place

    def _find(self) -> None:
        """Open the segment that has the next group, and go there."""
        for path, lap in reversed(self._segments()):
            if lap.base > self.sequence:
                continue
            file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                place = self._place_in(file, Segment(path, lap))
            except BaseException:
                os.close(file)
                raise
            if place is not None:
                self._file, self._salt, self._place = file, lap.salt, place
                return
            os.close(file)
        raise GroupGone

    def _place_in(self, file: int, segment: Segment) -> int | None:
        """Where the next group is in a file; None: it isn't there."""
        lap, place = segment.lap, HEADER_BYTES
        try:
            if lap_of(os.pread(file, HEADER_BYTES, 0), self._identity) != lap:
                return None
        except ValueError:  # it is being written over
            return None
        sequence = lap.base
        while sequence < self.sequence:
            last, passed = skip_groups(os.pread(file, _CHUNK, place), 0, lap.salt, sequence, self.sequence)
            if last == sequence:
                return None
            sequence, place = last, place + passed
        head = os.pread(file, GROUP_BYTES, place)
        return place if skip_groups(head, 0, lap.salt, sequence, sequence + 1)[0] > sequence else None
