"""Reads the files of a backup, and checks every byte of them.

Rules:

- nothing is trusted: lengths, checksums, counts and indexes are compared with the manifest, and no row is let through
  that a shard would refuse, or that its shard can't have (`pyshard.backup.row_check`);
- what is read again to be restored is checked again, since it may have been changed meanwhile;
- each error names the damaged file;
- one block is in memory, and a few files are open, however many there are;
- only files are read, no pipes or devices, and no more of one than it may have.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from hashlib import sha256
from pathlib import Path
from zlib import crc32

import attrs

from pyshard.backup import manifest
from pyshard.backup.manifest import FileEntry, Manifest
from pyshard.backup.new_backup import BLOCK
from pyshard.backup.row_check import RowCheck
from pyshard.errors import BackupDamaged, BadRequest, plain, shortened
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.regular_file import open_regular, read_regular
from pyshard.protocol.pages import Row, decode_rows
from pyshard.settings import settings

#: Bytes that a manifest may have: room for tens of thousands of shards.
_LONGEST_MANIFEST = 16 * 1024 * 1024

#: Files that are read in turn: so many shards have work at a time.
_OPEN = 16


@attrs.frozen
class VerifiedBackup:
    """A backup whose every byte was checked.

    :param directory: where it is.
    :param manifest: its manifest.
    :param state: the cluster state in it.
    """

    directory: Path
    manifest: Manifest
    state: ClusterState

    def blocks(self) -> Generator[list[Row], None, None]:
        """All records, block by block, one block of some files in turn.

        :raises BackupDamaged: a file was changed since it was checked.
        """
        waiting, reading = deque(self.manifest.files), deque[_RecordsReader]()
        try:
            while reading or waiting:
                while waiting and len(reading) < _OPEN:
                    reading.append(_RecordsReader(self.directory, waiting.popleft(), self.state))
                reader = reading[0]
                block = reader.next_block()
                reading.popleft()
                if block is None:
                    reader.close()
                else:
                    reading.append(reader)
                    yield block.rows
        finally:
            for reader in reading:
                reader.close()


def verify(directory: str | Path) -> Manifest:
    """Check every byte of a backup. No cluster is needed.

    :return: its manifest.
    :raises BackupDamaged: there is no finished backup, or a file was changed; the message names it.
    """
    checking = check(Path(directory))
    while True:
        try:
            next(checking)
        except StopIteration as finished:
            found: VerifiedBackup = finished.value
            return found.manifest


def check(directory: Path) -> Generator[None, None, VerifiedBackup]:
    """Check every byte of a backup; yields after each block, so that the caller can do other work.

    :return: the backup.
    :raises BackupDamaged: as `verify`.
    """
    made = _read_manifest(directory)
    state = _read_state(directory, made)
    for entry in made.files:
        digest, documents = sha256(), 0
        reader = _RecordsReader(directory, entry, state)
        try:
            while (block := reader.next_block()) is not None:
                digest.update(block.data)
                documents += len(block.rows)
                yield
        finally:
            reader.close()
        if documents != entry.documents:
            raise _damaged(entry, f"found {documents:,} documents, expected {entry.documents:,}")
        if digest.hexdigest() != entry.sha256:
            raise _damaged(entry, "its SHA-256 isn't the one in the manifest")
    return VerifiedBackup(directory, made, state)


@attrs.frozen
class _Block:
    """A block as it stands in the file, and its rows."""

    data: bytes
    rows: list[Row]


class _RecordsReader:
    """Reads a file block by block, and keeps none.

    :param state: the cluster's, by which its rows are checked.
    :raises BackupDamaged: it can't be read; as all its methods.
    """

    def __init__(self, directory: Path, entry: FileEntry, state: ClusterState) -> None:
        self._entry = entry
        self._check = RowCheck.of(state, entry.shard)
        self._left = entry.bytes
        try:
            self._file = open_regular(directory / entry.name)
        except OSError as error:
            raise self._unreadable(error) from None

    def next_block(self) -> _Block | None:
        """The next block, which was checked; None at the end."""
        try:
            if self._left:
                return self._block()
            if self._file.read(1):
                raise _damaged(self._entry, f"it is longer than {self._entry.bytes:,} bytes")
        except OSError as error:
            raise self._unreadable(error) from None
        return None

    def close(self) -> None:
        """Read no further."""
        self._file.close()

    def _block(self) -> _Block:
        entry = self._entry
        head = self._file.read(BLOCK.size)
        if len(head) < BLOCK.size:
            raise _damaged(entry, f"it is shorter than {entry.bytes:,} bytes")
        length, checksum = BLOCK.unpack(head)
        if length > min(self._left - BLOCK.size, settings.MAX_BOX_BYTES):
            raise _damaged(entry, f"found a block of {length:,} bytes, which has no room in it")
        payload = self._file.read(length)
        if len(payload) < length:
            raise _damaged(entry, f"it is shorter than {entry.bytes:,} bytes")
        if crc32(payload) != checksum:
            raise _damaged(entry, "the checksum of a block doesn't fit it")
        try:
            rows = decode_rows(payload)
        except BadRequest as error:
            raise _damaged(entry, f"a block holds no records: {error}") from None
        fault = self._check.fault(rows)
        if fault is not None:
            raise _damaged(entry, fault)
        self._left -= len(head) + length
        return _Block(head + payload, rows)

    def _unreadable(self, error: OSError) -> BackupDamaged:
        return _damaged(self._entry, f"it can't be read ({error.strerror or error})")


def _read_manifest(directory: Path) -> Manifest:
    path = directory / manifest.MANIFEST
    try:
        text = read_regular(path, _LONGEST_MANIFEST)
    except FileNotFoundError:
        raise BackupDamaged(f"{path}: there is no such file, so {directory} holds no finished backup") from None
    except OSError as error:
        raise BackupDamaged(f"{path}: it can't be read ({error.strerror or error})") from None
    return manifest.decode(text)


def _read_state(directory: Path, made: Manifest) -> ClusterState:
    entry = made.state
    try:
        text = read_regular(directory / entry.name, settings.MAX_STATE_BYTES)
        state = cluster_state_json.from_json(text)
    except OSError as error:
        raise _damaged(entry, f"it can't be read ({error.strerror or error})") from None
    except BadRequest as error:
        raise _damaged(entry, f"it can't be read ({error})") from None
    if len(text) != entry.bytes or sha256(text).hexdigest() != entry.sha256:
        raise _damaged(entry, "its length or its SHA-256 isn't the one in the manifest")
    if (state.cluster, state.epoch) != (made.cluster, made.epoch):
        raise _damaged(entry, "its cluster and epoch aren't those in the manifest")
    return state


def _damaged(entry: FileEntry, what: str) -> BackupDamaged:
    return BackupDamaged(f"{shortened(plain(entry.name))}: {what}; use another copy of the backup")
