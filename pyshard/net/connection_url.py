"""Addresses as one URL: ``pyshard://HOST[:PORT][,…][/INDEX][?deadline=…&token_file=…&address=…&…]``. Pure.

Rules:

- A URL says all that a program sets, so that one setting is enough.
- Hosts, index and values are percent-encoded where they have to be; ``+`` is a plus.
- What can't be used is refused, never skipped. The message names the part, and never shows the whole URL.
- No secret stands in a URL, since URLs stand in logs and process lists: a token has its file.
"""

from __future__ import annotations

import math
import re
from ipaddress import IPv6Address
from typing import cast
from urllib.parse import quote, unquote

import attrs

from pyshard.client_core.nearest_replica import ReadFrom, check_read_from
from pyshard.errors import ConfigError, InvalidArgument, InvalidIndexName, shortened
from pyshard.model.address_mapping import AddressMapping, mapping_in
from pyshard.model.address_text import host_and_port, split_host_and_port
from pyshard.model.cluster_state import check_index_name
from pyshard.security.tls import Tls, from_options
from pyshard.settings import settings

_BEGIN = "pyshard://"
_EXAMPLE = "pyshard://HOST:PORT,HOST:PORT/INDEX?deadline=SECONDS&token_file=FILE&tls_ca=FILE"

#: What may stand behind the question mark, with a value.
QUERY_NAMES = ("deadline", "token_file", "tls_ca", "tls_certificate", "tls_key", "read_from", "address")

#: The one of them that may stand there several times.
_REPEATED = "address"

#: What people may take for such a name, and put a secret there.
_SECRETS = ("token", "secret", "password")

