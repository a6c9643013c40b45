"""Why there is no TLS connection, in plain words: OpenSSL's own errors need its source to be understood. Pure.

OpenSSL's errors come from pyOpenSSL on Twisted's connections, and from the module ssl on all others.
"""

from __future__ import annotations

import re
import ssl

from twisted.internet.error import ConnectionClosed, ConnectionDone
from twisted.internet.interfaces import INegotiated
from twisted.python.failure import Failure

from pyshard.errors import NotTrusted, PyshardError, Unavailable
from pyshard.security.tls.message_allowance import TOO_LONG, TOO_MANY

#: The exceptions that OpenSSL raises; without ``pyshard[tls]`` those of the module ssl alone.
ERRORS: tuple[type[Exception], ...] = (ssl.SSLError,)
try:
    from OpenSSL.SSL import Error
except ImportError:
    pass
else:
    ERRORS = (ssl.SSLError, Error)

#: Where a message sends its reader.
SEE = 'see the documentation, "TLS"'

# The alerts by which a peer refuses this side, by OpenSSL's name without its prefix (RFC 8446, 6.2).
_ALERTS = {
    "unknown ca": "the peer refuses this side's certificate: it isn't of an authority that the peer trusts",
    "certificate required": "the peer wants a certificate of this side, which shows none",
    "certificate expired": "the peer refuses this side's certificate: it has expired",
    "certificate revoked": "the peer refuses this side's certificate: it was revoked",
    "bad certificate": "the peer refuses this side's certificate",
    "certificate unknown": "the peer refuses this side's certificate",
    "unsupported certificate": "the peer refuses this side's certificate: it isn't meant for this use",
    "access denied": "the peer refuses this side's certificate",
    "handshake failure": "the peer refuses the handshake; it may want a certificate of this side",
    "protocol version": "the peer refuses this side's versions of TLS, 1.2 and 1.3",
}

# What this side finds wrong.
_FOUND = {
    **{said: said for said in (TOO_LONG, TOO_MANY)},
    "peer did not return a certificate": "the peer shows no certificate",
    "certificate verify failed": "the peer's certificate can't be verified",
    "unsupported protocol": "the peer speaks another version of TLS; this side 1.2 and 1.3",
    "no shared cipher": "the peer has no cipher that this side accepts",
    **dict.fromkeys(
        [
            "wrong version number",
            "http request",
            "https proxy request",
            "packet length too long",
            "record too small",
            "unknown protocol",
            "bad record type",
            "record layer failure",
        ],
        "the peer doesn't speak TLS",
    ),
}
_ALERT = re.compile(r".*\balert (.*)")  # before it stands a prefix, which depends on the versions of TLS and OpenSSL

#: The verdicts that say: the chain of certificates ends with one that isn't trusted. OpenSSL may give them for any
#: certificate of the chain.
UNTRUSTED = (2, 18, 19, 20, 21)

#: OpenSSL's verdict on a certificate (X509_V_ERR_…) in words.
VERDICTS = {
    7: "its signature is wrong",
    9: "it isn't valid yet; are the clocks right?",
    10: "it has expired",
    **dict.fromkeys(UNTRUSTED, "it isn't of an authority that this side trusts"),
    22: "its chain of authorities is too long",
    23: "it was revoked",
    24: "it comes from a certificate that is no authority's",
    26: "it isn't meant for this use (extended key usage)",
    79: "it comes from a certificate that is no authority's",
}

#: The verdicts that say: the certificate is for another name, or another IP address.
_OTHER_NAME = (62, 64)


def tls_error(reason: Failure, transport: object, complete: bool) -> PyshardError | None:
    """The error for a connection that was lost because TLS failed.

    :param reason: the failure by which the connection was lost.
    :param transport: the transport of the connection's protocol.
    :param complete: whether the handshake was complete.
    :return: `NotTrusted` if it is no use to try again; `Unavailable` if it may be, since the peer only hung up; None if
        it wasn't TLS that failed.
    """
    if not INegotiated.providedBy(transport):
        return None
    refusal = getattr(transport.getHandle(), "refusal", None)  # type: ignore[attr-defined]  # ISystemHandle's, of TLS
    if refusal:
        return NotTrusted(f"{refusal}; {SEE}")
    if isinstance(reason.value, ERRORS):
        return NotTrusted(f"{in_words(reason.value)}; {SEE}")
    if not complete and reason.check(ConnectionClosed):
        return closed_meanwhile()
    return None


def handshake_error(error: OSError, host: str) -> PyshardError | None:
    """The error for a connection by the module ssl that failed before its handshake was complete.

    :param error: what the attempt to connect raised.
    :param host: whom the peer's certificate must be for.
    :return: as `tls_error`; None also if there was no connection yet.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return NotTrusted(f"{_refusal(error.verify_code, host)}; {SEE}")
    if isinstance(error, ssl.SSLError):
        return NotTrusted(f"{in_words(error)}; {SEE}")
    if isinstance(error, ConnectionResetError | ConnectionAbortedError | BrokenPipeError):
        return closed_meanwhile()
    return None


def nothing_received(transport: object) -> bool:
    """Whether the peer has sent nothing at all over a connection with TLS, not even the beginning of a handshake."""
    if not INegotiated.providedBy(transport):
        return False
    return not getattr(transport.getHandle(), "received", True)  # type: ignore[attr-defined]  # as above


def _refusal(verdict: int, host: str) -> str:
    """Why a peer's certificate is refused; ssl doesn't tell which one of the chain it is."""
    if verdict in _OTHER_NAME:
        return f"the peer's certificate isn't for {host}, expected it in its subjectAltName"
    which = "" if verdict in UNTRUSTED else ", or an authority's that it comes from,"
    return f"the peer's certificate{which} is refused: {VERDICTS.get(verdict, f'OpenSSL says {verdict}')}"


def closed_meanwhile() -> PyshardError:
    """The error for a connection that the peer ended before the handshake was complete."""
    return Unavailable("the connection was closed during the TLS handshake; perhaps the peer doesn't speak TLS")


def closed_unanswered(reason: Failure) -> PyshardError | None:
    """The error for a connection without TLS that the peer closed before it answered anything; None for other reasons.

    A peer that speaks TLS does so, since it doesn't understand the first bytes.
    """
    if reason.check(ConnectionDone):
        return Unavailable("the connection was closed before any answer; perhaps the peer speaks TLS")
    return None


def in_words(error: Exception) -> str:
    """An error of OpenSSL's in plain words."""
    texts = _texts(error)
    for text in reversed(texts):  # the last one is the cause
        alert = _ALERT.fullmatch(text)
        if alert:
            return _ALERTS.get(alert[1], f"the peer ended the handshake: {alert[1]}")
        if text in _FOUND:
            return _FOUND[text]
    return f"TLS failed: {', '.join(filter(None, texts)) or type(error).__name__}"


def _texts(error: Exception) -> list[str]:
    """What OpenSSL says, the cause last."""
    if isinstance(error, ssl.SSLError):
        return [(error.reason or error.strerror or "").lower().replace("_", " ")]
    queue = error.args[0] if error.args else ()
    return [str(entry[-1]) for entry in queue if entry] if isinstance(queue, list | tuple) else [str(queue)]
