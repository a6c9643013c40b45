"""The files that a `Tls` names: certificates and keys in PEM, checked before they are used.

Rules:

- what is wrong with a file is said in one line, which names the file;
- a private key that others can get at is refused.
"""

from __future__ import annotations

import os
import stat
from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from pyshard.errors import ConfigError
from pyshard.security.file_change import file_signature
from pyshard.security.tls.config import SYSTEM, Tls

_SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def check(tls: Tls, now: datetime) -> None:
    """Refuse files that can't be used.

    :param now: the time at which this side's own certificate must be valid, with its zone.
    :raises ConfigError: a file is missing or holds something else; others than its owner can get at the key; the key
        isn't the certificate's; or the certificate isn't valid yet, or any more.
    """
    for path in authorities(tls):
        _certificates(path)
    if tls.certificate is None:
        return
    own = _certificates(Path(tls.certificate))[0]
    path = key_path(tls)
    if _key(path).public_key().public_bytes(*_SPKI) != own.public_key().public_bytes(*_SPKI):
        raise ConfigError(f"TLS key {path}: it isn't the key of the first certificate in {tls.certificate}")
    if now > own.not_valid_after_utc:
        raise ConfigError(
            f"TLS certificate {tls.certificate}: it expired on {own.not_valid_after_utc:%Y-%m-%d %H:%M} UTC; expected "
            "a new one"
        )
    if now < own.not_valid_before_utc:
        raise ConfigError(
            f"TLS certificate {tls.certificate}: it isn't valid before {own.not_valid_before_utc:%Y-%m-%d %H:%M} UTC; "
            "is the clock right?"
        )


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
        raise _unreadable(path, error) from None
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


def _unreadable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(f"TLS file {path}: it can't be read: {(error.strerror or str(error)).lower()}")


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(path.read_bytes())
    except OSError as error:
        raise _unreadable(path, error) from None
    except ValueError:
        raise ConfigError(f"TLS file {path}: found no certificate in PEM that can be read, expected one") from None


def _key(path: Path) -> PrivateKeyTypes:
    try:
        with path.open("rb") as file:
            _check_mode(path, os.fstat(file.fileno()))
            data = file.read()
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        return serialization.load_pem_private_key(data, None)
    except TypeError:
        raise ConfigError(f"TLS key {path}: found one with a password, expected one without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"TLS key {path}: found no private key in PEM that can be read, expected one") from None


def _check_mode(path: Path, status: os.stat_result) -> None:
    """Refuse a key that others can get at. A group may read a key of root's: so systems keep the keys of services."""
    mode = stat.S_IMODE(status.st_mode)
    if mode & (0o037 if status.st_uid == 0 else 0o077):
        raise ConfigError(
            f"TLS key {path}: found mode {mode:04o}, with which others than its owner can get at it; "
            f"expected 0600: chmod 600 {path}"
        )
