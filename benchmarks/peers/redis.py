"""Redis: one server or a cluster of two masters, through redis-py and redis.asyncio with hiredis, and
through txredisapi.

Redis keeps bytes: what `messagepack` makes of a document.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Awaitable
from pathlib import Path
from typing import Any, cast

import redis
import redis.asyncio
from processes import HOST, PATIENCE, Processes, Unavailable, free_port
from redis.cluster import ClusterNode, RedisCluster
from shapes import Pair
from twisted.internet.defer import Deferred

from peers.interface import Awaiting, Blocking, Deferring, Side
from peers.messagepack import decode, encode
from pyshard import Document

_SLOTS = 16_384
_CONNECTIONS = 50  # of redis.asyncio; with more or with fewer it was slower


class RedisBlocking(Blocking):
    """redis-py, with hiredis."""

    title = "redis-py + hiredis, one Redis"

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def write(self, key: str, doc: Document) -> None:
        """See `Blocking`."""
        self._client.set(key, encode(doc))

    def read(self, key: str) -> Document | None:
        """See `Blocking`."""
        record = self._client.get(key)
        return None if record is None else decode(cast("bytes", record))

    def write_many(self, pairs: list[Pair]) -> None:
        """See `Blocking`; MSET."""
        self._client.mset(_records(pairs))

    def read_many(self, keys: list[str]) -> list[Document | None]:
        """See `Blocking`; MGET."""
        return _documents(cast("list[bytes | None]", self._client.mget(keys)))

    def close(self) -> None:
        """See `Blocking`."""
        self._client.close()


class ClusterBlocking(RedisBlocking):
    """redis-py's client for a Redis Cluster, with hiredis."""

    title = "redis-py RedisCluster, two masters"

    def __init__(self, client: RedisCluster) -> None:
        super().__init__(cast("redis.Redis", client))
        self._cluster = client

    def write_many(self, pairs: list[Pair]) -> None:
        """See `Blocking`; an MSET for each of Redis Cluster's slots with keys of the call."""
        self._cluster.mset_nonatomic(_records(pairs))

    def read_many(self, keys: list[str]) -> list[Document | None]:
        """See `Blocking`; an MGET for each of Redis Cluster's slots with keys of the call."""
        return _documents(self._cluster.mget_nonatomic(keys))


class TxRedis(Deferring):
    """txredisapi, with hiredis."""

    title = "txredisapi, one Redis"

    def __init__(self, connection: Any) -> None:
        self._connection = connection

    def write(self, key: str, doc: Document) -> Deferred[object]:
        """See `Deferring`."""
        return cast("Deferred[object]", self._connection.set(key, encode(doc)))

    def read(self, key: str) -> Deferred[object]:
        """See `Deferring`."""
        return cast("Deferred[object]", self._connection.get(key))

    def value(self, answer: object) -> Document | None:
        """See `Deferring`."""
        return None if answer is None else decode(cast("bytes", answer))

    def close(self) -> Deferred[None]:
        """See `Deferring`."""
        return cast("Deferred[None]", self._connection.disconnect())


class AsyncioRedis(Awaiting):
    """redis.asyncio, with hiredis. A connection carries one command at a time, so that 500 wait for their turn."""

    title = "redis.asyncio + hiredis, one Redis"

    def __init__(self, port: int) -> None:
        pool = redis.asyncio.BlockingConnectionPool(
            host=HOST, port=port, max_connections=_CONNECTIONS, timeout=int(PATIENCE)
        )
        self._client = redis.asyncio.Redis.from_pool(pool)

    def write(self, key: str, doc: Document) -> Awaitable[object]:
        """See `Awaiting`."""
        return self._client.set(key, encode(doc))

    def read(self, key: str) -> Awaitable[object]:
        """See `Awaiting`."""
        return self._client.get(key)

    def value(self, answer: object) -> Document | None:
        """See `Awaiting`."""
        return None if answer is None else decode(cast("bytes", answer))

    async def close(self) -> None:
        """See `Awaiting`."""
        await self._client.aclose()


