"""Clients of a cluster in memory for the blocking client, and threads that use one."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, TypeVar

from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import LoopingCall

from pyshard import Client
from pyshard.testing import MemoryCluster

_T = TypeVar("_T")


class Connector:
    """Stands in for `pyshard.connect`: clients of a cluster in memory, whose time the runner's reactor drives."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.asked: list[tuple[object, float]] = []
        self.token_files: list[object] = []
        self.tls: list[object] = []
        self.clients: list[Client] = []

    def __call__(
        self, reactor: Any, server: object, *, deadline: float, token_file: object, tls: object
    ) -> Deferred[Client]:
        """What `Pyshard` calls."""
        self.asked.append((server, deadline))
        self.token_files.append(token_file)
        self.tls.append(tls)
        self.clients.append(self.cluster.connect(deadline=deadline))
        driver = LoopingCall(self.cluster.advance, 0.01)
        driver.clock = reactor
        driver.start(0.001)
        return succeed(self.clients[-1])


def in_threads(functions: list[Callable[[], _T]]) -> list[_T]:
    """The outcomes of functions that run at the same time, each in a thread of its own."""
    found: dict[int, _T] = {}
    threads = [
        threading.Thread(target=lambda number=number, one=one: found.__setitem__(number, one()), daemon=True)
        for number, one in enumerate(functions)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(found) == list(range(len(functions))), "a thread failed or hangs"
    return [found[number] for number in range(len(functions))]
