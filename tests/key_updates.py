"""A peer that changes its TLS keys whenever it is told to: no module of Python's does that, OpenSSL's library does."""

from __future__ import annotations

import ctypes
import ctypes.util
from ctypes import c_char_p, c_int, c_void_p

import pytest

from pyshard import Tls

_LIBRARY = ctypes.util.find_library("ssl")
_CRYPTO = ctypes.util.find_library("crypto")

needs_openssl = pytest.mark.skipif(not (_LIBRARY and _CRYPTO), reason="there is no OpenSSL to load")


class KeyUpdater:
    """One side of a connection, in memory.

    :param certificate: what a side that listens shows; None: this side dials, and trusts everybody.
    """

    def __init__(self, certificate: Tls | None) -> None:
        self._tls, self._crypto = ctypes.CDLL(_LIBRARY), ctypes.CDLL(_CRYPTO)
        method = self._pointer(self._tls, "TLS_client_method" if certificate is None else "TLS_server_method")
        context = self._pointer(self._tls, "SSL_CTX_new", method)
        if certificate is not None:
            shown, key = (c_char_p(str(path).encode()) for path in (certificate.certificate, certificate.key))
            assert self._tls.SSL_CTX_use_certificate_chain_file(context, shown) == 1
            assert self._tls.SSL_CTX_use_PrivateKey_file(context, key, c_int(1)) == 1
        self._connection = self._pointer(self._tls, "SSL_new", context)
        memory = self._pointer(self._crypto, "BIO_s_mem")
        self._incoming, self._outgoing = (self._pointer(self._crypto, "BIO_new", memory) for _ in range(2))
        self._tls.SSL_set_bio(self._connection, self._incoming, self._outgoing)
        self._tls[f"SSL_set_{'connect' if certificate is None else 'accept'}_state"](self._connection)

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is complete."""
        return bool(self._tls.SSL_do_handshake(self._connection) == 1)

    def feed(self, data: bytes) -> None:
        """Take what crossed the wire."""
        if data:
            assert self._crypto.BIO_write(self._incoming, c_char_p(data), len(data)) == len(data)

    def take(self) -> bytes:
        """What is to cross the wire."""
        found, buffer = b"", ctypes.create_string_buffer(65_536)
        while (size := self._crypto.BIO_read(self._outgoing, buffer, len(buffer))) > 0:
            found += buffer.raw[:size]
        return found

    def write(self, data: bytes) -> None:
        """Send data."""
        assert self._tls.SSL_write(self._connection, c_char_p(data), len(data)) == len(data)

    def update_keys(self, times: int) -> None:
        """Change the keys again and again; ask for nothing in return."""
        for _ in range(times):
            assert self._tls.SSL_key_update(self._connection, 0) == 1
            assert self.shake_hands()

    def _pointer(self, library: ctypes.CDLL, name: str, *given: c_void_p) -> c_void_p:
        function = library[name]
        function.restype = c_void_p
        return c_void_p(function(*given))
