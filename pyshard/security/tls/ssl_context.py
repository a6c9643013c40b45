"""The context of a `Tls` for connections that aren't Twisted's: Python's module ssl, and nothing else.

It is for a side that dials. `pyshard.security.tls.contexts` is the same for Twisted's connections; tests compare them.

Rules:

- TLS 1.2 at least, forward secrecy, no tickets: every handshake verifies the peer anew, its name included;
- a peer's name must stand in its certificate's subjectAltName;
- files that have changed are read again for the next connection; if they can't be used, those before stay in force;
- whether this side's own certificate has expired is left to the peer, which says so: ssl can't tell.
"""

from __future__ import annotations

import ssl
from pathlib import Path

from pyshard.errors import ConfigError
from pyshard.model.address_text import is_ipv6
from pyshard.security.tls import tls_files
from pyshard.security.tls.bounded_ssl_object import BoundedSslContext
from pyshard.security.tls.config import Tls
from pyshard.security.tls.handshake_errors import in_words

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; all of 1.3's are good


class SslContext:
    """The context of a `Tls` for a side that dials, made anew when its files have changed.

    :raises ConfigError: the files can't be used.
    """

    def __init__(self, tls: Tls) -> None:
        self._context = tls_files.reloaded(tls, lambda: dialing_context(tls))

    def current(self) -> ssl.SSLContext:
        """The context for a new connection."""
        return self._context.current()


def dialing_context(tls: Tls) -> ssl.SSLContext:
    """The context for a side that dials.

    :raises ConfigError: a file is missing or holds something else; others than its owner can get at the key; or the
        key isn't the certificate's.
    """
    context = BoundedSslContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_TICKET
    context.hostname_checks_common_name = False
    context.set_ciphers(_CIPHERS)
    paths = tls_files.authorities(tls)
    for path in paths:
        _load_certificates(context, path)
    if not paths:
        context.set_default_verify_paths()
    if tls.certificate is not None:
        _load_own(context, Path(tls.certificate), tls_files.key_path(tls))
    return context


def server_hostname(host: str) -> str:
    """Whom the certificate of a peer that is dialed at a host must be for, as ssl takes it."""
    return host.partition("%")[0] if is_ipv6(host) else host.removesuffix(".")


def _load_certificates(context: ssl.SSLContext, path: Path) -> None:
    tls_files.certificate_text(path)  # ssl would wait for a pipe's writer, and read a device without end
    try:
        context.load_verify_locations(path)
    except ssl.SSLError:
        raise ConfigError(f"TLS file {path}: found no certificate in PEM that can be read, expected one") from None
    except OSError as error:
        raise tls_files.unreadable(path, error) from None


def _load_own(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    _load_certificates(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), certificate)
    tls_files.key_text(key)

    def password() -> str:
        raise ConfigError(f"TLS key {key}: found one with a password, expected one without")

    try:
        context.load_cert_chain(certificate, key, password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise ConfigError(f"TLS key {key}: it isn't the key of the first certificate in {certificate}") from None
        if error.reason in _NO_KEY:
            raise ConfigError(f"TLS key {key}: found no private key in PEM that can be read, expected one") from None
        raise ConfigError(f"TLS key {key} or certificate {certificate}: {in_words(error)}") from None
    except OSError as error:
        raise tls_files.unreadable(key, error) from None


#: What ssl says of a file without a private key; None: it has no word for it.
_NO_KEY = (None, "PEM_LIB", "NO_START_LINE", "UNSUPPORTED", "BAD_BASE64_DECODE", "BAD_END_LINE")
