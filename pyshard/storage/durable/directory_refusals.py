"""Why a data directory can't be used, in one line: what was found, what was expected, and what to do. Pure."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_NOT_ALLOWED = (errno.EACCES, errno.EPERM)
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
_NO_DIRECTORY = (errno.EEXIST, errno.ENOTDIR)
_KNOWN = (*_NOT_ALLOWED, *_NO_ROOM, errno.EROFS)

#: What LMDB calls errors of the system. By name: whoever names a store alone need not load LMDB.
_OF_LMDB = {"DiskError": errno.ENOSPC, "ReadonlyError": errno.EACCES}


def system_refuses(path: Path, error: OSError, user: int, file: Path | None = None) -> str:
    """The line for what the system refuses to do with a directory, or a file in it.

    :param path: of the directory, or of the file in it.
    :param user: the id of the user who runs the shard.
    :param file: what stands in the directory's way, at its place or above it; None: nothing does.
    """
    why = error.strerror or str(error)
    if error.errno in _NO_DIRECTORY and file is not None:
        return f"{path}: found that {file} is no directory, expected one there; choose another data directory"
    if error.errno in _NOT_ALLOWED:
        return (
            f"{path}: found that user {user} may not use it ({why}), expected a data directory of the user who runs "
            "the "
            "shard; chown it, or choose another"
        )
    if error.errno in _NO_ROOM:
        return (
            f"{path}: found no room on its disk ({why}), expected some for the log; remove other files there, or "
            "choose "
            "a data directory on another disk"
        )
    if error.errno == errno.EROFS:
        return (
            f"{path}: found a file system that can't be written ({why}), expected one that can; mount it so, or choose "
            "another data directory"
        )
    return f"{path}: can't be used as a data directory ({why}); mend that, or choose another"


def log_refused(path: Path, error: OSError | ValueError, user: int) -> str:
    """The line for a file of the log that can't be used.

    :param user: as of `system_refuses`.
    """
    if isinstance(error, OSError) and error.errno in _KNOWN:
        return system_refuses(path, error, user)
    why = error.strerror if isinstance(error, OSError) else str(error)
    return (
        f"{path}: the log can't be used ({why}); what to do stands in the documentation, "
        '"How a shard keeps its documents"'
    )


def data_refused(path: Path, error: Exception, user: int) -> str:
    """The line for LMDB's files, in which something is wrong, or which the system refuses.

    :param user: as of `system_refuses`.
    """
    number = _OF_LMDB.get(type(error).__name__)
    if number is not None:
        error = OSError(number, os.strerror(number))
    if isinstance(error, OSError) and error.errno in _KNOWN:
        return system_refuses(path, error, user)
    return f"{path}: the data can't be opened ({error}); mend that, or restore a backup into an empty shard"
