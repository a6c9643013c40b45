"""memcached: two servers through pymemcache's HashClient, which stores what `messagepack` makes of documents."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import cast

from processes import HOST, Processes, Unavailable, free_port
from pymemcache.client.hash import HashClient
from shapes import Pair

from peers.interface import Blocking, Side
from peers.messagepack import decode, encode
from pyshard import Document

_MEGABYTES = 2048


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


class MemcachedSide(Side):
    """Two memcached servers, each with one thread like the other servers."""

    def __init__(self, folder: Path) -> None:
        server = shutil.which("memcached")
        if server is None:
            raise Unavailable("there is no memcached; Debian's package is memcached")
        self._ports = [free_port(), free_port()]
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
