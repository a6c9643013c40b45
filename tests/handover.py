"""What later releases will do online, for tests of clients: ranges go to other shards, with their documents."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from pyshard.batch import VERSION, Pop, Write
from pyshard.cluster import ClusterState
from pyshard.hashing import SLOTS, slot_of
from pyshard.shard.shard import Assignment
from pyshard.storage import IStore, Task
from pyshard.testing import MemoryCluster

#: The limit and the room of the batches that hand documents over, by which a watcher knows them.
UNLIMITED = 10**12


def hand_over(cluster: MemoryCluster, state: ClusterState) -> None:
    """Put a new map into force at the shards, at one moment: documents move with their ranges."""
    moving: list[tuple[int, int, bytes, bytes]] = []
    stores: dict[str, IStore] = {name: service.shard.store for name, service in cluster.services.items()}
    for store in stores.values():
        for name, number in {"": 0, **state.indexes}.items():
            page = _now(store.page(number, 0, None, SLOTS, 10**9, 10**9))
            slots = [slot_of(key, name.encode()) for key in page.keys]
            (popped,) = _now(store.apply([Task(Pop(name, page.keys), number, slots)], UNLIMITED, UNLIMITED))
            for slot, key, found in zip(slots, page.keys, popped.results, strict=True):
                moving.append((number, slot, key, found[VERSION.size :]))
    for number, slot, key, record in moving:
        task = Task(Write("", [key], [record]), number, [slot])
        _now(stores[state.map.lookup(slot).name].apply([task], UNLIMITED, UNLIMITED))
    for name, service in cluster.services.items():
        if state.map.named(name) is not None:
            service.shard.assignment = Assignment(name, state)


def _now(deferred: Deferred[Any]) -> Any:
    found: list[Any] = []
    deferred.addCallback(found.append)
    return found[0]
