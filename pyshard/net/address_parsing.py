"""Addresses as people write them, and what they say of TLS. Pure.

`pyshard.net.client_endpoints` makes endpoints of Twisted of them; the blocking client needs none.

Rules:

- An address is ``['host', port]``, ``'host:port'``, ``'[v6]:port'`` or a Twisted client endpoint string.
- All addresses of one client must say the same of TLS, since a cluster has it everywhere or nowhere.
- What can't be used is refused with what was found and what can stand there.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias, cast

import attrs

from pyshard.errors import ConfigError, shown_value
from pyshard.model.address_text import host_and_port, split_host_and_port
from pyshard.net.connection_url import is_url
from pyshard.security import tls
from pyshard.security.tls import Tls

#: What callers may give: ['host', port], 'host:port' or a Twisted client endpoint string.
Server: TypeAlias = str | Sequence[str | int]

#: One of them, or several: in a sequence, or in one str with commas between. It is as wide as mypy takes a variable for
#: that is ``["localhost", 9192]``; what the sequence holds is checked when it is parsed.
Servers: TypeAlias = str | Sequence[object]


@attrs.frozen
class Address:
    """A parsed address: host and port, or a Twisted endpoint `description`.

    :param tls: what the address says of TLS, for all connections to the cluster.
    """

    host: str = ""
    port: int = 0
    description: str = ""
    tls: Tls | None = None

    def __str__(self) -> str:
        if self.description:
            return self.description
        return host_and_port(self.host, self.port)


def parse_all(servers: Servers) -> tuple[Address, ...]:
    """The addresses that a caller gave: one or more, each once.

    :param servers: see `parse`; ``['host', port]`` is one address, ``['host:port', 'host:port']`` are two.
    :raises ConfigError: it says what was found and what can stand there.
    """
    given: Sequence[object] = [servers]
    if isinstance(servers, str):
        given = servers.split(",")
    elif isinstance(servers, Sequence) and servers and not (len(servers) == 2 and isinstance(servers[1], int)):
        given = servers
    return tuple(dict.fromkeys(parse(cast(Server, server)) for server in given))


def parse(server: Server) -> Address:
    """The address that a caller gave.

    :param server: ``['host', port]``, ``'host:port'``, ``'[v6 address]:port'`` or a Twisted client endpoint string.
    :raises ConfigError: it says what was found and what can stand there.
    """
    if isinstance(server, str):
        plain = split_host_and_port(server.strip())
        if plain is not None and plain[1] is not None:
            return _checked(server, plain[0], plain[1])
        if is_url(server):
            raise ConfigError(
                "bootstrap server: found an address as a URL among others, expected it alone; it can have several "
                "hosts: pyshard://HOST:PORT,HOST:PORT"
            )
        if tls.is_tls(server.strip()):
            name, number, files = tls.from_string(server.strip())
            return Address(name, number, tls=files)
        if ":" in server.strip(":"):
            return Address(description=server.strip())
    elif isinstance(server, Sequence) and len(server) == 2:
        host, port = server
        if isinstance(host, str) and isinstance(port, int) and not isinstance(port, bool):
            return _checked(server, host, port)
    raise _refused(server)


def _checked(server: Server, host: str, port: int) -> Address:
    if not host or not 1 <= port <= 65535:
        raise _refused(server)
    return Address(host, port)


def _refused(server: object) -> ConfigError:
    return ConfigError(
        f"bootstrap server: found {shown_value(server, 200)}, expected ['host', port], 'host:port' or a Twisted client "
        "endpoint string such as 'tls:example.com:9192', with a port from 1 to 65535"
    )


def tls_of_all(
    several: Sequence[Address], given: Tls | Literal[False] | None, environment: Mapping[str, str] = os.environ
) -> Tls | None:
    """As `tls_of`, for all addresses of one client, which speaks the same to all of its cluster.

    :raises ConfigError: they don't say the same.
    """
    first, *others = [tls_of(address, given, environment) for address in several]
    if any(other != first for other in others):
        raise ConfigError(
            f"bootstrap server: found {', '.join(map(str, several))}, expected each to say the same of TLS, since a "
            "cluster has it everywhere or nowhere"
        )
    return first


def tls_of(
    address: Address, given: Tls | Literal[False] | None, environment: Mapping[str, str] = os.environ
) -> Tls | None:
    """With which files a client at an address is to speak TLS; None: it is to speak plain TCP.

    :param given: what its user said: nothing (None), or that it isn't to speak TLS (False).
    :param environment: counts when neither address nor user say anything.
    :raises ConfigError: address and user contradict each other, or the address has no name that a certificate could be
        for.
    """
    if address.tls is not None:
        if given is not None:
            raise ConfigError(
                f"bootstrap server: found tls={shown_value(given, 200)} beside an address that says what TLS is to "
                "use, expected one of the two"
            )
        return address.tls
    files = tls.for_client(given, environment)
    if files is not None and not address.host:
        raise ConfigError(
            f"bootstrap server: found {shown_value(address.description)} and TLS, expected ['host', port], "
            "'host:port' or 'tls:HOST:PORT'"
        )
    return files
