"""The shard that goes wrong, and how its answers are lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred

from pyshard import Client
from pyshard.testing import MemoryCluster

ADDRESS = ("127.0.0.1", 5050)  # of shard0, which has "test"; "test1" is on shard1

#: Changes of a key that shard0 has.
CHANGES: dict[str, Callable[[Client], Deferred[Any]]] = {
    "write": lambda client: client.write("test", "new"),
    "write if absent": lambda client: client.write("test", "new", if_absent=True),
    "pop": lambda client: client.pop("test"),
    "remove": lambda client: client.remove("test"),
}


def lose_answers(cluster: MemoryCluster) -> None:
    """Lose what shard0 has answered meanwhile, with its connections; new ones work."""
    cluster.network.cut(*ADDRESS)
    cluster.network.unsilence(*ADDRESS)