_NUMBER = re.compile(r"(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_NO_PERCENT = re.compile(r"%(?![0-9a-f]{2})", re.IGNORECASE)


@attrs.frozen
class ConnectionUrl:
    """What a URL says; None: it says nothing of that.

    :param hosts: one or more, each a host and its port.
    :param index: the client's default index.
    :param deadline: seconds that an operation may take.
    :param token_file: the file whose first token is presented.
    :param tls: with which files to speak TLS.
    :param addresses: where shards are dialed in place of where the map says.
    :param read_from: where the client reads.
    """

    hosts: tuple[tuple[str, int], ...]
    index: str | None = None
    deadline: float | None = None
    token_file: str | None = None
    tls: Tls | None = None
    addresses: AddressMapping | None = None
    read_from: ReadFrom | None = None

    def __str__(self) -> str:
        hosts = ",".join(
            host_and_port(quote(host, safe=":" if ":" in host else ""), port)  # an IPv6 address keeps its colons
            for host, port in self.hosts
        )
        index = "" if self.index is None else f"/{self.index}"
        files = (None, None, None) if self.tls is None else (self.tls.ca, self.tls.certificate, self.tls.key)
        values = zip(QUERY_NAMES[:-1], (self.deadline, self.token_file, *files, self.read_from), strict=True)
        items = [f"{name}={quote(str(value))}" for name, value in values if value is not None]
        pairs = {} if self.addresses is None else self.addresses.texts
        items += [f"{_REPEATED}={quote(f'{here}={there}', safe=':=[]')}" for here, there in pairs.items()]
        query = "&".join(items)
        return f"{_BEGIN}{hosts}{index}{query and '?'}{query}"


def is_url(given: object) -> bool:
    """Whether somebody gave a URL."""
    return isinstance(given, str) and given.strip().lower().startswith(_BEGIN)


def parse_url(text: str) -> ConnectionUrl:
    """What a URL says.

    :raises ConfigError: it names the part that can't be used, says what was found there, and what can stand there.
    """
    front, has_fragment, fragment = text.strip()[len(_BEGIN) :].partition("#")
    front, _, query = front.partition("?")
    items = [item.partition("=") for item in query.split("&")] if query else []
    if "@" in front + fragment or any("@" in name for name, _, _ in items):
        raise _refused(
            "user and password", "found an '@'", "none of them: who has a token names its file, ?token_file=FILE"
        )
    if has_fragment:
        raise _refused("fragment", "found a '#'", "none; in the name of a file it is written %23")
    given: dict[str, str] = {}
    pairs: list[str] = []
    for name, equals, value in items:
        _check_name(name, equals, given)
        if name == _REPEATED:
            pairs.append(_decoded(name, value))
        else:
            given[name] = _decoded(name, value)
    authority, _, index = front.partition("/")
    ca, certificate, key = (given.get(name) for name in QUERY_NAMES[2:5])
    return ConnectionUrl(
        hosts=tuple(dict.fromkeys(_host(host) for host in authority.split(","))),
        index=_index(index) if index else None,
        deadline=_seconds(given["deadline"]) if "deadline" in given else None,
        token_file=given.get("token_file"),
        tls=from_options(ca, certificate, key, "address as a URL: tls_ca"),
        addresses=mapping_in(pairs, f"address as a URL: {_REPEATED}") if pairs else None,
        read_from=_read_from(given["read_from"]) if "read_from" in given else None,
    )


def _check_name(name: str, equals: str, given: dict[str, str]) -> None:
    """Refuse a name that means nothing, stands twice, or has no value."""
    if name in _SECRETS:
        raise _refused(name, "found a secret", "none, since URLs stand in logs; token_file=FILE names a token's file")
    if name not in QUERY_NAMES:
        raise _refused("query", f"found {_shown(name)}", ", ".join(QUERY_NAMES))
    if name in given:
        raise _refused(name, "found twice", "once")
    if not equals:
        raise _refused(name, "found no value", f"{name}=…")


def _host(text: str) -> tuple[str, int]:
    """One host with its port."""
    if not text:
        raise _refused("host", "found an empty one", _EXAMPLE)
    found = split_host_and_port(text)
    if found is None:
        raise _refused("host", f"found {_shown(text)}", "HOST, HOST:PORT or [IPv6 address]:PORT, with commas between")
    host = _decoded("host", found[0])
    port = cast(int, settings.BOOTSTRAP_SERVER[1]) if found[1] is None else found[1]
    if not 1 <= port <= 65535:
        raise _refused("port", f"found {port}", "1 to 65535")
    if text.startswith("["):
        try:
            IPv6Address(host)
        except ValueError:
            raise _refused("host", f"found {_shown(text)}", "an IPv6 address in the brackets") from None
    elif re.search(r"[\s,/:?#\[\]@]", host):
        raise _refused("host", f"found {_shown(text)}", "a name or an IP address")
    return host, port


def _index(text: str) -> str:
    try:
        return check_index_name(_decoded("index", text))
    except InvalidIndexName as error:
        raise ConfigError(f"address as a URL: {error}") from None


def _seconds(text: str) -> float:
    """A deadline."""
    if not _NUMBER.fullmatch(text) or not 0 < float(text) < math.inf:
        raise _refused("deadline", f"found {_shown(text)}", "seconds, above 0")
    return float(text)


def _read_from(text: str) -> ReadFrom:
    try:
        return check_read_from(text)
    except InvalidArgument as error:
        raise ConfigError(f"address as a URL: {error}") from None


def _decoded(part: str, text: str) -> str:
    """A part of a URL without percent-encoding."""
    try:
        if not text or _NO_PERCENT.search(text):
            raise ValueError
        found = unquote(text, errors="strict")
    except ValueError:
        raise _refused(
            part, f"found {_shown(text)}", "some text, in which %XX stands for the bytes of characters in UTF-8"
        ) from None
    if "\0" in found:
        raise _refused(part, "found the character %00", "text without it")
    return found


def _shown(text: str) -> str:
    return repr(shortened(text))


def _refused(part: str, found: str, expected: str) -> ConfigError:
    return ConfigError(f"address as a URL: {part}: {found}, expected {expected}")
