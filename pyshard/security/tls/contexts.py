"""OpenSSL's context for a `Tls`: what this side shows and trusts, as OpenSSL wants it.

Rules:

- TLS 1.2 at least, forward secrecy, no sessions: every handshake verifies both sides anew;
- files that have changed are read again for the next connection; if they can't be used, those before stay in force.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from OpenSSL import SSL

from pyshard.errors import ConfigError
from pyshard.security.tls import certificate_checks, tls_files
from pyshard.security.tls.bounded_tls_connection import count_message
from pyshard.security.tls.config import Tls
from pyshard.security.tls.handshake_errors import in_words

_DEPTH = 10  # authorities between a peer's certificate and one that is trusted: real chains have up to four
_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; all of 1.3's are good


class TlsContext:
    """The context of a `Tls`, made anew when its files have changed.

    :param demanding: whether peers must show a certificate of the authorities; a dialed peer always must.
    :param now: gives the time, with its zone.
    :raises ConfigError: the files can't be used.
    """

    def __init__(self, tls: Tls, demanding: bool, now: Callable[[], datetime]) -> None:
        self._tls = tls
        self.demanding = demanding
        self._now = now
        self._expiry: datetime | None = None
        self._context = tls_files.reloaded(tls, self._make)

    def current(self) -> SSL.Context:
        """The context for a new connection."""
        return self._context.current()

    def expiry(self) -> float | None:
        """When this side's certificate expires, the one that is in force: seconds since 1970; None: there is none."""
        return None if self._expiry is None else self._expiry.timestamp()

    def reload(self) -> None:
        """Read the files again, whether or not they have changed."""
        self._context.reload()

    def _make(self) -> SSL.Context:
        tls = self._tls
        self._expiry = certificate_checks.check(tls, self._now())
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_info_callback(count_message)
        context.set_verify_depth(_DEPTH)
        context.set_cipher_list(_CIPHERS)
        try:
            if tls.certificate is not None:
                context.use_certificate_chain_file(str(tls.certificate))
                context.use_privatekey_file(str(tls_files.key_path(tls)))
                context.check_privatekey()
            if self.demanding:
                self._trust(context)
        except SSL.Error as error:
            raise ConfigError(f"TLS: {self._tls}: {in_words(error)}") from None
        return context

    def _trust(self, context: SSL.Context) -> None:
        paths = tls_files.authorities(self._tls)
        for path in paths:
            context.load_verify_locations(str(path))
        if not paths:
            context.set_default_verify_paths()
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)
