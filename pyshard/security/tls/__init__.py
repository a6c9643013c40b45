"""TLS: what a side shows and trusts, endpoints for both sides, and why a handshake failed.

Rules:

- the certificate of a dialed peer, and its name, are always verified; there is no option against it;
- a daemon verifies its clients' certificates, unless it is told to take any client;
- TLS is the endpoints' business: AMP's own StartTLS isn't answered;
- `byte_filter`, `certificate_checks`, `contexts`, `verification` and `endpoints` need the extra ``pyshard[tls]``, and
  are imported when TLS is asked for; the other modules work without it. `ssl_context` is for connections that
  aren't Twisted's.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, TypeAlias

from pyshard.clocks import wall_date
from pyshard.errors import ConfigError
from pyshard.security.file_change import Reload
from pyshard.security.tls.config import SYSTEM, Tls, for_client, from_options, from_string, is_tls

if TYPE_CHECKING:
    from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint, IStreamServerEndpoint

    from pyshard.security.tls.byte_filter import TlsFilter

__all__ = [
    "SYSTEM",
    "Tls",
    "certificate_expiry",
    "check",
    "dialing",
    "filtering",
    "for_client",
    "from_options",
    "from_string",
    "is_tls",
    "listening",
]

#: Gives the time, with its zone.
Now: TypeAlias = Callable[[], datetime]


def dialing(
    dial: Callable[[str, int], IStreamClientEndpoint],
    tls: Tls,
    clock: IReactorTime,
    now: Now = wall_date,
    reloads: list[Reload] | None = None,
) -> Callable[[str, int], IStreamClientEndpoint]:
    """A way to dial with TLS.

    :param dial: the way to dial without it.
    :param now: gives the time at which this side's certificate must be valid.
    :param reloads: gets what reads the files again; they are also read when they have changed.
    :raises ConfigError: the files can't be used, or TLS isn't installed.
    """
    _check_installed()
    from pyshard.security.tls.contexts import TlsContext
    from pyshard.security.tls.endpoints import TlsClientEndpoint

    context = TlsContext(tls, True, now)
    if reloads is not None:
        reloads.append(context.reload)
    return lambda host, port: TlsClientEndpoint(dial(host, port), host, context, clock)


def filtering(tls: Tls, now: Now = wall_date) -> Callable[[str], TlsFilter]:
    """A way to have TLS without an endpoint: given the host that is dialed, a filter of the connection's bytes.

    :param now: gives the time at which this side's certificate must be valid.
    :raises ConfigError: the files can't be used, or TLS isn't installed.
    """
    _check_installed()
    from pyshard.security.tls.byte_filter import TlsFilter
    from pyshard.security.tls.contexts import TlsContext

    context = TlsContext(tls, True, now)
    return lambda host: TlsFilter(context, host)


def check(tls: Tls) -> None:
    """Refuse files that can't be used.

    :raises ConfigError: they can't, or TLS isn't installed.
    """
    _check_installed()
    from pyshard.security.tls.contexts import TlsContext

    TlsContext(tls, True, wall_date)


def listening(
    endpoint: IStreamServerEndpoint,
    tls: Tls,
    any_client: bool,
    clock: IReactorTime,
    now: Now = wall_date,
    reloads: list[Reload] | None = None,
) -> IStreamServerEndpoint:
    """An endpoint that listens with TLS.

    :param endpoint: the one that listens without it.
    :param any_client: whether clients without a certificate may connect.
    :param now: gives the time at which this side's certificate must be valid.
    :param reloads: as that of `dialing`.
    :raises ConfigError: the files can't be used, or TLS isn't installed.
    """
    _check_installed()
    from pyshard.security.tls.contexts import TlsContext
    from pyshard.security.tls.endpoints import TlsServerEndpoint

    context = TlsContext(tls, not any_client, now)
    if reloads is not None:
        reloads.append(context.reload)
    return TlsServerEndpoint(endpoint, context, clock)


def certificate_expiry(endpoint: IStreamServerEndpoint) -> Callable[[], float | None]:
    """What tells when the certificate expires that an endpoint of `listening` shows: seconds since 1970.

    It gives None where the endpoint is another one.
    """
    expiry: Callable[[], float | None] = getattr(endpoint, "certificate_expiry", lambda: None)
    return expiry


def _check_installed() -> None:
    """Refuse TLS where what it needs isn't installed.

    :raises ConfigError: it says what to install.
    """
    try:
        import pyshard.security.tls.endpoints  # noqa: F401  # with which comes all that TLS needs
    except ImportError:
        raise ConfigError("TLS isn't installed; expected pip install 'pyshard[tls]' before") from None
