"""`connect`, for programs on asyncio: makes a client on the loop that runs, and gets its first map.

Rule: what it is given means what it means to `pyshard.connect`. But of Twisted's client endpoint strings an address can
be ``tls:`` alone, since the others need a reactor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator, Mapping
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from twisted.internet.interfaces import IStreamClientEndpoint

from pyshard.aio.client import AioClient
from pyshard.aio.future_operation import FutureOperation
from pyshard.aio.loop_bound import LoopBound
from pyshard.aio.loop_clock import LoopClock
from pyshard.aio.loop_connections import LoopConnections
from pyshard.aio.verb_futures import future_of
from pyshard.client.connect import client_with, started
from pyshard.client_core.nearest_replica import ReadFrom
from pyshard.client_core.operation_maker import OperationMaker
from pyshard.errors import ConfigError, InvalidArgument
from pyshard.net.address_parsing import Address, Servers
from pyshard.net.connection_parameters import connection_parameters
from pyshard.security.tls import Tls
from pyshard.security.tls.ssl_context import SslContext


def connect(
    bootstrap_server: Servers | None = None,
    *,
    deadline: float | None = None,
    token_file: Path | str | None = None,
    tls: Tls | Literal[False] | None = None,
    index: str | None = None,
    addresses: Mapping[str, str] | None = None,
    read_from: ReadFrom | None = None,
) -> Connecting:
    """Connect to a cluster, on the event loop that runs.

    Either ``async with connect(…) as client: …``, which closes the client at the end, or
    ``client = await connect(…)`` and, later, ``await client.close()``. What this gives can be pickled and copied, and
    then connects anew.

    :param bootstrap_server: ``['host', port]``, ``'host:port'`` or ``'tls:host:port'``; or several of them, or an
        address as a URL; see `pyshard.connect`, also for what isn't said here.
    :param deadline: seconds that an operation may take, unless it is given another.
    :param token_file: the file whose first token the client presents.
    :param tls: with which files to speak TLS.
    :param index: the name of the index that verbs mean where they are given none.
    :param addresses: where to dial shards in place of where the map says.
    :param read_from: ``"nearest"``: reads go to the replica that answers soonest, and may find what is a little old.
    :raises ConfigError: an address, the token file or a file of TLS can't be used, or the URL and an argument
        contradict each other.
    :raises InvalidIndexName: `index` can't be an index's name.
    :raises NotAuthenticated: the cluster wants a token, and was given none or a wrong one.
    :raises NotTrusted: the bootstrap's certificate is refused, or this client's by the bootstrap.
    :raises Unavailable: none of the servers had the map within the deadline; the message says why, of each.
    """
    return Connecting(
        partial(
            _connected,
            bootstrap_server,
            deadline=deadline,
            token_file=token_file,
            tls=tls,
            index=index,
            addresses=addresses,
            read_from=read_from,
        )
    )


class Connecting(Awaitable[AioClient]):
    """What `connect` gives: it connects when it is awaited, or entered by ``async with``.

    It can be pickled and copied. What comes out was given the same, and connects anew.

    :param begin: makes a client, as often as it is called.
    """

    def __init__(self, begin: Callable[[], Awaitable[AioClient]]) -> None:
        self._begin = begin
        self._entered = False
        self._client: AioClient | None = None

    def __reduce__(self) -> tuple[type[Connecting], tuple[Callable[[], Awaitable[AioClient]]]]:
        return Connecting, (self._begin,)

    def __await__(self) -> Generator[Any, Any, AioClient]:
        return self._begin().__await__()

    async def __aenter__(self) -> AioClient:
        if self._entered:
            raise InvalidArgument(
                "async with: found a connect(…) whose client is open already, expected one for each client"
            )
        self._entered = True
        try:
            self._client = await self._begin()
        except BaseException:
            self._entered = False
            raise
        return self._client

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        client, self._client, self._entered = self._client, None, False
        assert client is not None
        await client.close()


async def _connected(
    servers: Servers | None,
    *,
    deadline: float | None,
    token_file: Path | str | None,
    tls: Tls | Literal[False] | None,
    index: str | None,
    addresses: Mapping[str, str] | None,
    read_from: ReadFrom | None,
) -> AioClient:
    given = connection_parameters(
        servers,
        deadline=deadline,
        token_file=token_file,
        tls=tls,
        index=index,
        addresses=addresses,
        read_from=read_from,
    )
    clock = LoopClock(asyncio.get_running_loop())
    connections = LoopConnections(clock, None if given.tls is None else SslContext(given.tls))
    endpoints = [(str(address), _endpoint(address, connections)) for address in given.addresses]
    client, router = client_with(clock, given, endpoints, connections.dial)
    try:
        await future_of(clock.loop, started(client, router, given.deadline))
    except BaseException:
        router.close()
        connections.abort()
        await connections.closed()
        raise
    operations = OperationMaker(FutureOperation, clock.seconds, given.deadline, given.index)
    bound = LoopBound(client, router, connections, operations)
    await bound.start()
    return AioClient(bound)


def _endpoint(address: Address, connections: LoopConnections) -> IStreamClientEndpoint:
    if not address.host:
        raise ConfigError(
            f"bootstrap server: found {address.description!r}, a Twisted client endpoint string, which needs a "
            "reactor; on asyncio expected ['host', port], 'host:port' or 'tls:HOST:PORT'"
        )
    return connections.dial(address.host, address.port)
