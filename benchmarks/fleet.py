"""The sides of a run: each is started when it is first needed, and ended with the run."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from awaited_calls import LoopThread
from in_flight_calls import ReactorThread
from peers.interface import Awaiting, Blocking, Deferring, Side
from processes import Unavailable

#: Name → module and class of a side.
_SIDES = {
    "pyshard": ("peers.pyshard", "PyshardSide"),
    "redis": ("peers.redis", "RedisSide"),
    "redis-cluster": ("peers.redis", "RedisClusterSide"),
    "memcached": ("peers.memcached", "MemcachedSide"),
    "memcached-one": ("peers.memcached", "OneMemcachedSide"),
    "original": ("peers.original", "OriginalSide"),
    "echo": ("peers.echo", "EchoSide"),
    "sqlite": ("peers.sqlite", "SqliteSide"),
    "diskcache": ("peers.diskcache", "DiskcacheSide"),
    "etcd": ("peers.etcd", "EtcdSide"),
}

#: The sides that take ``durable``.
_DURABLE = {"pyshard", "redis"}


class Fleet:
    """The sides of a run.

    :param folder: where their processes run and keep data; on a disk, if any is durable.
    :param thread: runs the Deferred clients.
    :param loop: runs the asyncio clients.
    """

    def __init__(self, folder: Path, thread: ReactorThread, loop: LoopThread) -> None:
        folder.mkdir(exist_ok=True)
        self._folder = folder
        self._thread = thread
        self._loop = loop
        self._ends = ExitStack()
        self._known: dict[object, Any] = {}
        self._started = 0

    def side(self, name: str, durable: bool = False) -> Side:
        """A side that is shared by the whole run.

        :raises Unavailable: it can't run here; the message says why.
        """
        found: Side = self._once(("side", name, durable), lambda: self.new(name, durable))
        return found

    def new(self, name: str, durable: bool = False, **options: Any) -> Side:
        """A new side for the caller alone; it ends with the run at the latest.

        :param options: of the side's class.
        """
        module, kind = _SIDES[name]
        try:
            made = getattr(importlib.import_module(module), kind)
        except ImportError as error:
            raise Unavailable(f"the Python package {error.name} isn't installed") from None
        if name in _DURABLE:
            options["durable"] = durable
        self._started += 1
        folder = self._folder / f"{self._started}-{name}"
        folder.mkdir()
        side: Side = made(folder, **options)
        self._ends.callback(side.close)
        return side

    def blocking(self, name: str, durable: bool = False) -> Blocking:
        """A shared side's blocking client."""
        found: Blocking = self._once(("blocking", name, durable), lambda: self._blocking(self.side(name, durable)))
        return found

    def _blocking(self, side: Side) -> Blocking:
        client = side.blocking()
        self._ends.callback(client.close)
        return client

    def deferring(self, name: str, durable: bool = False) -> Deferring:
        """A shared side's Deferred client."""
        found: Deferring = self._once(("deferring", name, durable), lambda: self._deferring(self.side(name, durable)))
        return found

    def _deferring(self, side: Side) -> Deferring:
        client = self.new_deferring(side)
        self._ends.callback(self.end_deferring, client)
        return client

    def new_deferring(self, side: Side) -> Deferring:
        """A new Deferred client for the caller alone, who gives it to `end_deferring` at the end.

        :raises Unavailable: its library isn't installed.
        """
        try:
            return self._thread.call(lambda: side.deferring(self._thread.reactor))
        except ImportError as error:
            raise Unavailable(f"the Python package {error.name} isn't installed") from None

    def end_deferring(self, client: Deferring) -> None:
        """End a Deferred client's connections."""

        async def close() -> None:
            await client.close()

        self._thread.call(close)

    def awaiting(self, name: str, durable: bool = False) -> Awaiting:
        """A shared side's asyncio client."""
        found: Awaiting = self._once(("awaiting", name, durable), lambda: self._awaiting(self.side(name, durable)))
        return found

    def _awaiting(self, side: Side) -> Awaiting:
        client = self._loop.call(side.awaiting)
        self._ends.callback(lambda: self._loop.call(client.close))
        return client

    def close(self) -> None:
        """End all clients and sides."""
        self._ends.close()

    def _once(self, name: object, make: Callable[[], Any]) -> Any:
        """The thing that was made under a name, or the error that says why it can't be made; tried once."""
        if name not in self._known:
            try:
                self._known[name] = make()
            except Unavailable as error:
                self._known[name] = error
        found = self._known[name]
        if isinstance(found, Unavailable):
            raise found
        return found
