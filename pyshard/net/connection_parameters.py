"""What a client is given to connect with, settled: by its arguments, an address as a URL, and the environment.

Every client takes its arguments through `connection_parameters`, so that they mean the same in each. Pure, but for the
environment, which is an argument.

Rules:

- What both the URL and an argument say is refused, unless they say the same: nobody has to guess which one counts.
- Both count before the environment.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeVar

import attrs

from pyshard.client_core.argument_checks import deadline_seconds
from pyshard.client_core.nearest_replica import ReadFrom, check_read_from
from pyshard.errors import ConfigError
from pyshard.model.address_mapping import AS_ANNOUNCED, AddressMapping, mapping_by, mapping_of
from pyshard.model.cluster_state import check_index_name
from pyshard.net.address_parsing import Address, Servers, parse_all, tls_of_all
from pyshard.net.connection_url import ConnectionUrl, is_url, parse_url
from pyshard.security.tls import Tls
from pyshard.security.token_file import check_token_path
from pyshard.settings import settings

_T = TypeVar("_T")


@attrs.frozen
class ConnectionParameters:
    """What a client connects with.

    :param addresses: where it gets its first map; one or more.
    :param deadline: seconds that an operation may take, unless it is given another.
    :param token_file: as `pyshard.security.token_file.client_token_file` takes it: None is the one that the environment
        names, if it does; empty is none.
    :param tls: with which files it speaks TLS; None: plain TCP.
    :param index: the name of the index that its verbs mean where they are given none; empty: the default index.
    :param address_mapping: where it dials shards in place of where the map says.
    :param read_from: where it reads.
    """

    addresses: tuple[Address, ...]
    deadline: float
    token_file: Path | str | None
    tls: Tls | None
    index: str
    address_mapping: AddressMapping = AS_ANNOUNCED
    read_from: ReadFrom = "primary"


def connection_parameters(
    servers: Servers | None = None,
    *,
    deadline: float | None = None,
    token_file: Path | str | None = None,
    tls: Tls | Literal[False] | None = None,
    index: str | None = None,
    addresses: Mapping[str, str] | None = None,
    read_from: ReadFrom | None = None,
    environment: Mapping[str, str] = os.environ,
) -> ConnectionParameters:
    """What a client connects with, given the arguments of `pyshard.connect`; None is what wasn't given.

    :param servers: an address as a URL, or what `pyshard.net.address_parsing.parse_all` takes; default:
        `settings.BOOTSTRAP_SERVER`.
    :param environment: says which files of TLS, and which addresses of shards, are used where nothing else does.
    :raises ConfigError: the addresses, `token_file` or `tls` can't be used, or they contradict an argument or one
        another.
    :raises InvalidArgument: `deadline` is no positive number, or `read_from` says no replica that can be read at.
    :raises InvalidIndexName: `index` can't be an index's name.
    """
    url = url_in(servers)
    if url is None:
        url = ConnectionUrl(())
        servers_given = parse_all(settings.BOOTSTRAP_SERVER if servers is None else servers)
    else:
        servers_given = tuple(Address(host, port) for host, port in url.hosts)
    check_token_path(token_file)
    if deadline is not None:
        deadline_seconds(deadline)
    index = one_of("index", url.index, None if index is None else check_index_name(index))
    seconds = one_of("deadline", url.deadline, deadline)
    reads: ReadFrom | None = one_of(
        "read_from", url.read_from, None if read_from is None else check_read_from(read_from)
    )
    mapping = one_of("addresses", url.addresses, None if addresses is None else mapping_of(addresses))
    return ConnectionParameters(
        addresses=servers_given,
        deadline=settings.DEADLINE if seconds is None else deadline_seconds(seconds),
        token_file=one_of("token_file", url.token_file, token_file if token_file is None else str(token_file)),
        tls=tls_of_all(servers_given, one_of("tls", url.tls, tls), environment),
        index=index or "",
        address_mapping=mapping_by(environment) if mapping is None else mapping,
        read_from="primary" if reads is None else reads,
    )


def url_in(servers: Servers | None) -> ConnectionUrl | None:
    """What the URL says that somebody gave as an address, alone or as the only one of a list; None: it is no URL.

    :raises ConfigError: as `pyshard.net.connection_url.parse_url`.
    """
    only: object = servers[0] if isinstance(servers, list | tuple) and len(servers) == 1 else servers
    return parse_url(only) if isinstance(only, str) and is_url(only) else None


def one_of(name: str, by_url: _T | None, by_argument: _T | None) -> _T | None:
    """What the URL or an argument says; None: neither does.

    :raises ConfigError: both do, and say different things.
    """
    if by_url is None or by_argument is None:
        return by_argument if by_url is None else by_url
    if by_url != by_argument:
        raise ConfigError(
            f"{name}: found {by_url} in the address as a URL, and {by_argument} as an argument, expected one of the two"
        )
    return by_url
