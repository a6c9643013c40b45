"""Reads the files of a backup, and checks every byte of them.

Rules:

- nothing is trusted: lengths, checksums, counts and indexes are compared with the manifest;
- each error names the damaged file;
- at most one block of each file is in memory;
- only files are read, no pipes or devices, and no more of one than it may have.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from hashlib import sha256
from pathlib import Path
from typing import IO
from zlib import crc32

import attrs

from pyshard.backup import manifest
from pyshard.backup.manifest import FileEntry, Manifest
from pyshard.backup.new_backup import BLOCK
from pyshard.errors import BackupDamaged, BadRequest, plain, shortened
from pyshard.model import cluster_state
from pyshard.model.cluster_state import DEFAULT_INDEX, ClusterState
from pyshard.protocol.pages import Row, decode_rows
from pyshard.security.regular_file import open_regular, read_regular
from pyshard.settings import settings

#: Bytes that a manifest may have: room for tens of thousands of shards.
_LONGEST_MANIFEST = 16 * 1024 * 1024


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

    def blocks(self) -> Iterator[list[Row]]:
        """All records, block by block, one block of each file in turn.

        :raises BackupDamaged: a file was changed since it was checked.
        """
        files = [(block.rows for block in _blocks(self.directory, entry)) for entry in self.manifest.files]
        while files:
            unfinished = []
            for file in files:
                rows = next(file, None)
                if rows is not None:
                    unfinished.append(file)
                    yield rows
            files = unfinished


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
    indexes = {DEFAULT_INDEX, *state.indexes.values()}
    for entry in made.files:
        digest, documents = sha256(), 0
        for block in _blocks(directory, entry):
            digest.update(block.data)
            documents += len(block.rows)
            unknown = {row.index for row in block.rows} - indexes
            if unknown:
                raise _damaged(entry, f"found a record of index {min(unknown)}, which isn't in {manifest.STATE}")
            yield
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


def _blocks(directory: Path, entry: FileEntry) -> Iterator[_Block]:
    """The blocks of a file, each with its length and checksum checked."""
    try:
        with open_regular(directory / entry.name) as file:
            left = entry.bytes
            while left:
                block = _next_block(file, entry, left)
                left -= len(block.data)
                yield block
            if file.read(1):
                raise _damaged(entry, f"it is longer than {entry.bytes:,} bytes")
    except OSError as error:
        raise _damaged(entry, f"it can't be read ({error.strerror or error})") from None


def _next_block(file: IO[bytes], entry: FileEntry, left: int) -> _Block:
    head = file.read(BLOCK.size)
    if len(head) < BLOCK.size:
        raise _damaged(entry, f"it is shorter than {entry.bytes:,} bytes")
    length, checksum = BLOCK.unpack(head)
    if length > min(left - BLOCK.size, settings.MAX_BOX_BYTES):
        raise _damaged(entry, f"found a block of {length:,} bytes, which has no room in it")
    payload = file.read(length)
    if len(payload) < length:
        raise _damaged(entry, f"it is shorter than {entry.bytes:,} bytes")
    if crc32(payload) != checksum:
        raise _damaged(entry, "the checksum of a block doesn't fit it")
    try:
        return _Block(head + payload, decode_rows(payload))
    except BadRequest as error:
        raise _damaged(entry, f"a block holds no records: {error}") from None


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
        state = cluster_state.from_json(text)
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
