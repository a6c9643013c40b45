"""Looks at one address for `pyshard doctor`: what its host stands for, and which certificate is shown there.

Rules:

- it connects only where TLS is spoken: whether a daemon is there, the client finds out by itself;
- no certificate that isn't trusted is looked into: it is said why it isn't;
- where nobody listens, or answers in time, nothing is said of the certificate.
"""

from __future__ import annotations

import socket
import ssl

import attrs

from pyshard.cli.doctor.evidence import AddressEvidence


def probe(address: AddressEvidence, port: int, context: ssl.SSLContext | None, seconds: float) -> AddressEvidence:
    """Look at an address.

    :param address: with its name and host.
    :param context: with which TLS is spoken there; None: it isn't.
    :param seconds: that connecting may take. What the system takes to resolve a name can't be bounded.
    """
    try:
        found = socket.getaddrinfo(address.host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        return attrs.evolve(address, error=(error.strerror or str(error)).lower())
    except ValueError:  # with an empty or long part between dots, or a character that no name has
        return attrs.evolve(address, error="it can't be the name of a host")
    address = attrs.evolve(address, resolved=tuple(dict.fromkeys(str(one[4][0]) for one in found)))
    if context is None:
        return address
    from pyshard.security.tls.ssl_context import server_hostname  # with Twisted, for which others don't wait

    try:
        with (
            socket.create_connection((address.host, port), timeout=seconds) as plain,
            context.wrap_socket(plain, server_hostname=server_hostname(address.host)) as secured,
        ):
            shown = secured.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return attrs.evolve(address, certificate_error=f"its certificate isn't trusted: {error.verify_message}")
    except ssl.SSLError as error:
        why = error.reason.replace("_", " ").lower() if error.reason else str(error)
        return attrs.evolve(address, certificate_error=f"its certificate isn't known: {why}")
    except OSError:  # the daemon is down, which the check "reach" says
        return address
    end = shown.get("notAfter")
    return attrs.evolve(address, certificate_end=ssl.cert_time_to_seconds(end) if isinstance(end, str) else None)
