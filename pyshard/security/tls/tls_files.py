"""The files that a `Tls` names: which they are, whether they have changed, and who can get at a private key.

Rule: a private key that others can get at is refused (`pyshard.security.secret_file`). What the files hold is checked
elsewhere (`certificate_checks`, `ssl_context`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pyshard.errors import ConfigError
from pyshard.model.regular_file import read_regular
from pyshard.security.file_change import ReloadedValue, file_signature
from pyshard.security.secret_file import read_secret
from pyshard.security.tls.config import SYSTEM, Tls

_T = TypeVar("_T")

_LONGEST_CERTIFICATES = 16 * 1024 * 1024  # bytes of a file with certificates; those of all authorities take 0.3 MiB
_LONGEST_KEY = 1024 * 1024  # bytes of a file with a private key, which may have certificates as well


def authorities(tls: Tls) -> list[Path]:
    """The files with the authorities' certificates; none for those that the system trusts.

    :raises ConfigError: the directory has no such file, or can't be read.
    """
    if tls.ca == SYSTEM:
        return []
    path = Path(tls.ca)
    if not path.is_dir():
        return [path]
    try:
        found = sorted(file for file in path.iterdir() if file.suffix.lower() == ".pem")
    except OSError as error:
        raise unreadable(path, error) from None
    if not found:
        raise ConfigError(f"TLS authorities {path}: found no file whose name ends in .pem")
    return found


def key_path(tls: Tls) -> Path:
    """The file with the private key of a `Tls` that has a certificate."""
    path = tls.key if tls.key is not None else tls.certificate
    assert path is not None
    return Path(path)


def signature(tls: Tls) -> tuple[tuple[int, ...] | None, ...]:
    """A value that differs once one of the files has changed; see `file_signature`."""
    try:
        paths = authorities(tls)
    except ConfigError:
        paths = []
    paths += [Path(named) for named in (tls.ca, tls.certificate, tls.key) if named is not None]
    return tuple(map(file_signature, paths))


def reloaded(tls: Tls, make: Callable[[], _T]) -> ReloadedValue[_T]:
    """What `make` makes of the files, and makes anew when one of them has changed."""
    return ReloadedValue(
        make,
        lambda: signature(tls),
        lambda _: "TLS: the certificates were read again",
        "what was read before stays in force",
    )


def unreadable(path: Path, error: OSError) -> ConfigError:
    """The error for a file that can't be read."""
    return ConfigError(f"TLS file {path}: it can't be read: {(error.strerror or str(error)).lower()}")


def certificate_text(path: Path) -> bytes:
    """What a file with certificates holds.

    :raises ConfigError: it can't be read, is something else than a file, or is too long.
    """
    try:
        return read_regular(path, _LONGEST_CERTIFICATES)
    except OSError as error:
        raise unreadable(path, error) from None


def key_text(path: Path) -> bytes:
    """What a file with a private key holds.

    :raises ConfigError: it can't be read, or others can get at it (`read_secret`).
    """
    return read_secret(path, "TLS key", _LONGEST_KEY)
