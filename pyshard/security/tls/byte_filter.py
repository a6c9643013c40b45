"""TLS as a filter of bytes: plain bytes on one side, what crosses the wire on the other. No sockets, no event loop.

It verifies by the same functions as the endpoints do, and gives the same reasons.
"""

from __future__ import annotations

from OpenSSL import SSL
from service_identity.hazmat import DNS_ID

from pyshard.errors import NotTrusted, PyshardError
from pyshard.security.tls.bounded_tls_connection import TlsConnection
from pyshard.security.tls.contexts import TlsContext
from pyshard.security.tls.handshake_errors import SEE, closed_meanwhile, in_words
from pyshard.security.tls.verification import name_of, verify_peer

_READ = 128 * 1024  # bytes that are taken out of OpenSSL at a time
_AT_ONCE = 2**30  # bytes that OpenSSL takes at a time


class TlsFilter:
    """One TLS connection, on the side that dials.

    :param context: what this side shows and trusts.
    :param host: whom the peer's certificate must be for.
    :raises NotTrusted: no certificate can be for it.
    """

    def __init__(self, context: TlsContext, host: str) -> None:
        name = name_of(host)
        self._tls = TlsConnection(context.current())
        if isinstance(name, DNS_ID):
            self._tls.set_tlsext_host_name(name.hostname)
        verify_peer(self._tls, name)
        self._tls.set_connect_state()

    def feed(self, data: bytes) -> None:
        """Take what has arrived; empty: the peer has ended the connection."""
        if not data:
            self._tls.bio_shutdown()
        view = memoryview(data)
        while view:
            view = view[self._tls.bio_write(bytes(view[:_READ])) :]  # a piece at a time: not all that is left is copied

    def shake_hands(self) -> bool:
        """Go on with the handshake; whether it is complete.

        :raises NotTrusted: one side refuses the other, or the peer speaks no TLS.
        :raises Unavailable: the peer has ended the connection.
        """
        try:
            self._tls.do_handshake()
        except SSL.WantReadError:
            return False
        except SSL.Error as error:
            raise self.error(error) from None
        return True

    def reset(self) -> PyshardError:
        """The error for a connection that was reset before the handshake was complete."""
        return closed_meanwhile()

    def read(self) -> bytes | None:
        """What has arrived, in plain; None: nothing whole yet; empty: the peer has ended the connection.

        :raises PyshardError: the peer refuses this side, or what arrived isn't what it sent.
        """
        found: list[bytes] = []
        try:
            while True:
                found.append(self._tls.recv(_READ))
        except SSL.WantReadError:
            return b"".join(found) or None
        except (SSL.ZeroReturnError, SSL.SysCallError):
            return b"".join(found)
        except SSL.Error as error:
            raise self.error(error) from None

    def write(self, data: bytes) -> None:
        """Take bytes to be sent, in plain."""
        view = memoryview(data)
        while view:
            view = view[self._tls.send(view[:_AT_ONCE]) :]

    def take(self) -> bytes:
        """What is to cross the wire now."""
        found: list[bytes] = []
        try:
            while True:
                found.append(self._tls.bio_read(_READ))
        except SSL.WantReadError:
            return b"".join(found)

    def error(self, error: SSL.Error) -> PyshardError:
        """The error of pyshard's for one of OpenSSL's."""
        if self._tls.refusal:
            return NotTrusted(f"{self._tls.refusal}; {SEE}")
        if isinstance(error, SSL.SysCallError | SSL.ZeroReturnError):
            return closed_meanwhile()
        return NotTrusted(f"{in_words(error)}; {SEE}")
