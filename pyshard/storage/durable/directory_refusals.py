"""Why the log or LMDB's files can't be used, in one line: what was found, and what to do. Pure."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from pyshard.security.refused_place import is_told, refused_place

DATA_DIRECTORY = "data directory"  #: what messages call it

#: What LMDB calls errors of the system. By name: whoever names a store alone need not load LMDB.
_OF_LMDB = {"DiskError": errno.ENOSPC, "ReadonlyError": errno.EACCES}


def log_refused(path: Path, error: OSError | ValueError, user: int) -> str:
    """The line for a file of the log that can't be used.

    :param user: as of `refused_place`.
    """
    if isinstance(error, OSError) and is_told(error):
        return refused_place(path, error, user, DATA_DIRECTORY)
    why = error.strerror if isinstance(error, OSError) else str(error)
    return (
        f"{path}: the log can't be used ({why}); what to do stands in the documentation, "
        '"How a shard keeps its documents"'
    )


def data_refused(path: Path, error: Exception, user: int) -> str:
    """The line for LMDB's files, in which something is wrong, or which the system refuses.

    :param user: as of `refused_place`.
    """
    number = _OF_LMDB.get(type(error).__name__)
    if number is not None:
        error = OSError(number, os.strerror(number))
    if isinstance(error, OSError) and is_told(error):
        return refused_place(path, error, user, DATA_DIRECTORY)
    return f"{path}: the data can't be opened ({error}); mend that, or restore a backup into an empty shard"
