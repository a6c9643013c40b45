"""Writes the files of a backup into a directory.

Rules:

- the directory must be empty or not exist, so nothing that was there is touched;
- it is the user's own, and nobody else can put another in its place (`pyshard.security.own_directories`). It is held
  open, and files in it are made, renamed and removed by that, so whatever comes to its place isn't touched;
- the manifest comes last, and gets its name only when all other files are on the disk;
- a backup that fails leaves nothing behind;
- nobody but its owner reads it, whatever the umask.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from struct import Struct
from typing import IO
from zlib import crc32

from pyshard.backup import manifest
from pyshard.backup.manifest import FileEntry, Manifest
from pyshard.errors import BackupFailed
from pyshard.security.own_directories import make_own_directory
from pyshard.security.private_files import private_descriptor, sync_directory
from pyshard.security.refused_place import file_in_the_way, refused_place

#: The head of each block in a file of records: length and CRC32 of its payload.
BLOCK = Struct(">II")


class RecordsFile:
    """One file of a backup, written block by block.

    :param directory: a descriptor of the path's directory; None: the path is gone by.
    :ivar documents: how many records were written.
    :ivar size: how many bytes were written.
    """

    def __init__(self, path: Path, shard: str, directory: int | None = None) -> None:
        self._path = path
        self._shard = shard
        self._digest = sha256()
        self.size = 0
        self._file: IO[bytes] = os.fdopen(private_descriptor(path, os.O_WRONLY | os.O_EXCL, directory), "wb")
        self.documents = 0

    def write_block(self, payload: bytes, documents: int) -> None:
        """Add a page of rows.

        :param payload: the rows in MessagePack.
        :param documents: how many rows.
        :raises BackupFailed: the disk did not take it.
        """
        self.write(BLOCK.pack(len(payload), crc32(payload)))
        self.write(payload)
        self.documents += documents

    def write(self, data: bytes) -> None:
        """Add bytes.

        :raises BackupFailed: the disk did not take them.
        """
        with _disk(self._path):
            self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def finish(self) -> FileEntry:
        """Sync the file to the disk and close it.

        :return: the file's entry in the manifest.
        :raises BackupFailed: the disk did not take it.
        """
        with _disk(self._path):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        return FileEntry(self._path.name, self._shard, self.documents, self.size, self._digest.hexdigest())

    def abandon(self) -> None:
        """Close the file, whether or not its content was written."""
        with suppress(OSError):  # buffered bytes may not fit on the disk; the file is removed anyway
            self._file.close()


class NewBackup:
    """A directory that becomes a backup.

    :param directory: it must be empty or not exist.
    :raises BackupFailed: it can't be used.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._files: list[RecordsFile] = []
        self._names: list[str] = []
        with _disk(directory, is_directory=True):
            self._made, why = make_own_directory(directory)
            if why is not None:
                raise BackupFailed(f"{directory}: {why}")
            found = next(directory.iterdir(), None)
        if found is not None:
            raise BackupFailed(
                f"{directory}: found {found.name!r} in it, expected a directory that is empty or doesn't exist yet"
            )
        with _disk(directory, is_directory=True):
            self._held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def new_file(self, name: str, shard: str = "") -> RecordsFile:
        """Create a file.

        :param shard: the shard whose records it is for; empty: none.
        :raises BackupFailed: it can't be written.
        """
        path = self._directory / name
        with _disk(path):
            file = RecordsFile(path, shard, self._held)
        self._names.append(name)
        self._files.append(file)
        return file

    def finish(self, content: Manifest) -> None:
        """Make the directory a backup: write the manifest beside the finished files.

        :raises BackupFailed: the disk did not take it.
        """
        path = self._directory / manifest.MANIFEST
        beside = self.new_file(manifest.MANIFEST + ".new")
        beside.write(manifest.encode(content))
        beside.finish()
        with _disk(path):
            os.rename(self._names[-1], path.name, src_dir_fd=self._held, dst_dir_fd=self._held)
            self._names[-1] = path.name
            os.fsync(self._held)
            sync_directory(self._directory.absolute().parent)
        os.close(self._held)

    def abandon(self) -> None:
        """Remove everything that was written, as far as possible."""
        for file in self._files:
            file.abandon()
        # Without a manifest it is no backup. The error that led here is the one to report.
        for name in self._names:
            with suppress(OSError):
                os.unlink(name, dir_fd=self._held)
        os.close(self._held)
        if self._made:
            with suppress(OSError):
                self._directory.rmdir()


@contextmanager
def _disk(path: Path, is_directory: bool = False) -> Iterator[None]:
    """Turn an OSError about a path into `BackupFailed`."""
    try:
        yield
    except OSError as error:
        way = path if is_directory else path.parent
        why = refused_place(path, error, os.geteuid(), "directory for the backup", file_in_the_way(way))
        raise BackupFailed(why) from None
