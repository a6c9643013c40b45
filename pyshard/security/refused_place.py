"""Why a directory, or a file in it, can't be used: in one line what was found, what was expected, and what to do.

Rule: what operators meet has words of its own, and names what is in the way. Anything else has the system's words.
"""

from __future__ import annotations

import errno
from pathlib import Path

_NOT_ALLOWED = (errno.EACCES, errno.EPERM)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_DIRECTORY = (errno.EEXIST, errno.ENOTDIR)


def refused_place(path: Path, error: OSError, user: int, what: str, file: Path | None = None) -> str:
    """The line for what the system refuses to do with a directory, or a file in it.

    :param path: of the directory, or of the file in it.
    :param user: the id of the user as whom this process goes.
    :param what: the directory is for, such as "data directory".
    :param file: what is no directory at its place or above it (`file_in_the_way`); None: nothing is.
    """
    why = error.strerror or str(error)
    if error.errno in _NO_DIRECTORY and file is not None:
        return f"{path}: found that {file} is no directory, expected one there; choose another {what}"
    if error.errno in _NOT_ALLOWED:
        return (
            f"{path}: found that user {user} may not use it ({why}), expected a {what} of that user; chown it, or "
            "choose another"
        )
    if error.errno in _NO_ROOM:
        return (
            f"{path}: found no room on its disk ({why}), expected some; remove other files there, or choose a {what} "
            "on another disk"
        )
    if error.errno == errno.EROFS:
        return (
            f"{path}: found a file system that can't be written ({why}), expected one that can; mount it so, or choose "
            f"another {what}"
        )
    return f"{path}: can't be used as a {what} ({why}); mend that, or choose another"


def is_told(error: OSError) -> bool:
    """Whether `refused_place` says more of rights or room than the system's words."""
    return error.errno in (*_NOT_ALLOWED, *_NO_ROOM, errno.EROFS)


def file_in_the_way(path: Path) -> Path | None:
    """What is no directory at a path or above it; None: nothing is, or it can't be looked at."""
    for place in (path, *path.parents):
        try:
            if place.exists():
                return None if place.is_dir() else place
        except OSError:  # such as one below it, which is no directory either
            continue
    return None
