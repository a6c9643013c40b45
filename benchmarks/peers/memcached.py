"""memcached: two servers through pymemcache's HashClient, and one through emcache on asyncio.

One, since the two libraries would look for a key on different servers, and what is filled by one is read by the other.
memcached keeps bytes: what `messagepack` makes of a document.
"""

from __future__ import annotations

import shutil
from collections.abc import Awaitable
from pathlib import Path
from typing import ClassVar, cast

import emcache
from processes import HOST, PATIENCE, Processes, Unavailable, free_port
from pymemcache.client.hash import HashClient
from shapes import Pair

from peers.interface import Awaiting, Blocking, Side
from peers.messagepack import decode, encode
from pyshard import Document

_MEGABYTES = 2048
_CONNECTIONS = 8  # of emcache; with more or with fewer it was slower


class MemcachedBlocking(Blocking):
    """pymemcache."""

    title = "pymemcache HashClient, two memcached"

    def __init__(self, client: HashClient) -> None:
        self._client = client

    def write(self, key: str, doc: Document) -> None:
        """See `Blocking`."""
        self._client.set(key, encode(doc))

    def read(self, key: str) -> Document | None:
        """See `Blocking`."""
        record = self._client.get(key)
        return None if record is None else decode(record)

    def write_many(self, pairs: list[Pair]) -> None:
        """See `Blocking`."""
        self._client.set_many({key: encode(doc) for key, doc in pairs})

    def read_many(self, keys: list[str]) -> list[Document | None]:
        """See `Blocking`."""
        found = cast("dict[str, bytes]", self._client.get_many(keys))
        return [decode(found[key]) if key in found else None for key in keys]

    def close(self) -> None:
        """See `Blocking`."""
        self._client.close()


class AsyncioMemcached(Awaiting):
    """emcache, which sends reads that wait at the same time together: its option for speed."""

    title = "emcache, autobatching, one memcached"

    def __init__(self, client: emcache.Client) -> None:
        self._client = client

    def write(self, key: str, doc: Document) -> Awaitable[object]:
        """See `Awaiting`."""
        return self._client.set(key.encode(), encode(doc))

    def read(self, key: str) -> Awaitable[object]:
        """See `Awaiting`."""
        return self._client.get(key.encode())

    def value(self, answer: object) -> Document | None:
        """See `Awaiting`."""
        return None if answer is None else decode(cast("emcache.Item", answer).value)

    async def close(self) -> None:
        """See `Awaiting`."""
        await self._client.close()


class MemcachedSide(Side):
    """Two memcached servers, each with one thread like the other servers.

    :cvar servers: how many there are.
    """

    servers: ClassVar[int] = 2

    def __init__(self, folder: Path) -> None:
        server = shutil.which("memcached")
        if server is None:
            raise Unavailable("there is no memcached; Debian's package is memcached")
        self._ports = [free_port() for _ in range(self.servers)]
        self._processes = Processes(folder)
        try:
            self.pids = [
                self._processes.start(
                    f"memcached-{port}",
                    server,
                    "-l",
                    HOST,
                    "-p",
                    str(port),
                    "-m",
                    str(_MEGABYTES),
                    "-t",
                    "1",
                    "-u",
                    "root",
                )
                for port in self._ports
            ]
            self._processes.wait_listening(*self._ports)
        except BaseException:
            self.close()
            raise

    def blocking(self) -> Blocking:
        """See `Side`."""
        # Writes are acknowledged, as on all other sides; by default the client asks for no answer.
        return MemcachedBlocking(HashClient([(HOST, port) for port in self._ports], default_noreply=False))

    def close(self) -> None:
        """See `Side`."""
        self._processes.close()


class OneMemcachedSide(MemcachedSide):
    """One memcached server."""

    servers = 1

    async def awaiting(self) -> Awaiting:
        """See `Side`."""
        client = await emcache.create_client(
            [emcache.MemcachedHostAddress(HOST, port) for port in self._ports],
            timeout=PATIENCE,
            min_connections=_CONNECTIONS,
            max_connections=_CONNECTIONS,
            autobatching=True,
        )
        return AsyncioMemcached(client)
