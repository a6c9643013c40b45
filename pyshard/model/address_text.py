"""The texts of addresses: host and port, and Twisted's endpoint strings taken apart. Pure.

Rules:

- An IPv6 address stands in brackets before its port.
- In an endpoint string a backslash takes the special meaning from the character behind it.
- Where to listen is ``host:port`` or such a string. ``tcp:5050`` is a string: no host has the name of a kind of them.
"""

from __future__ import annotations

import re
import socket

_HOST_AND_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d{1,5}))?", re.ASCII)
_SEPARATOR = re.compile(r"(?<!\\):")
_ESCAPED = re.compile(r"\\(.)")

#: Kinds of Twisted's server endpoint strings.
_SERVER_KINDS = {"tcp", "tcp6", "ssl", "tls", "unix", "systemd", "haproxy", "stdio"}


def host_and_port(host: str, port: int) -> str:
    """``host:port``, or ``[v6 address]:port``."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def split_host_and_port(text: str) -> tuple[str, int | None] | None:
    """The host and port of ``host``, ``host:port``, ``[v6 address]`` or ``[v6 address]:port``.

    :return: None where it is none of them. The port is None where none stands, and may be one that there isn't.
    """
    found = _HOST_AND_PORT.fullmatch(text)
    if found is None:
        return None
    return found["six"] or found["host"], None if found["port"] is None else int(found["port"])


def split_listening(text: str) -> tuple[str, int] | None:
    """The host and port of where to listen, ``host:port`` or ``[v6 address]:port``.

    :return: None where it is neither: then it is a Twisted server endpoint string, or nothing that can be listened on.
    """
    found = split_host_and_port(text)
    if found is None or found[1] is None or (found[0] in _SERVER_KINDS and not text.startswith("[")):
        return None
    return found[0], found[1]


def split_endpoint(description: str) -> tuple[str, list[tuple[str, str]]]:
    """A Twisted endpoint string taken apart.

    :param description: such as ``tcp:5050:interface=127.0.0.1``.
    :return: its kind, and its other parts as name and value in their order; the name of a part without one is "".
    """
    kind, *parts = _SEPARATOR.split(description)
    found = []
    for part in parts:
        name, named, value = part.partition("=")
        found.append((name if named else "", _ESCAPED.sub(r"\1", value if named else part)))
    return kind, found


def is_ipv4(host: str) -> bool:
    """Whether a host is an IPv4 address, of four numbers with dots between."""
    return host.count(".") == 3 and _is_address(socket.AF_INET, host)


def is_ipv6(host: str) -> bool:
    """Whether a host is an IPv6 address, be it with a zone behind it."""
    return _is_address(socket.AF_INET6, host.partition("%")[0])


def _is_address(family: int, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError) as error:  # ValueError: a NUL in it, or letters beyond Unicode
        if isinstance(error, TimeoutError):
            raise  # a signal's handler did so here: inet_pton never times out
        return False
    return True
