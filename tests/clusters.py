"""Clusters in memory, also such whose shards have each kind of store, for tests of what clients are promised."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count, islice, pairwise
from typing import Any

import attrs
import pytest
from deferreds import change_state
from stores import START, folder
from twisted.internet.defer import Deferred, gatherResults

from pyshard import Client
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import ShardMap
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run
from pyshard.security.tokens_and_roles import Tokens
from pyshard.storage import ITSELF, DataDirectory, Durability, IStore, LmdbStore, Sender
from pyshard.testing import MemoryCluster

KINDS = ["memory", "lmdb"]

#: Each verb, on a key of an index.
VERBS: list[Callable[[Client, Any, str | None], Deferred[Any]]] = [
    lambda client, key, index: client.write(key, 1, index),
    lambda client, key, index: client.write(key, 1, index, if_absent=True),
    lambda client, key, index: client.read(key, index),
    lambda client, key, index: client.item(key, index),
    lambda client, key, index: client.pop(key, index),
    lambda client, key, index: client.remove(key, index),
    lambda client, key, index: client.has(key, index),
    lambda client, key, index: client.touch(key, 1, index),
    lambda client, key, index: client.increment(key, index=index),
]

#: What is no deadline.
NO_DEADLINES: list[Any] = ["5", b"5", True, 0, -1, -0.5, float("nan"), float("inf"), 1e300, 10**5000, [], object]


@contextmanager
def cluster_of(
    kind: str, shards: int = 2, size: int = 1 << 30, tokens: Tokens | None = None
) -> Iterator[MemoryCluster]:
    """A cluster, at the time `START`."""
    with folder() as path:

        def durable(name: str, seconds: Callable[[], float]) -> IStore:
            return LmdbStore(DataDirectory(path / name), seconds, None, Durability.NONE)

        with MemoryCluster(shards, size=size, store=None if kind == "memory" else durable, tokens=tokens) as cluster:
            for call in cluster.clock.getDelayedCalls():  # as if all that time had passed already
                call.delay(START)
            cluster.clock.rightNow += START
            cluster.advance(1)
            yield cluster


def connected(cluster: MemoryCluster) -> Client:
    """A client that is connected to both shards."""
    client = cluster.connect()
    cluster.run(gatherResults([client.has("test"), client.has("test1")]))
    return client


def with_pages(cluster: MemoryCluster) -> Client:
    """A client of a cluster that has the index "pages"."""
    client = cluster.connect()
    cluster.run(client.create_index("pages"))
    return client


def restart(cluster: MemoryCluster, seconds: float = 0.0) -> None:
    """Kill every shard, and start it again a while later."""
    for name in cluster.names:
        cluster.kill_shard(name)
    cluster.advance(seconds)
    for name in cluster.names:
        cluster.start_shard(name)
    cluster.advance(2)


def all_keys(cluster: MemoryCluster, client: Client, index: str | None = None) -> list[str]:
    """All keys of an index, sorted."""

    async def scan() -> list[str]:
        return sorted([key async for key in client.keys(index)])

    return cluster.run(scan())


def outcome(cluster: MemoryCluster, work: Deferred[Any]) -> Any:
    """What a Deferred comes to, or what it fails with."""
    return cluster.run(work.addErrback(lambda failure: failure.value))


def all_of(cluster: MemoryCluster, work: Sequence[Deferred[Any]]) -> list[Any]:
    """What Deferreds come to, in order."""
    found: list[Any] = cluster.run(gatherResults(work))
    return found


def operations(cluster: MemoryCluster) -> int:
    """How many operations the shards have served."""
    return sum(service.shard.operations for service in cluster.services.values())


def used(cluster: MemoryCluster) -> tuple[int, int]:
    """Documents and bytes of all shards."""
    stores = [service.shard.store for service in cluster.services.values()]
    return sum(store.documents for store in stores), sum(store.used for store in stores)


def keys_on(cluster: MemoryCluster, shard: str, number: int) -> list[str]:
    """So many keys of the default index that live on a shard, by the present state."""
    texts, ranges = (f"key{value}" for value in count()), cluster.state.map
    return list(islice((text for text in texts if ranges.lookup(slot_of(text.encode())).name == shard), number))


def kinds(outcomes: Sequence[Sequence[object]]) -> list[list[type]]:
    """The type of each outcome."""
    return [[type(one) for one in outcome] for outcome in outcomes]


def boxes_of(monkeypatch: pytest.MonkeyPatch, cluster: MemoryCluster) -> list[tuple[str, int]]:
    """A list that gets (shard, number of operations) for each box that reaches a shard."""
    boxes: list[tuple[str, int]] = []
    for name, service in cluster.services.items():

        def apply(
            epoch: int,
            runs: Sequence[Run],
            sender: Sender = ITSELF,
            name: str = name,
            apply: Callable[..., Any] = service.shard.apply,
        ) -> Deferred[list[Answer]]:
            boxes.append((name, sum(len(run.keys) for run in runs)))
            answers: Deferred[list[Answer]] = apply(epoch, runs, sender)
            return answers

        monkeypatch.setattr(service.shard, "apply", apply)
    return boxes


def with_bounds(state: ClusterState, *bounds: int) -> ClusterState:
    """The next state, with other inner bounds between the same shards."""
    edges = pairwise([0, *bounds, SLOTS])
    return with_ranges(state, *([bounds] for bounds in edges))


def with_ranges(state: ClusterState, *ranges: Sequence[tuple[int, int]]) -> ClusterState:
    """The next state, in which the same shards have these ranges; a shard's place is that in the present map."""
    shards = [attrs.evolve(own, ranges=owned) for own, owned in zip(state.map.shards, ranges, strict=True)]
    return attrs.evolve(state, epoch=state.epoch + 1, map=ShardMap(shards))


def announce(cluster: MemoryCluster, state: ClusterState) -> None:
    """Have the bootstrap tell a state that is in force already."""
    assert cluster.bootstrap is not None
    change_state(cluster.bootstrap.bootstrap, state)
