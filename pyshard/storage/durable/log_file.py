"""One file of the write-ahead log, and how it is written so that no failure of the disk makes it lie.

A *lap* is one use of a file, from its beginning. `pyshard.storage.durable.write_ahead_log` has the files of a log.

Rules:

- a write or sync that failed and can't be undone makes a file `broken`: it takes no groups until a new lap begins,
  and that begins only when LMDB has everything;
- a group that the log refused is cut off, so that no start can find it;
- a start rewrites and syncs what it found, so that the next start finds the same;
- a missing or damaged file is refused (`ConfigError`) if acknowledged changes may have been in it.

`pyshard.storage.durable.log_format` has the format. Everything here is for one thread.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EIO
from pathlib import Path

from pyshard.errors import ConfigError
from pyshard.model.regular_file import open_regular
from pyshard.protocol.log_groups import LogGroup
from pyshard.security.private_files import private_descriptor, sync_directory
from pyshard.storage.durable.directory_refusals import log_refused
from pyshard.storage.durable.log_format import (
    HEADER_BYTES,
    SALT_BYTES,
    Found,
    Lap,
    groups_in,
    lap_of,
    packed_group,
    packed_header,
    place_behind,
)

_MISSING = "it is missing or empty, and acknowledged changes may be in it"
_KEPT = 80 * 1024 * 1024  # bytes of the file that a new lap leaves for use; the rest goes back to the disk


class LogFile:
    """One file of the log; `found` and `reused` make one.

    :param path: the file; it is made if there is none.
    :param identity: hex, of the store that it belongs to.
    :param random: gives so many random bytes, for salts.
    :raises OSError: it can't be opened.
    :ivar groups: those that were found and that LMDB doesn't have; whoever opened the file empties the list.
    :ivar lap: the lap that it is in.
    :ivar sequence: the number of the last group.
    :ivar synced: the number of the last group that the disk is known to have, with all before it.
    :ivar size: bytes of this lap.
    :ivar broken: whether nothing can be appended before a new lap begins. This lap may have a group that was
        refused, or the disk may lack one.
    """

    def __init__(self, path: Path, identity: str, random: Callable[[int], bytes]) -> None:
        self.path = path
        self._identity = bytes.fromhex(identity)
        self._random = random
        self._file = private_descriptor(path, os.O_RDWR)
        self.groups: list[LogGroup] = []
        self.lap = Lap(b"", 0)
        self.sequence = self.synced = self.size = 0
        self.broken = False

    @classmethod
    def found(
        cls,
        path: Path,
        identity: str,
        flushed: int,
        random: Callable[[int], bytes] = os.urandom,
        kept: int | None = None,
        until: int | None = None,
    ) -> LogFile:
        """The file as a start finds it.

        :param flushed: the sequence number up to which LMDB has all groups; 0: the store never had a log.
        :param kept: groups above this number stay in the file, though LMDB has them; None: none of those does.
        :param until: see `groups_in`.
        :raises ConfigError: the file can't be used: in one line, why.
        """
        try:
            data = read(path)
            if not flushed and not any(data[:HEADER_BYTES]):
                data = b""  # a power failure while the file was made may leave its size without its bytes
            lap, found = Lap(b"", 0), Found([], 0, 0)
            if data:
                lap = lap_of(data, bytes.fromhex(identity))
                found = groups_in(data, lap, flushed, until)
            elif flushed:
                raise ValueError(_MISSING)
            file = cls(path, identity, random)
        except (OSError, ValueError) as error:
            raise unusable(path, error) from None
        try:
            last = found.last
            needed = flushed if kept is None else min(kept, flushed)
            if last > lap.base and last >= flushed and last > needed:
                file.lap, (file.groups, file.sequence, file.size) = lap, found
                # A sync that failed may have left these bytes marked as synced, so they are written again.
                _write(file._file, data[: file.size], 0)
                # Groups behind a lost one must not follow upon a new one.
                os.truncate(file._file, file.size)
            else:
                file.begin_lap(max(flushed, 1))  # 0 is for data that never had a log
            os.fsync(file._file)  # so that the next start finds what this one found
            file.synced = file.sequence
            if not flushed:  # also if the file was there: the process that made it may have been killed before this
                sync_directory(path.parent)
        except OSError as error:
            file.close()
            raise unusable(path, error) from None
        return file

    @classmethod
    def reused(
        cls, path: Path, identity: str, sequence: int, random: Callable[[int], bytes], synced: bool = False
    ) -> LogFile:
        """A file that has nothing which anybody needs, in a new lap.

        :param sequence: the number before that of the lap's first group.
        :param synced: whether to return only when the disk has the file, with its name. A process that ended while it
            made the file may have left it without.
        :raises OSError: the disk failed.
        """
        file = cls(path, identity, random)
        try:
            file.begin_lap(sequence)
            if synced:
                os.fsync(file._file)
                sync_directory(path.parent)
        except BaseException:
            file.close()
            raise
        return file

    def append(self, payload: bytes, sync: bool, ballot: int = 0) -> None:
        """Write a group.

        :param sync: whether to return only when the disk has it, and so all groups before it.
        :param ballot: see `LogGroup`.
        :raises OSError: the group isn't in the log.
        """
        if self.broken:
            raise OSError(EIO, "the log could not be mended after a write had failed")
        group = packed_group(
            self.lap.salt, LogGroup(self.sequence + 1, payload, ballot), sync and self.synced == self.sequence
        )
        try:
            _write(self._file, group, self.size)
            if sync:
                self.sync()
        except OSError:
            self._cut_refused()
            raise
        self.size += len(group)
        self.sequence += 1
        if sync:
            self.synced = self.sequence

    def sync(self) -> None:
        """Return when the disk has all groups.

        :raises OSError: it may lack some.
        """
        try:
            os.fdatasync(self._file)
        except OSError:
            self.broken = True  # the system may take lost bytes for synced, and never write them
            raise
        self.synced = self.sequence

    def mend(self) -> None:
        """Have the disk have all groups of this lap, and nothing behind them, after a write or a sync has failed.

        :raises OSError: it couldn't be. The file is as broken as it was.
        """
        data = read(self.path, self.size)
        if place_behind(data, self.lap, self.sequence) != self.size:
            raise OSError(EIO, "groups of the log are damaged")
        _write(self._file, data, 0)  # the system may take lost bytes for synced, and never write them
        os.truncate(self._file, self.size)
        os.fdatasync(self._file)
        self.synced, self.broken = self.sequence, False

    def cut(self, sequence: int) -> None:
        """Have no groups above a number any more. This lap has it, or begins behind it.

        :raises OSError: the disk may have them still. The file is broken then, unless they are all here.
        """
        place = place_behind(read(self.path, self.size), self.lap, sequence)
        if place is None:
            raise OSError(EIO, "groups of the log are damaged")
        os.truncate(self._file, place)
        self.size, self.sequence, self.broken = place, sequence, True
        os.fdatasync(self._file)
        self.synced, self.broken = sequence, False

    def begin_lap(self, sequence: int) -> None:
        """Begin a new lap. LMDB must have all groups of this one.

        The new header reaches the disk with the next group that does. Until then a start may find the lap before,
        which does no harm.

        :param sequence: the number before that of the lap's first group.
        :raises OSError: the disk failed. The file is broken then, unless only making it shorter failed.
        """
        lap, was_broken = Lap(self._random(SALT_BYTES), sequence), self.broken
        self.broken = True  # until it is known which lap the file is in
        _write(self._file, packed_header(self._identity, lap), 0)
        if was_broken:  # no start may find the refused group that may be in the lap before
            os.fdatasync(self._file)
        self.lap, self.size, self.sequence, self.broken = lap, HEADER_BYTES, sequence, False
        self.synced = sequence
        if os.fstat(self._file).st_size > _KEPT:
            os.truncate(self._file, _KEPT)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def _cut_refused(self) -> None:
        """Cut a group that failed off the file, so that no start finds it."""
        try:
            os.truncate(self._file, self.size)
            self.sync()
        except OSError:
            self.broken = True


def cut_segment(path: Path, lap: Lap, sequence: int) -> int:
    """Have no groups above a number in a file that takes none; return only when the disk has it so.

    :param lap: that it is in.
    :return: how many bytes are left of it.
    :raises OSError: it couldn't be cut.
    """
    place = HEADER_BYTES if sequence <= lap.base else place_behind(read(path), lap, sequence)
    if place is None:
        raise OSError(EIO, "groups of the log are damaged")
    file = private_descriptor(path, os.O_RDWR)
    try:
        os.truncate(file, place)
        os.fsync(file)
    finally:
        os.close(file)
    return place


def lap_in(path: Path, identity: str) -> Lap:
    """The lap that a file is in.

    :param identity: hex, of the store.
    :raises ConfigError: the file can't be used: in one line, why.
    """
    try:
        data = read(path, HEADER_BYTES)
        if not data:
            raise ValueError(_MISSING)
        return lap_of(data, bytes.fromhex(identity))
    except (OSError, ValueError) as error:
        raise unusable(path, error) from None


def cut_to_header(path: Path) -> None:
    """Give the room back that a file takes which nobody needs any more.

    :raises OSError: the disk failed.
    """
    file = private_descriptor(path, os.O_RDWR)
    try:
        os.truncate(file, HEADER_BYTES)
    finally:
        os.close(file)


def read(path: Path, size: int = -1) -> bytes:
    """What a file of the log holds; nothing if there is none.

    :param size: how many bytes of it at the most; -1: all.
    """
    try:
        with open_regular(path) as file:
            return file.read(size)
    except FileNotFoundError:
        return b""


def _write(file: int, data: bytes, place: int) -> None:
    """Write all bytes, though the system may take only some of them at a time."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, place)
        view, place = view[written:], place + written


def unusable(path: Path, error: OSError | ValueError) -> ConfigError:
    """The line for a file that can't be used."""
    return ConfigError(log_refused(path, error, os.geteuid()))
