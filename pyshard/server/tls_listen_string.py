"""Twisted server endpoint strings of TLS, ``ssl:…``: they listen with pyshard's own TLS.

Twisted's has no bounds on what a peer sends beside data. Clients need no certificate there, since such a string can't
say whose they would have to be.
"""

from __future__ import annotations

from typing import NamedTuple

from pyshard.errors import ConfigError
from pyshard.model.address_text import split_endpoint
from pyshard.security.tls import Tls
from pyshard.security.tls.config import SYSTEM

_KEY, _CERTIFICATE = "privateKey", "certKey"
_OF_TCP = ("port", "interface", "backlog")


class TlsListenString(NamedTuple):
    """What such a string says.

    :ivar below: the string of the same port without TLS.
    :ivar files: what the daemon shows; ``ca`` isn't looked at.
    """

    below: str
    files: Tls


def is_tls_listen_string(description: str) -> bool:
    """Whether a Twisted server endpoint string is one of TLS."""
    return split_endpoint(description)[0] == "ssl"


def tls_listen_string(description: str, option: str) -> TlsListenString:
    """What a string ``ssl:…`` says.

    :param option: that has it, for messages.
    :raises ConfigError: it has no port, or says what can't be done.
    """
    given: dict[str, str] = {}
    for name, value in split_endpoint(description)[1]:
        place = name or ("port" if not given else "")
        if place not in (*_OF_TCP, _KEY, _CERTIFICATE):
            raise ConfigError(
                f"{option}: found {(name or value)!r} in {description!r}, expected 'ssl:PORT' with {_KEY}, "
                f"{_CERTIFICATE}, interface and backlog; certificates up to the authority stand in the same file"
            )
        given[place] = value
    if not given.get("port"):
        raise ConfigError(f"{option}: found {description!r}, expected a port behind 'ssl:'")
    key = given.get(_KEY, "server.pem")
    below = ":".join(f"{name}={_quoted(given[name])}" for name in _OF_TCP if name in given)
    return TlsListenString(f"{_kind(given)}:{below}", Tls(SYSTEM, given.get(_CERTIFICATE, key), key))


def _kind(given: dict[str, str]) -> str:
    return "tcp6" if ":" in given.get("interface", "") else "tcp"


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace(":", "\\:")
