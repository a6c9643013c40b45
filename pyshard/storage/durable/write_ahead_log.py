"""The log before LMDB: what is acknowledged stands here first, group after group, in the order in which it was done.

A file is written over and over: when LMDB has all that is in it, a new *lap* begins at its start, under a new *salt*
(eight random bytes that nobody outside can know). A group is valid when it has the lap's salt, the next sequence
number and the right checksum; the first place without one is the end. So a group that was written by half is none,
and neither is what is left of earlier laps, nor anything that a document may contain.

A group that was written when the disk had all groups before it (`synced`) says so. One that is found behind a place
where there is no valid group proves that something acknowledged was damaged: such a log is refused.

There are two files, by turns: while what is in one goes into LMDB, the other takes what is new.

docs/storage.md describes the format.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from errno import EIO
from pathlib import Path
from typing import NamedTuple

from pyshard.errors import ConfigError

_NAME = b"pyshard log 1\n\0\0"
_HEADER = struct.Struct(">16s16s8sI")  # name, identity, salt, checksum of these
_GROUP = struct.Struct(">8sQBII")  # salt, sequence number, whether synced, bytes of the text, checksum of all
_SALT = 8
_KEPT = 32 * 1024 * 1024  # bytes of the file that are kept for the next lap


class Group(NamedTuple):
    """What was done together.

    :param sequence: rises by 1 with each group.
    """

    sequence: int
    text: bytes


def header(identity: bytes, salt: bytes) -> bytes:
    """The first bytes of a log.

    :param identity: 16 bytes, of the store.
    :param salt: 8 bytes, of the lap.
    """
    checksum = zlib.crc32(_NAME + identity + salt)
    return _HEADER.pack(_NAME, identity, salt, checksum)


def salt_of(data: bytes, identity: bytes) -> bytes:
    """The salt of the lap that a log is in.

    :raises ValueError: the log has no header, a damaged one, or that of another store.
    """
    if len(data) < _HEADER.size:
        raise ValueError(f"it has {len(data)} bytes, too few for a header")
    name, owner, salt, _ = _HEADER.unpack_from(data)
    if name != _NAME or data[: _HEADER.size] != header(owner, salt):
        raise ValueError("its header is damaged, or that of something else")
    if owner != identity:
        raise ValueError(f"it belongs to the store {owner.hex()}")
    return bytes(salt)


def packed(salt: bytes, group: Group, synced: bool) -> bytes:
    """A group as it stands in the log."""
    bare = _GROUP.pack(salt, group.sequence, synced, len(group.text), 0)
    checksum = zlib.crc32(group.text, zlib.crc32(bare))
    return _GROUP.pack(salt, group.sequence, synced, len(group.text), checksum) + group.text


def groups_in(data: bytes, salt: bytes, safe: int) -> tuple[list[Group], int]:
    """The groups of a log that aren't safe elsewhere, and where they end.

    :param safe: the sequence number up to which they are.
    :raises ValueError: acknowledged groups that must be there can't be read.
    """
    groups: list[Group] = []
    end, last = _HEADER.size, None
    while (found := _group_at(data, end, salt)) is not None and last in (None, found[0].sequence - 1):
        last = found[0].sequence
        if last > safe:
            groups.append(found[0])
        end += _GROUP.size + len(found[0].text)
    place, newest = end, max(safe, last or 0)
    while (place := data.find(salt, place)) >= 0:
        beyond = _group_at(data, place, salt)
        if beyond is not None and beyond[1] and beyond[0].sequence > newest:
            raise ValueError(f"it is damaged at byte {end:,}, and acknowledged changes were there")
        place += 1
    return groups, end


def _group_at(data: bytes, place: int, salt: bytes) -> tuple[Group, bool] | None:
    """The group at a place, and whether it is a synced one; None when there is no valid one."""
    if data[place : place + _SALT] != salt or len(data) < place + _GROUP.size:
        return None
    _, sequence, synced, size, _ = _GROUP.unpack_from(data, place)
    begin = place + _GROUP.size
    group = Group(sequence, data[begin : begin + size])
    return (group, bool(synced)) if packed(salt, group, synced) == data[place : begin + size] else None


class Log:
    """One file of a log; for one thread.

    :param path: the file; it is made when there is none.
    :param identity: hex, of the store that it belongs to.
    :param safe: the sequence number of the last group that is safe elsewhere.
    :param random: gives so many random bytes, for salts.
    :raises ConfigError: it can't be used: in one line, why.
    :ivar groups: those that were found in it and aren't safe; whoever opened it takes them and lets go of them.
    :ivar sequence: the number of the last group.
    :ivar size: bytes of this lap.
    :ivar broken: whether nothing can be appended until a new lap was begun, since something may be in this one that
        was refused, or may be missing in it on the disk.
    """

    def __init__(self, path: Path, identity: str, safe: int, random: Callable[[int], bytes] = os.urandom) -> None:
        self._identity = bytes.fromhex(identity)
        self._random = random
        self.broken = False
        self._settled = True  # whether the disk is known to have all groups
        self.groups: list[Group] = []
        try:
            data = path.read_bytes() if path.exists() else b""
            if not safe and not any(data[: _HEADER.size]):
                data = b""  # a power failure in its making may leave the size without the bytes
            if data:
                self._salt = salt_of(data, self._identity)
                self.groups, self.size = groups_in(data, self._salt, safe)
            elif safe:
                raise ValueError("it is missing or empty, and acknowledged changes may be in it")
            self._file = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except (OSError, ValueError) as error:
            raise _unusable(path, error) from None
        try:
            if self.groups:
                self.sequence = self.groups[-1].sequence
                _write(self._file, data[: self.size], 0)  # a sync that failed may have left them for synced
                os.truncate(self._file, self.size)  # behind a lost one others may be left, to follow upon a new one
            else:
                self.restart(max(safe, 1))  # 0 is that of data which never had a log
            os.fsync(self._file)  # so that the next start finds what this one found
            if not safe:  # also when it was made before: the process may have been killed in between
                _sync_directory(path.parent)
        except OSError as error:
            self.close()
            raise _unusable(path, error) from None

    def append(self, text: bytes, sync: bool) -> None:
        """Write a group.

        :param sync: whether to return only when it is on the disk, as all groups before it then are.
        :raises OSError: it isn't in the log.
        """
        if self.broken:
            raise OSError(EIO, "the log could not be mended after a write had failed")
        group = packed(self._salt, Group(self.sequence + 1, text), sync and self._settled)
        try:
            _write(self._file, group, self.size)
            if sync:
                self.sync()
        except OSError:
            self._cut()
            raise
        self.size += len(group)
        self.sequence += 1
        self._settled = sync

    def sync(self) -> None:
        """Return when all groups are on the disk.

        :raises OSError: they may not be.
        """
        try:
            os.fdatasync(self._file)
        except OSError:
            self.broken = True  # the system may take for synced what isn't, and never write it
            raise
        self._settled = True

    def restart(self, sequence: int) -> None:
        """Begin a new lap, when all groups are safe elsewhere.

        The header reaches the disk with the next group that does; until then the lap before may be found, which is
        safe elsewhere.

        :param sequence: the number after which the lap's first group is counted.
        :raises OSError: the disk failed; nothing can be appended any more, unless it was the shortening that failed.
        """
        salt, broken = self._random(_SALT), self.broken
        self.broken = True  # as long as it isn't known which lap the file is in
        _write(self._file, header(self._identity, salt), 0)
        if broken:  # what may be in the lap before must not be found any more
            os.fdatasync(self._file)
        self._salt, self.size, self.sequence, self.broken = salt, _HEADER.size, sequence, False
        if os.fstat(self._file).st_size > _KEPT:
            os.truncate(self._file, _KEPT)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)

    def _cut(self) -> None:
        """Have nothing in the file of a group that failed, lest it be found after a restart."""
        try:
            os.truncate(self._file, self.size)
            self.sync()
        except OSError:
            self.broken = True


class Logs:
    """The two files of a log; for one thread.

    :param paths: of the files.
    :param identity: hex, of the store that they belong to.
    :param safe: the sequence number of the last group that is safe elsewhere.
    :param random: gives so many random bytes, for salts.
    :raises ConfigError: they can't be used: in one line, why.
    :ivar groups: as those of `Log`, of both files, in order.
    """

    def __init__(
        self, paths: tuple[Path, Path], identity: str, safe: int, random: Callable[[int], bytes] = os.urandom
    ) -> None:
        self._now = Log(paths[0], identity, safe, random)
        try:
            self._other = Log(paths[1], identity, safe, random)
        except ConfigError:
            self._now.close()
            raise
        if self._other.groups and self._other.sequence > self._now.sequence:
            self._now, self._other = self._other, self._now
        self.groups = self._other.groups + self._now.groups
        self._now.groups, self._other.groups = [], []
        numbers = [group.sequence for group in self.groups]
        if numbers != list(range(safe + 1, safe + 1 + len(numbers))):
            self.close()
            why = f"changes {safe + 1:,} to {numbers[-1]:,} were acknowledged, and there are only {len(numbers):,}"
            raise _unusable(paths[0], ValueError(f"{why} of them"))

    @property
    def sequence(self) -> int:
        """The number of the last group."""
        return self._now.sequence

    @property
    def size(self) -> int:
        """Bytes of the lap that takes what is new."""
        return self._now.size

    @property
    def broken(self) -> bool:
        """See `Log`."""
        return self._now.broken

    def append(self, text: bytes, sync: bool) -> None:
        """See `Log`."""
        self._now.append(text, sync)

    def sync(self) -> None:
        """See `Log`."""
        self._now.sync()

    def switch(self) -> None:
        """Have the other file, all of which is safe elsewhere, take what is new.

        :raises OSError: this one still does.
        """
        self._now.sync()  # so that nothing is missing before what the other one will have
        self._other.restart(self.sequence)
        self._now, self._other = self._other, self._now

    def restart(self, sequence: int) -> None:
        """Begin a new lap, when all groups of both files are safe elsewhere; see `Log`."""
        self._now.restart(sequence)

    def close(self) -> None:
        """Let go of the files."""
        self._now.close()
        self._other.close()


def _write(file: int, data: bytes, place: int) -> None:
    """Write all of it, where the system may take a part at a time."""
    view = memoryview(data)
    while view:
        written = os.pwrite(file, view, place)
        view, place = view[written:], place + written


def _unusable(path: Path, error: OSError | ValueError) -> ConfigError:
    why = error.strerror if isinstance(error, OSError) else str(error)
    return ConfigError(f"{path}: the log can't be used ({why}); docs/storage.md says what to do")


def _sync_directory(path: Path) -> None:
    """Have a new file's name on the disk."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
