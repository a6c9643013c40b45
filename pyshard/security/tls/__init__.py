"""TLS: what a side shows and trusts, both sides' endpoints, and why a handshake failed.

Rules kept here: a peer's certificate is always verified, and a dialed one's name too; there is no option against it.
Only `files`, `contexts` and `endpoints` need the extra ``pyshard[tls]``; they are imported when TLS is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeAlias

from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint, IStreamServerEndpoint

from pyshard.errors import ConfigError
from pyshard.security.tls.config import SYSTEM, Tls, chosen, for_client, from_string, is_tls

__all__ = ["SYSTEM", "Tls", "check", "chosen", "dialing", "for_client", "from_string", "is_tls", "listening"]

#: Gives the time, with its zone.
Now: TypeAlias = Callable[[], datetime]

_MISSING = "TLS isn't installed; expected pip install 'pyshard[tls]' before"


def utc_now() -> datetime:
    """The system's time."""
    return datetime.now(UTC)


def dialing(
    dial: Callable[[str, int], IStreamClientEndpoint], tls: Tls, clock: IReactorTime, now: Now = utc_now
) -> Callable[[str, int], IStreamClientEndpoint]:
    """A way to dial with TLS.

    :param dial: the way without.
    :param now: this side's certificate must be valid then.
    :raises ConfigError: the files can't be used, or TLS isn't installed.
    """
    try:
        from pyshard.security.tls.contexts import Contexts
        from pyshard.security.tls.endpoints import ClientEndpoint
    except ImportError:
        raise ConfigError(_MISSING) from None
    contexts = Contexts(tls, True, now)
    return lambda host, port: ClientEndpoint(dial(host, port), host, contexts, clock)


def check(tls: Tls) -> None:
    """Refuse files that can't be used.

    :raises ConfigError: or TLS isn't installed.
    """
    try:
        from pyshard.security.tls.contexts import Contexts
    except ImportError:
        raise ConfigError(_MISSING) from None
    Contexts(tls, True, utc_now)


def listening(
    endpoint: IStreamServerEndpoint, tls: Tls, any_client: bool, clock: IReactorTime, now: Now = utc_now
) -> IStreamServerEndpoint:
    """An endpoint that listens with TLS.

    :param endpoint: where; without TLS.
    :param any_client: whether clients need no certificate.
    :param now: this side's certificate must be valid then.
    :raises ConfigError: the files can't be used, or TLS isn't installed.
    """
    try:
        from pyshard.security.tls.contexts import Contexts
        from pyshard.security.tls.endpoints import ServerEndpoint
    except ImportError:
        raise ConfigError(_MISSING) from None
    return ServerEndpoint(endpoint, Contexts(tls, not any_client, now), clock)
