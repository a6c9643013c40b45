"""The verification of a peer's certificate.

A function of our own verifies, and refuses whatever it doesn't understand. Twisted's accepts a certificate that names
nobody if a trusted authority signed it: service_identity raises another exception for it than Twisted expects. Ours
also remembers why it refused, which OpenSSL doesn't tell.

Rules:

- the chain of certificates must end with a trusted authority;
- the certificate of a dialed peer must be for the host that was dialed;
- a certificate that can't be read is refused.
"""

from __future__ import annotations

from typing import TypeAlias

from OpenSSL import SSL
from OpenSSL.crypto import X509
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns

from pyshard.errors import NotTrusted, shortened
from pyshard.model.address_text import is_ipv4, is_ipv6
from pyshard.security.tls.bounded_tls_connection import TlsConnection
from pyshard.security.tls.handshake_errors import UNTRUSTED, VERDICTS

#: Who a peer must be: the name or IP address that its certificate must be for.
PeerName: TypeAlias = DNS_ID | IPAddress_ID

_MAX_SHOWN = 200  # characters of a peer's certificate that a message shows


def name_of(host: str) -> PeerName:
    """Who a peer that is dialed at a host must be.

    :raises NotTrusted: no certificate can be for such a name or address.
    """
    plain = host.partition("%")[0] if is_ipv6(host) else host.removesuffix(".")
    try:
        return IPAddress_ID(plain) if is_ipv4(plain) or is_ipv6(plain) else DNS_ID(plain)
    except ValueError as error:
        raise NotTrusted(f"host {host!r}: no certificate can be for it: {error}") from None


def verify_peer(connection: TlsConnection, name: PeerName | None) -> TlsConnection:
    """The connection, which now demands a certificate of the peer and verifies it.

    :param name: whom the certificate must be for; None: any that an authority signed will do.
    """

    def verify(verified: SSL.Connection, certificate: X509, verdict: int, depth: int, good: int) -> bool:
        refusal: str | None = None
        try:
            if not good:
                own = not depth or verdict in UNTRUSTED
                which = "the peer's certificate" if own else "an authority of the peer's certificate"
                refusal = f"{which} is refused: {VERDICTS.get(verdict, f'OpenSSL says {verdict}')}"
            elif name is not None and not depth:
                refusal = _mismatch(certificate, name)
        except Exception as error:  # noqa: BLE001  # the certificate's contents are the peer's, so anything may be wrong
            refusal = f"the peer's certificate can't be read: {type(error).__name__}"
        assert isinstance(verified, TlsConnection)
        if refusal and verified.refusal is None:
            verified.refusal = refusal
        return not refusal

    connection.set_verify(SSL.VERIFY_PEER | SSL.VERIFY_FAIL_IF_NO_PEER_CERT, verify)
    return connection


def _mismatch(certificate: X509, name: PeerName) -> str | None:
    """Why a certificate isn't for that name; None if it is."""
    wanted = str(name.ip) if isinstance(name, IPAddress_ID) else name.hostname.decode("ascii", "replace")
    try:
        patterns = extract_patterns(certificate)
        verify_service_identity(patterns, [name], [])
    except CertificateError:
        return f"the peer's certificate names nobody, expected {wanted} in its subjectAltName"
    except VerificationError:
        named = ", ".join(_shown(getattr(pattern, "pattern", pattern)) for pattern in patterns)
        return f"the peer's certificate is for {shortened(named, _MAX_SHOWN)}, not for {wanted}"
    return None


def _shown(pattern: object) -> str:
    """A name in a certificate, without anything that could spoil a log."""
    text = pattern.decode("ascii", "replace") if isinstance(pattern, bytes) else str(pattern)
    return text if text.isprintable() else repr(text)
