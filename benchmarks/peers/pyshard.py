"""pyshard: its daemons, started by `twistd` as users start them, and its clients."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

from processes import HOST, PATIENCE, Processes, Unavailable, free_port
from shapes import Pair
from twisted.internet.defer import Deferred

from peers.interface import Awaiting, Blocking, Deferring, Side
from pyshard import Client, Document, Pyshard, Record, aio, connect
from pyshard.aio import AioClient
from pyshard.cli.up.daemon_commands import daemons, find_twistd
from pyshard.cli.up.directories import CONFIG, ClusterData
from pyshard.model.config_file import ClusterConfig
from pyshard.model.config_text import config_text
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap

_LIMIT = 8 * 1024**3


class PyshardBlocking(Blocking):
    """`pyshard.Pyshard`."""

    title = "pyshard"

    def __init__(self, server: str) -> None:
        self._app = Pyshard(server, deadline=60)

    def write(self, key: str, doc: Document) -> None:
        """See `Blocking`."""
        self._app.write(key, doc)

    def read(self, key: str) -> Document | None:
        """See `Blocking`."""
        found = self._app.read(key)
        return None if found is None else found["record"]

    def write_many(self, pairs: list[Pair]) -> None:
        """See `Blocking`."""
        self._app.write_many(pairs)

    def read_many(self, keys: list[str]) -> list[Document | None]:
        """See `Blocking`."""
        return [None if found is None else found["record"] for found in self._app.read_many(keys)]

    def close(self) -> None:
        """See `Blocking`."""
        self._app.close()


class PyshardDeferring(Deferring):
    """`pyshard.Client`."""

    title = "pyshard"

    def __init__(self, client: Client) -> None:
        self._client = client

    def write(self, key: str, doc: Document) -> Deferred[object]:
        """See `Deferring`."""
        return cast("Deferred[object]", self._client.write(key, doc))

    def read(self, key: str) -> Deferred[object]:
        """See `Deferring`."""
        return cast("Deferred[object]", self._client.read(key))

    def value(self, answer: object) -> Document | None:
        """See `Deferring`."""
        return None if answer is None else cast("Record", answer)["record"]

    def close(self) -> Deferred[None]:
        """See `Deferring`."""
        return self._client.close()


class PyshardAwaiting(Awaiting):
    """`pyshard.aio.AioClient`."""

    title = "pyshard"

    def __init__(self, client: AioClient) -> None:
        self._client = client

    def write(self, key: str, doc: Document) -> Awaitable[object]:
        """See `Awaiting`."""
        return self._client.write(key, doc)

    def read(self, key: str) -> Awaitable[object]:
        """See `Awaiting`."""
        return self._client.read(key)

    def value(self, answer: object) -> Document | None:
        """See `Awaiting`."""
        return None if answer is None else cast("Record", answer)["record"]

    async def close(self) -> None:
        """See `Awaiting`."""
        await self._client.close()


class PyshardSide(Side):
    """A bootstrap and some shards, which divide the keyspace evenly.

    :param folder: where they run, and keep their data.
    :param durable: whether changes are on the disk when they are acknowledged.
    """

    def __init__(self, folder: Path, durable: bool = False, shards: int = 2) -> None:
        bounds = [SLOTS * number // shards for number in range(shards + 1)]
        ranges = [
            MapShard(f"shard{number}", ((bounds[number], bounds[number + 1]),), _LIMIT, HOST, free_port())
            for number in range(shards)
        ]
        cluster = ClusterConfig(ShardMap(ranges), HOST, free_port())
        twistd = find_twistd()
        if twistd is None:
            raise Unavailable("there is no twistd; install pyshard first")
        self._processes = Processes(folder)
        self._server = f"{HOST}:{cluster.bootstrap_port}"
        config = folder / CONFIG
        config.write_bytes(config_text(cluster))
        data = ClusterData(folder / "data") if durable else None
        if data is not None:
            data.directory.mkdir()
        started = daemons(cluster, twistd, config, folder, data)
        try:
            self.pids = [self._processes.start_daemon(daemon) for daemon in started][:shards]
            self._processes.wait_listening(*(shard.port for shard in ranges), cluster.bootstrap_port)
            self._wait_ready()
        except BaseException:
            self.close()
            raise

    def _wait_ready(self) -> None:
        end = time.monotonic() + PATIENCE
        with Pyshard(self._server, deadline=PATIENCE) as app:
            while {shard["state"] for shard in app.readiness()} != {"ready"}:
                self._processes.check()
                if time.monotonic() > end:
                    raise Unavailable(f"the shards aren't ready after {PATIENCE:g} s")
                time.sleep(0.02)

    def blocking(self) -> Blocking:
        """See `Side`."""
        return PyshardBlocking(self._server)

    async def deferring(self, reactor: Any) -> Deferring:
        """See `Side`."""
        return PyshardDeferring(await connect(reactor, self._server, deadline=60))

    async def awaiting(self) -> Awaiting:
        """See `Side`."""
        return PyshardAwaiting(await aio.connect(self._server, deadline=60))

    def close(self) -> None:
        """See `Side`."""
        self._processes.close()
