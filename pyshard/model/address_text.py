"""The texts of addresses: host and port, and Twisted's endpoint strings taken apart. Pure.

Rules:

- An IPv6 address stands in brackets before its port.
- In an endpoint string a backslash takes the special meaning from the character behind it.
"""

from __future__ import annotations

import re

_HOST_AND_PORT = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<host>[^:\[\]]+))(?::(?P<port>\d{1,5}))?", re.ASCII)
_SEPARATOR = re.compile(r"(?<!\\):")
_ESCAPED = re.compile(r"\\(.)")


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
