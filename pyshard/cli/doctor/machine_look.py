"""Looks at this machine for `pyshard doctor`: files with secrets, certificates, and data directories."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path

from pyshard.cli.doctor.evidence import DirectoryEvidence, FileEvidence
from pyshard.errors import ConfigError
from pyshard.security import token_file
from pyshard.security.secret_file import read_secret
from pyshard.settings import settings

_SYNCS = 5
_BYTES = 4096  # of a sync: what a small group of changes takes


def token_file_evidence(path: Path) -> FileEvidence:
    """Whether a token file can be used."""
    try:
        token_file.load(path)
    except ConfigError as error:
        return FileEvidence("token file", path, _without_name(str(error), path))
    return FileEvidence("token file", path)


def secret_evidence(what: str, path: Path) -> FileEvidence:
    """Whether nobody else can get at a file."""
    try:
        read_secret(path, what, settings.MAX_BOX_BYTES)
    except ConfigError as error:
        return FileEvidence(what, path, _without_name(str(error), path))
    return FileEvidence(what, path)


def directory_evidence(path: Path, seconds: Callable[[], float]) -> DirectoryEvidence:
    """How much room there is, and how long a sync takes.

    :param seconds: the clock.
    """
    try:
        room = os.statvfs(path)
        found = DirectoryEvidence(path, room.f_bavail * room.f_frsize, room.f_blocks * room.f_frsize)
        with tempfile.TemporaryFile(dir=path) as file:
            times = []
            for _ in range(_SYNCS):
                file.write(bytes(_BYTES))
                file.flush()
                began = seconds()
                os.fsync(file.fileno())
                times.append(seconds() - began)
    except OSError as error:
        return DirectoryEvidence(path, error=f"it can't be written to: {(error.strerror or str(error)).lower()}")
    return DirectoryEvidence(path, found.free, found.size, statistics.median(times))


def certificate_end(path: Path) -> float | None:
    """When the first certificate of a file expires, in seconds since 1970; None: nobody knows."""
    try:
        from cryptography import x509

        return x509.load_pem_x509_certificate(path.read_bytes()).not_valid_after_utc.timestamp()
    except (ImportError, OSError, ValueError):  # what can't be read, the client says when it connects
        return None


def _without_name(why: str, path: Path) -> str:
    return why.partition(f"{path}: ")[2] or why
