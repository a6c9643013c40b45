"""What the files of a `Tls` hold, certificates and keys in PEM, checked before it is used.

Rule: what is wrong with a file is said in one line, which names the file.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from pyshard.errors import ConfigError
from pyshard.security.tls.config import Tls
from pyshard.security.tls.tls_files import authorities, certificate_text, key_path, key_text

_SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def check(tls: Tls, now: datetime) -> datetime | None:
    """Refuse files that can't be used.

    :param now: the time at which this side's own certificate must be valid, with its zone.
    :return: when that expires; None: there is none.
    :raises ConfigError: a file is missing or holds something else; others than its owner can get at the key; the key
        isn't the certificate's; or the certificate isn't valid yet, or any more.
    """
    for path in authorities(tls):
        _certificates(path)
    if tls.certificate is None:
        return None
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
    return own.not_valid_after_utc


def _certificates(path: Path) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(certificate_text(path))
    except ValueError:
        raise ConfigError(f"TLS file {path}: found no certificate in PEM that can be read, expected one") from None


def _key(path: Path) -> PrivateKeyTypes:
    data = key_text(path)
    try:
        return serialization.load_pem_private_key(data, None)
    except TypeError:
        raise ConfigError(f"TLS key {path}: found one with a password, expected one without") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(f"TLS key {path}: found no private key in PEM that can be read, expected one") from None
