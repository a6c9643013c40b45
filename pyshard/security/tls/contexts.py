"""OpenSSL's contexts and connections, and the verification of peers' certificates.

Rules kept here:

- a certificate is verified by a function of our own, which refuses whatever it doesn't understand. (Twisted's accepts a
  certificate that names nobody, if an authority signed it: service_identity raises another exception then than Twisted
  expects.) It also remembers why it refused, which OpenSSL doesn't tell;
- TLS 1.2 at least, forward secrecy, no sessions: every handshake verifies both sides anew;
- files that have changed are read again for the next connection; when they can't be used, those before stay in force.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TypeAlias

from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IOpenSSLServerConnectionCreator
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOProtocol
from zope.interface import implementer

from pyshard.errors import ConfigError, NotTrusted
from pyshard.security.tls import files
from pyshard.security.tls.config import Tls
from pyshard.security.tls.failures import UNTRUSTED, VERDICTS, explained

#: Who a peer must be.
Name: TypeAlias = DNS_ID | IPAddress_ID

_CIPHERS = b"ECDHE+AESGCM:ECDHE+CHACHA20"  # of TLS 1.2; all of 1.3's are good
_LENGTH = 200  # characters of what a peer's certificate says that are shown


class Connection(SSL.Connection):
    """OpenSSL's connection.

    :ivar refusal: why the peer's certificate was refused, if it was.
    """

    refusal: str | None = None


class Contexts:
    """The context of a `Tls`, made anew when its files have changed.

    :param demanding: whether peers must show a certificate of the authorities; all dialed ones must.
    :param now: gives the time, with its zone.
    :raises ConfigError: the files can't be used.
    """

    _log = Logger()

    def __init__(self, tls: Tls, demanding: bool, now: Callable[[], datetime]) -> None:
        self._tls = tls
        self.demanding = demanding
        self._now = now
        self._signature = files.signature(tls)
        self._context = self._make()

    def current(self) -> SSL.Context:
        """The context for a new connection."""
        signature = files.signature(self._tls)
        if signature != self._signature:
            self._signature = signature
            try:
                self._context = self._make()
            except ConfigError as error:
                self._log.error("{error}; what was read before stays in force", error=error)
            else:
                self._log.info("TLS: the certificates were read again")
        return self._context

    def _make(self) -> SSL.Context:
        tls = self._tls
        files.check(tls, self._now())
        context = SSL.Context(SSL.TLS_METHOD)
        context.set_min_proto_version(SSL.TLS1_2_VERSION)
        context.set_options(SSL.OP_NO_COMPRESSION | SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET)
        context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
        context.set_mode(SSL.MODE_RELEASE_BUFFERS)
        context.set_cipher_list(_CIPHERS)
        try:
            if tls.certificate is not None:
                context.use_certificate_chain_file(str(tls.certificate))
                context.use_privatekey_file(str(files.key_path(tls)))
                context.check_privatekey()
            if self.demanding:
                self._trust(context)
        except SSL.Error as error:
            raise ConfigError(f"TLS: {self._tls}: {explained(error)}") from None
        return context

    def _trust(self, context: SSL.Context) -> None:
        paths = files.authorities(self._tls)
        for path in paths:
            context.load_verify_locations(str(path))
        if not paths:
            context.set_default_verify_paths()
        context.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT)


def name_of(host: str) -> Name:
    """Who a peer that is dialed at a host must be.

    :raises NotTrusted: there is no such name or address.
    """
    plain = host.partition("%")[0] if isIPv6Address(host) else host.removesuffix(".")
    try:
        return IPAddress_ID(plain) if isIPAddress(plain) or isIPv6Address(plain) else DNS_ID(plain)
    except ValueError as error:
        raise NotTrusted(f"host {host!r}: no certificate can be for it: {error}") from None


@implementer(IOpenSSLClientConnectionCreator)
class Dialing:
    """Makes the connections of a side that dials.

    :param name: who the peer must be.
    """

    def __init__(self, contexts: Contexts, name: Name) -> None:
        self._contexts = contexts
        self._name = name

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:  # noqa: N803
        """See `IOpenSSLClientConnectionCreator`."""
        connection = Connection(self._contexts.current())
        if isinstance(self._name, DNS_ID):
            connection.set_tlsext_host_name(self._name.hostname)
        return _verifying(connection, self._name)


@implementer(IOpenSSLServerConnectionCreator)
class Listening:
    """Makes the connections of a side that listens."""

    def __init__(self, contexts: Contexts) -> None:
        self._contexts = contexts

    def serverConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:  # noqa: N802, N803
        """See `IOpenSSLServerConnectionCreator`."""
        connection = Connection(self._contexts.current())
        return _verifying(connection, None) if self._contexts.demanding else connection


def _verifying(connection: Connection, name: Name | None) -> Connection:
    def verify(verified: SSL.Connection, certificate: X509, verdict: int, depth: int, good: int) -> bool:
        refusal: str | None = None
        try:
            if not good:
                own = not depth or verdict in UNTRUSTED
                which = "the peer's certificate" if own else "an authority of the peer's certificate"
                refusal = f"{which} is refused: {VERDICTS.get(verdict, f'OpenSSL says {verdict}')}"
            elif name is not None and not depth:
                refusal = _mismatch(certificate, name)
        except Exception as error:  # noqa: BLE001  # a certificate's contents are the peer's; it is refused then
            refusal = f"the peer's certificate can't be read: {type(error).__name__}"
        assert isinstance(verified, Connection)
        if refusal and verified.refusal is None:
            verified.refusal = refusal
        return not refusal

    connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
    return connection


def _mismatch(certificate: X509, name: Name) -> str | None:
    """Why a certificate isn't one of that name, if so."""
    wanted = str(name.ip) if isinstance(name, IPAddress_ID) else name.hostname.decode("ascii", "replace")
    try:
        patterns = extract_patterns(certificate)
        verify_service_identity(patterns, [name], [])
    except CertificateError:
        return f"the peer's certificate names nobody, expected {wanted} in its subjectAltName"
    except VerificationError:
        named = ", ".join(_shown(getattr(one, "pattern", one)) for one in patterns)[:_LENGTH]
        return f"the peer's certificate is for {named}, not for {wanted}"
    return None


def _shown(pattern: object) -> str:
    """A name in a certificate, without anything that could spoil a log."""
    text = pattern.decode("ascii", "replace") if isinstance(pattern, bytes) else str(pattern)
    return text if text.isprintable() else repr(text)