class RedisSide(Side):
    """One Redis server.

    :param durable: whether changes are on the disk when they are acknowledged.
    """

    def __init__(self, folder: Path, durable: bool = False) -> None:
        self._port = free_port()
        kept = ["--appendonly", "yes", "--appendfsync", "always"] if durable else ["--appendonly", "no"]
        self._processes = Processes(folder)
        try:
            self.pids = [self._processes.start("redis", *_command(self._port, folder), *kept)]
            self._processes.wait_listening(self._port)
        except BaseException:
            self.close()
            raise

    def blocking(self) -> Blocking:
        """See `Side`."""
        return RedisBlocking(redis.Redis(HOST, self._port))

    async def deferring(self, reactor: Any) -> Deferring:
        """See `Side`."""
        import txredisapi  # it loads the global reactor

        return TxRedis(await txredisapi.Connection(HOST, self._port, charset=None, reconnect=False))

    async def awaiting(self) -> Awaiting:
        """See `Side`."""
        return AsyncioRedis(self._port)

    def close(self) -> None:
        """See `Side`."""
        self._processes.close()


class RedisClusterSide(Side):
    """A Redis Cluster of two masters.

    `redis-cli --cluster create` insists on three, the server doesn't. So the commands that it would send are sent here.
    """

    def __init__(self, folder: Path) -> None:
        self._ports = [free_port(), free_port()]
        self._processes = Processes(folder)
        try:
            self.pids = [self._start(folder, port) for port in self._ports]
            self._processes.wait_listening(*self._ports)
            self._join()
        except BaseException:
            self.close()
            raise

    def _start(self, folder: Path, port: int) -> int:
        bus = free_port()
        own = folder / f"master-{port}"
        own.mkdir(parents=True)
        cluster = ["--appendonly", "no", "--cluster-enabled", "yes", "--cluster-port", str(bus)]
        return self._processes.start(f"master-{port}", *_command(port, own), *cluster)

    def _join(self) -> None:
        nodes = [redis.Redis(HOST, port) for port in self._ports]
        halves = [(0, _SLOTS // 2 - 1), (_SLOTS // 2, _SLOTS - 1)]
        for number, (node, half) in enumerate(zip(nodes, halves, strict=True), 1):
            node.execute_command("CLUSTER SET-CONFIG-EPOCH", number)
            node.execute_command("CLUSTER ADDSLOTSRANGE", *half)
        nodes[0].execute_command("CLUSTER MEET", HOST, self._ports[1], int(self._bus(nodes[1])))
        end = time.monotonic() + PATIENCE
        while not all(_knows_all(node) for node in nodes):
            self._processes.check()
            if time.monotonic() > end:
                raise Unavailable(f"the Redis Cluster isn't complete after {PATIENCE:g} s")
            time.sleep(0.02)
        for node in nodes:
            node.close()

    def _bus(self, node: redis.Redis) -> str:
        found = cast("dict[str, str]", node.config_get("cluster-port"))
        return found["cluster-port"]

    def blocking(self) -> Blocking:
        """See `Side`."""
        return ClusterBlocking(RedisCluster(startup_nodes=[ClusterNode(HOST, port) for port in self._ports]))

    def close(self) -> None:
        """See `Side`."""
        self._processes.close()


def _command(port: int, folder: Path) -> list[str]:
    server = shutil.which("redis-server")
    if server is None:
        raise Unavailable("there is no redis-server; Debian's package is redis-server")
    return [server, "--port", str(port), "--bind", HOST, "--dir", str(folder), "--save", "", "--daemonize", "no"]


def _knows_all(node: redis.Redis) -> bool:
    info = node.execute_command("CLUSTER INFO")
    text = info.decode() if isinstance(info, bytes) else str(info)
    return "ok" in text.partition("cluster_state")[2][:8] and "2" in text.partition("cluster_known_nodes")[2][:6]


def _records(pairs: list[Pair]) -> dict[Any, Any]:
    return {key: encode(doc) for key, doc in pairs}


def _documents(records: list[bytes | None]) -> list[Document | None]:
    return [None if record is None else decode(record) for record in records]
