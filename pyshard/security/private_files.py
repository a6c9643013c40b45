"""Files and directories for the eyes of their owner alone, whatever the umask: documents, and what goes with them.

Rules:

- a directory is made with mode 0700, a file with mode 0600; what exists already keeps its mode;
- no link is followed to a file that is made or written: another user may have planted it. Where somebody else's code
  opens the file, `planted` is asked before;
- a file that replaces another is whole or not there: written beside it, synced, and renamed.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Collection
from pathlib import Path

_DIRECTORY = 0o700
_FILE = 0o600
_OTHERS = 0o077  # the bits of everybody but the owner


def make_private_directory(path: Path) -> bool:
    """Make a directory, if there is none; its parents are made as the umask has it.

    :return: whether it was made.
    :raises OSError: it can't be made.
    """
    if path.is_dir():
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(_DIRECTORY)
    except FileExistsError:
        if not path.is_dir():
            raise
        return False
    return True


def private_descriptor(path: Path, flags: int, directory: int | None = None) -> int:
    """Open a file as `os.open` does; it is made if there is none.

    :param directory: a descriptor of the path's directory, which is gone by; None: the path is.
    :raises OSError: it can't be opened, or it is a link.
    """
    flags |= os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    if directory is None:
        return os.open(path, flags, _FILE)
    return os.open(path.name, flags, _FILE, dir_fd=directory)


class MayBeUndone(OSError):
    """A file has another one's place, but a power failure may bring that one back: the disk didn't take it."""


def replace_privately(path: Path, data: bytes) -> None:
    """Put a file in the place of another one, or where there is none, and return when the disk has it.

    :raises MayBeUndone: it is there, and nobody knows whether the disk has it.
    :raises OSError: the disk did not take it; what was there stands.
    """
    beside = path.with_name(f"{path.name}.new")
    beside.unlink(missing_ok=True)  # what a crash left, or somebody planted
    with os.fdopen(private_descriptor(beside, os.O_WRONLY | os.O_EXCL), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)
    try:
        sync_directory(path.parent)
    except OSError as error:
        raise MayBeUndone(error.errno, error.strerror) from error


def sync_directory(path: Path) -> None:
    """Return when the disk has the names of a directory's files.

    :raises OSError: the disk failed.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def planted(path: Path, owners: Collection[int], links: bool = False) -> str | None:
    """Why what is at a path may be another user's doing, in words behind the path; None: it isn't, or isn't there.

    :param owners: the ids of the users who may have put it there.
    :param links: whether a link of theirs may be there, which leads to what is theirs.
    :raises OSError: nobody knows, since it can't be looked at.
    """
    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            if not links:
                return (
                    "is a symbolic link, which could have another file overwritten; expected the file itself: move it "
                    "to "
                    "the link's place"
                )
            found = path.stat() if found.st_uid in owners else found
    except FileNotFoundError:
        return None
    return of_another(found, owners)


def of_another(found: os.stat_result, owners: Collection[int]) -> str | None:
    """Why what was found may be another user's doing, in words behind its path; None: it isn't.

    :param owners: the ids of the users who may have put it there.
    """
    if found.st_uid in owners:
        return None
    return (
        f"belongs to another user ({found.st_uid}), who could have planted it; expected one of your own: 'chown' it if "
        "you trust what is there"
    )


def open_to_others(path: Path) -> str | None:
    """Which way others than its owner get into a directory, with what mends it, in one line; None: they don't.

    :raises OSError: nobody knows, since it can't be looked at.
    """
    mode = stat.S_IMODE(path.stat().st_mode)
    if not mode & _OTHERS:
        return None
    return (
        f"{path}: found mode {mode:04o}, with which others than its owner get into it, expected 0700: "
        f"chmod -R go= {path}"
    )
