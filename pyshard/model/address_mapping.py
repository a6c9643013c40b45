"""Where shards are dialed in place of where the map says: a mapping of *announced* to *dialed* addresses. Pure.

The map announces an address for each shard. Behind NAT, or outside of a container's network, it leads nowhere; whoever
dials is then told where to go instead.

Rules:

- An address is ``HOST:PORT``, an IPv6 address in brackets. One of a shard that the map doesn't have does no harm, since
  maps change. Two shards' addresses may lead to one, since a shard may be about to move.
- The mapping is gone through once: what it leads to isn't looked up again.
- Names are the same in lower and upper case, IPv6 addresses in all their spellings.
- What can't be used is refused, never skipped.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from ipaddress import IPv6Address
from typing import TypeAlias

import attrs

from pyshard.errors import ConfigError, shown_value
from pyshard.model.address_text import host_and_port, split_host_and_port

#: A host and its port.
HostAndPort: TypeAlias = tuple[str, int]

#: The environment variable that has a client's mapping: pairs with commas between.
VARIABLE = "PYSHARD_ADDRESSES"

_EXAMPLE = "ANNOUNCED=DIALED, such as 10.0.0.5:5050=db.example.com:15050"
_NO_HOST = re.compile(r"[\s,=/?#@%&]")  # what separates addresses, or can stand in no host


def _same(address: HostAndPort) -> HostAndPort:
    """The one spelling of an address under which it is looked up."""
    host, port = address
    try:
        return str(IPv6Address(host)), port
    except ValueError:
        return host.lower(), port


def _in_order(pairs: Iterable[tuple[HostAndPort, HostAndPort]]) -> tuple[tuple[HostAndPort, HostAndPort], ...]:
    return tuple(sorted(pairs))


@attrs.frozen
class AddressMapping:
    """Announced → dialed addresses.

    :param pairs: each announced address, and the one that is dialed in its place; in any order.
    :raises ConfigError: an address is announced twice, in two spellings or in one.
    """

    pairs: tuple[tuple[HostAndPort, HostAndPort], ...] = attrs.field(default=(), converter=_in_order)
    _dialed: dict[HostAndPort, HostAndPort] = attrs.field(init=False, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        dialed: dict[HostAndPort, HostAndPort] = {}
        for announced, other in self.pairs:
            if _same(announced) in dialed:
                raise ConfigError(
                    f"found {host_and_port(*announced)!r} twice, expected each shard's address once, and what to dial"
                )
            dialed[_same(announced)] = other
        object.__setattr__(self, "_dialed", dialed)

    def dialed(self, host: str, port: int) -> HostAndPort:
        """Where to dial a shard that the map has at this host and port."""
        return self._dialed.get(_same((host, port)), (host, port))

    def detour(self, host: str, port: int) -> str:
        """What messages say behind an address of the map: where it is dialed, if that is elsewhere."""
        dialed = self.dialed(host, port)
        return "" if dialed == (host, port) else f" (dialed at {host_and_port(*dialed)})"

    def shown(self, host: str, port: int) -> str:
        """An address of the map, as messages say it."""
        return f"{host_and_port(host, port)}{self.detour(host, port)}"

    @property
    def texts(self) -> dict[str, str]:
        """The same as `mapping_of` takes it."""
        return {host_and_port(*announced): host_and_port(*dialed) for announced, dialed in self.pairs}

    def __str__(self) -> str:
        return ",".join(f"{announced}={dialed}" for announced, dialed in self.texts.items())


#: Every shard is dialed where the map says.
AS_ANNOUNCED = AddressMapping()


def mapping_of(given: object) -> AddressMapping:
    """The mapping that a program gave.

    :param given: a mapping of texts, such as ``{"10.0.0.5:5050": "db.example.com:15050"}``.
    :raises ConfigError: it can't be used; the message says what was found and what can stand there.
    """
    if not isinstance(given, Mapping):
        raise ConfigError(
            f"addresses: found {shown_value(given)}, expected a dict of shards' addresses and what to dial for each, "
            "such as {'10.0.0.5:5050': 'db.example.com:15050'}"
        )
    try:
        return AddressMapping(tuple((_address(announced), _address(dialed)) for announced, dialed in given.items()))
    except ConfigError as error:
        raise ConfigError(f"addresses: {error}") from None


def mapping_in(texts: Iterable[str], where: str = "") -> AddressMapping:
    """The mapping that options, a URL or an environment variable say.

    :param texts: pairs, each ``ANNOUNCED=DIALED``.
    :param where: they stand, for messages; empty: the caller says it.
    :raises ConfigError: one can't be used.
    """
    try:
        return AddressMapping(tuple(map(_pair, texts)))
    except ConfigError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from None


def mapping_by(environment: Mapping[str, str]) -> AddressMapping:
    """The mapping that the environment has.

    :raises ConfigError: it can't be used.
    """
    text = environment.get(VARIABLE, "").strip()
    return mapping_in(text.split(","), VARIABLE) if text else AS_ANNOUNCED


def _pair(text: str) -> tuple[HostAndPort, HostAndPort]:
    announced, equals, dialed = text.partition("=")
    if not equals:
        raise ConfigError(f"found {shown_value(text)}, expected {_EXAMPLE}")
    return _address(announced.strip()), _address(dialed.strip())


def _address(text: object) -> HostAndPort:
    """A host and port, both of which have to be there."""
    found = split_host_and_port(text) if isinstance(text, str) else None
    if found is not None and found[1] is not None and 1 <= found[1] <= 65535 and _is_host(str(text), found[0]):
        return found[0], found[1]
    raise ConfigError(
        f"found {shown_value(text)}, expected HOST:PORT with a port from 1 to 65535, an IPv6 address in brackets"
    )


def _is_host(text: str, host: str) -> bool:
    """Whether a host can be one; in brackets, only an IPv6 address can."""
    if not text.startswith("["):
        return not _NO_HOST.search(host)
    try:
        IPv6Address(host)
    except ValueError:
        return False
    return True
