"""A client's addresses → Twisted client endpoints. The reactor is an argument."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, clientFromString
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint

from pyshard.errors import ConfigError, shown_value
from pyshard.model.address_text import is_ipv4, is_ipv6
from pyshard.net.address_parsing import Address
from pyshard.net.happy_eyeballs import HappyEyeballsEndpoint
from pyshard.net.ipv6_zones import with_zone_number
from pyshard.net.reactor_names import ReactorNames
from pyshard.net.twisted_internals import NO_TIMEOUT

#: Makes the endpoint of a host and port; `pyshard.testing` gives one that stays in memory.
Dial: TypeAlias = Callable[[str, int], IStreamClientEndpoint]

_BETWEEN_ATTEMPTS = 0.05  # seconds until the next address of a name is tried as well ("localhost" often has two)


def dial_with(reactor: object, clock: IReactorTime) -> Dial:
    """The ordinary way to dial: TCP on `reactor`, without a time limit. Whoever dials has one.

    All that is dialed in this way shares one part of the threads that look up names (`pyshard.net.name_questions`).

    :param clock: times what is between the attempts at several addresses.
    """
    names = ReactorNames(reactor)

    def dial(host: str, port: int) -> IStreamClientEndpoint:
        if is_ipv4(host):
            return TCP4ClientEndpoint(reactor, host, port, NO_TIMEOUT)
        if is_ipv6(host):
            return TCP6ClientEndpoint(reactor, with_zone_number(host), port, NO_TIMEOUT)
        return HappyEyeballsEndpoint(reactor, clock, host, port, _BETWEEN_ATTEMPTS, names)

    return dial


def endpoint_of(reactor: object, address: Address, dial: Dial) -> IStreamClientEndpoint:
    """The endpoint that leads to `address`.

    :raises ConfigError: when Twisted doesn't understand the description.
    """
    if address.host:
        return dial(address.host, address.port)
    try:
        endpoint: IStreamClientEndpoint = clientFromString(reactor, address.description)
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"bootstrap server: found {shown_value(address.description)}, which is no Twisted client "
            f"endpoint string: {error}"
        ) from None
    except (NameError, ImportError, AttributeError):  # what Twisted raises where pyOpenSSL is missing
        raise ConfigError(
            f"bootstrap server: found {shown_value(address.description)}, which needs TLS: pip install 'pyshard[tls]'"
        ) from None
    return endpoint
