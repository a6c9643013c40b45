"""Whether a file has changed: what tokens and certificates are read again by."""

from __future__ import annotations

from pathlib import Path


def file_signature(path: Path) -> tuple[int, ...] | None:
    """A value that differs once the file was written or replaced, or had its mode changed.

    :return: None while there is no such file.
    """
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
