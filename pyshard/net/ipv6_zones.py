"""The zone of an IPv6 address, such as ``lo`` in ``::1%lo``, as the system's functions take it.

Rule: a zone may be the name of an interface or its number. The C library takes a name only with a link-local address,
and a number with any.
"""

from __future__ import annotations

import socket
from contextlib import suppress

from pyshard.model.address_text import is_ipv6


def with_zone_number(host: str) -> str:
    """A host, with the number of its zone in place of the name.

    :return: the host as it is, when it has no zone, or one that this machine has no interface for.
    """
    address, percent, zone = host.partition("%")
    if percent and not zone.isdigit() and is_ipv6(address):
        with suppress(OSError, ValueError):  # ValueError: a NUL in it
            return f"{address}%{socket.if_nametoindex(zone)}"
    return host


def numeric_host(name: tuple[object, ...]) -> str:
    """The IP address in a socket's name, with the number of its zone if it has one."""
    zone = name[3] if len(name) == 4 else 0
    return f"{name[0]}%{zone}" if zone else str(name[0])
