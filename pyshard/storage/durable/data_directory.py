"""The data directory of a shard: which store it belongs to, which format it has, and which process uses it.

Rules:

- ``shard.json`` has the number of the format and the store's identity; ``records/`` is the LMDB environment;
  ``log-1`` and so on are the write-ahead log (docs/storage.md describes all of it);
- ``lock`` is locked while a process uses the directory, and another process is refused;
- a directory that is missing or empty becomes a data directory; any other one without ``shard.json`` is refused, and
  nothing is written to it;
- ``shard.json`` is whole or not there;
- what is made here is its owner's alone (`pyshard.security.private_files`). So nobody else can hold the lock;
- what another user has put here is refused, and so is a link at the place of a file. Root's is as good as one's own,
  and root uses a directory of any user, who owns what is in it, too. The directory and ``records/`` may be links.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path
from typing import IO

import msgspec

from pyshard.errors import ConfigError
from pyshard.model.regular_file import read_regular
from pyshard.security.private_files import make_private_directory, planted, private_descriptor, replace_privately
from pyshard.security.refused_place import file_in_the_way, refused_place
from pyshard.storage.durable.directory_refusals import DATA_DIRECTORY

#: The format that this version writes. docs/storage.md has the table of formats and what to do about each.
FORMAT = 5

_MARK = "shard.json"
_NEW_MARK = "shard.json.new"
_LOCK = "lock"
_LMDB_FILES = ("data.mdb", "lock.mdb")
_LONGEST_MARK = 64 * 1024  # bytes


class _Mark(msgspec.Struct):
    format: int
    identity: str


class DataDirectory:
    """A data directory, locked for this process (and for the children that daemonizing forks).

    :param path: where it is.
    :raises ConfigError: it can't be used: in one line, why.
    :ivar identity: hex UUID of the store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            make_private_directory(path)
            self.refuse_planted()  # before anything is written there
            _refuse_foreign(path)
            lock = os.fdopen(private_descriptor(path / _LOCK, os.O_WRONLY | os.O_APPEND), "a")
        except OSError as error:
            raise ConfigError(refused_place(path, error, os.geteuid(), DATA_DIRECTORY, file_in_the_way(path))) from None
        try:
            self._lock: IO[str] = _locked(path, lock)
            self.identity = _read_mark(path)
        except ConfigError:
            lock.close()
            raise

    @property
    def room(self) -> tuple[int, int]:
        """Bytes that are free to this process on its file system, and that this has in all; zeros: nobody knows."""
        try:
            found = os.statvfs(self.path)
        except OSError:  # it went away under us; what the store does next says so
            return 0, 0
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    def refuse_planted(self) -> None:
        """Refuse files and links that another user may have put here. LMDB, which opens its own, follows any link.

        :raises ConfigError: there is one.
        :raises OSError: nobody knows, since it can't be looked at.
        """
        user = os.geteuid()
        owners = {user, 0} if user else {0, self.path.stat().st_uid}
        files = [self.path / _LOCK, self.path / _MARK, *self.log_files, *map(self.records.joinpath, _LMDB_FILES)]
        for path in (self.path, self.records, *files):
            why = planted(path, owners, links=path not in files)
            if why:
                raise ConfigError(f"{path}: {why}")

    @property
    def records(self) -> Path:
        """Where the LMDB environment is."""
        return self.path / "records"

    @property
    def record_bytes(self) -> int:
        """How large the file of the LMDB environment is, in bytes; 0 if there is none yet."""
        data = self.records / "data.mdb"
        return data.stat().st_size if data.exists() else 0

    @property
    def log_files(self) -> list[Path]:
        """The files of the log that are there."""
        return list(self.path.glob("log-*"))

    def log_file(self, number: int) -> Path:
        """Where a file of the log is.

        :param number: they count from 1.
        """
        return self.path / f"log-{number}"

    def close(self) -> None:
        """Unlock it."""
        self._lock.close()


def _locked(path: Path, lock: IO[str]) -> IO[str]:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            f"{path}: another process uses this data directory; stop that shard, or choose another directory"
        ) from None
    except OSError as error:
        raise ConfigError(
            f"{path}: the data directory can't be locked ({error.strerror}); choose one on a file system with locks, "
            "such as a local disk"
        ) from None
    return lock


def _refuse_foreign(path: Path) -> None:
    names = {entry.name for entry in path.iterdir()}
    others = sorted(names - {_LOCK, _NEW_MARK})
    if others and _MARK not in names:
        raise ConfigError(
            f"{path}: found {others[0]!r} and no {_MARK}; expected an empty directory or the data of a shard; "
            "choose another directory"
        )


def _read_mark(path: Path) -> str:
    """The identity in a data directory's mark; the mark is made if there is none."""
    mark = path / _MARK
    try:
        text = read_regular(mark, _LONGEST_MARK)
    except FileNotFoundError:
        return _make_mark(mark)
    except OSError as error:
        raise ConfigError(refused_place(mark, error, os.geteuid(), DATA_DIRECTORY)) from None
    try:
        read = msgspec.json.decode(text, type=_Mark)
    except msgspec.DecodeError as error:
        raise ConfigError(
            f"{mark}: found something else than the mark of a data directory ({error}); put a copy of it back, or "
            "choose "
            "another directory"
        ) from None
    if read.format != FORMAT:
        raise ConfigError(
            f"{mark}: the data has format {read.format}, and this version of pyshard knows format {FORMAT}; back it up "
            "with the version that wrote it (pyshard backup), and restore that with this one; see the documentation, "
            '"How a shard keeps its documents"'
        )
    return read.identity


def _make_mark(mark: Path) -> str:
    identity = uuid.uuid4().hex
    try:
        replace_privately(mark, msgspec.json.encode(_Mark(FORMAT, identity)))
    except OSError as error:
        raise ConfigError(refused_place(mark, error, os.geteuid(), DATA_DIRECTORY)) from None
    return identity
