"""The write-ahead log: whatever changes a store stands here before it is acknowledged, in groups.

Groups are in the order of their commit. A *lap* is one use of a file, from its beginning.

Rules:

- there are two files, used by turns: while a checkpoint flushes what one has, the other one takes new groups;
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
from pyshard.security.private_files import private_descriptor, sync_directory
from pyshard.security.regular_file import open_regular
from pyshard.storage.durable.log_format import (
    HEADER_BYTES,
    SALT_BYTES,
    Group,
    groups_in,
    packed_group,
    packed_header,
    salt_of,
)

_KEPT = 32 * 1024 * 1024  # bytes of the file that a new lap leaves for use; the rest goes back to the disk


class LogFile:
    """One file of the log.

    :param path: the file; it is made if there is none.
    :param identity: hex, of the store that it belongs to.
    :param flushed: the sequence number up to which LMDB has all groups; 0: the store never had a log.
    :param random: gives so many random bytes, for salts.
    :raises ConfigError: the file can't be used: in one line, why.
    :ivar groups: those that were found and that LMDB doesn't have; whoever opened the file empties the list.
    :ivar sequence: the number of the last group.
    :ivar size: bytes of this lap.
    :ivar broken: whether nothing can be appended before a new lap begins. This lap may have a group that was
        refused, or the disk may lack one.
    """

    def __init__(self, path: Path, identity: str, flushed: int, random: Callable[[int], bytes] = os.urandom) -> None:
        self._identity = bytes.fromhex(identity)
        self._random = random
        self.broken = False
        self._all_synced = True  # whether the disk is known to have all groups
        self.groups: list[Group] = []
        try:
            data = _read(path)
            if not flushed and not any(data[:HEADER_BYTES]):
                data = b""  # a power failure while the file was made may leave its size without its bytes
            if data:
                self._salt = salt_of(data, self._identity)
                self.groups, self.size = groups_in(data, self._salt, flushed)
            elif flushed:
                raise ValueError("it is missing or empty, and acknowledged changes may be in it")
            self._file = private_descriptor(path, os.O_RDWR)
        except (OSError, ValueError) as error:
            raise _unusable(path, error) from None
        try:
            if self.groups:
                self.sequence = self.groups[-1].sequence
                # A sync that failed may have left these bytes marked as synced, so they are written again.
                _write(self._file, data[: self.size], 0)
                # Groups behind a lost one must not follow upon a new one.
                os.truncate(self._file, self.size)
            else:
                self.begin_lap(max(flushed, 1))  # 0 is for data that never had a log
            os.fsync(self._file)  # so that the next start finds what this one found
            if not flushed:  # also if the file was there: the process that made it may have been killed before this
                sync_directory(path.parent)
        except OSError as error:
            self.close()
            raise _unusable(path, error) from None

    def append(self, payload: bytes, sync: bool, ballot: int = 0) -> None:
        """Write a group.

        :param sync: whether to return only when the disk has it, and so all groups before it.
        :param ballot: see `Group`.
        :raises OSError: the group isn't in the log.
        """
        if self.broken:
            raise OSError(EIO, "the log could not be mended after a write had failed")
        group = packed_group(self._salt, Group(self.sequence + 1, payload, ballot), sync and self._all_synced)
        try:
            _write(self._file, group, self.size)
            if sync:
                self.sync()
        except OSError:
            self._cut_refused()
            raise
        self.size += len(group)
        self.sequence += 1
        self._all_synced = sync

    def sync(self) -> None:
        """Return when the disk has all groups.

        :raises OSError: it may lack some.
        """
        try:
            os.fdatasync(self._file)
        except OSError:
            self.broken = True  # the system may take lost bytes for synced, and never write them
            raise
        self._all_synced = True

    def begin_lap(self, sequence: int) -> None:
        """Begin a new lap. LMDB must have all groups of this one.

        The new header reaches the disk with the next group that does. Until then a start may find the lap before,
        which does no harm.

        :param sequence: the number before that of the lap's first group.
        :raises OSError: the disk failed. The file is broken then, unless only making it shorter failed.
        """
        salt, was_broken = self._random(SALT_BYTES), self.broken
        self.broken = True  # until it is known which lap the file is in
        _write(self._file, packed_header(self._identity, salt), 0)
        if was_broken:  # no start may find the refused group that may be in the lap before
            os.fdatasync(self._file)
        self._salt, self.size, self.sequence, self.broken = salt, HEADER_BYTES, sequence, False
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


class WriteAheadLog:
    """The two files of the log; see `LogFile` for the parameters and what the two have in common.

    :param paths: of the files.
    :ivar groups: as those of `LogFile`, of both files, in order.
    """

    def __init__(
        self, paths: tuple[Path, Path], identity: str, flushed: int, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._active = LogFile(paths[0], identity, flushed, random)
        try:
            self._other = LogFile(paths[1], identity, flushed, random)
        except ConfigError:
            self._active.close()
            raise
        if self._other.groups and self._other.sequence > self._active.sequence:
            self._active, self._other = self._other, self._active
        self.groups = self._other.groups + self._active.groups
        self._active.groups, self._other.groups = [], []
        sequences = [group.sequence for group in self.groups]
        if sequences != list(range(flushed + 1, flushed + 1 + len(sequences))):
            self.close()
            acknowledged = f"changes {flushed + 1:,} to {sequences[-1]:,} were acknowledged"
            raise _unusable(paths[0], ValueError(f"{acknowledged}, and there are only {len(sequences):,} of them"))

    @property
    def sequence(self) -> int:
        """The number of the last group."""
        return self._active.sequence

    @property
    def size(self) -> int:
        """Bytes of the lap that takes new groups."""
        return self._active.size

    @property
    def broken(self) -> bool:
        """See `LogFile`."""
        return self._active.broken

    def append(self, payload: bytes, sync: bool, ballot: int = 0) -> None:
        """See `LogFile`."""
        self._active.append(payload, sync, ballot)

    def sync(self) -> None:
        """See `LogFile`."""
        self._active.sync()

    def rotate(self) -> None:
        """Have the other file take new groups, in a new lap. LMDB must have all groups that it has.

        :raises OSError: the same file as before takes new groups.
        """
        self._active.sync()  # the disk must not have groups of the other file without those before them
        self._other.begin_lap(self.sequence)
        self._active, self._other = self._other, self._active

    def begin_lap(self, sequence: int) -> None:
        """See `LogFile`; LMDB must have all groups of both files."""
        self._active.begin_lap(sequence)

    def close(self) -> None:
        """Close the files."""
        self._active.close()
        self._other.close()


def _read(path: Path) -> bytes:
    """What a file of the log holds; nothing if there is none."""
    try:
        with open_regular(path) as file:
            return file.read()
    except FileNotFoundError:
        return b""


def _write(file: int, data: bytes, place: int) -> None:
    """Write all bytes, though the system may take only some of them at a time."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, place)
        view, place = view[written:], place + written


def _unusable(path: Path, error: OSError | ValueError) -> ConfigError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigError(f"{path}: the log can't be used ({why}); docs/storage.md says what to do")
