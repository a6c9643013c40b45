"""What later releases will do online, for tests of clients: ranges go to other shards, with their documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec
from twisted.internet.defer import Deferred

from pyshard.model import document_encoding
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import to_json
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Write
from pyshard.shard.assignment import Assignment
from pyshard.storage import ITSELF, MemoryStore, Sender, Task
from pyshard.storage.store_index import StoredRecord, cost
from pyshard.testing import MemoryCluster


def hand_over(cluster: MemoryCluster, state: ClusterState) -> None:
    """Put a new map into force at the shards, which are in memory, at one moment.

    Documents move with their ranges, and keep their versions and expiries. Later versions are higher than all that any
    of the shards gave before, also those of documents that are gone.
    """
    moving: list[tuple[str, int, bytes, int, StoredRecord]] = []
    stores: dict[str, MemoryStore] = {}
    for shard, service in cluster.services.items():
        store = service.shard.store
        assert isinstance(store, MemoryStore)
        stores[shard] = store
        for name, number in {"": 0, **state.indexes}.items():
            index = store._indexes[number]
            for key in list(index.records):
                slot = slot_of(key, name.encode())
                stored = index.find(key, slot)
                assert stored is not None
                if state.map.lookup(slot).name != shard:
                    index.delete(key, slot, stored, cost(key, stored))
                    moving.append((state.map.lookup(slot).name, number, key, slot, stored))
    for shard, number, key, slot, stored in moving:
        stores[shard]._indexes[number].put(key, slot, stored, None, cost(key, stored))
    newest = max([store._version for store in stores.values()])
    for shard, service in cluster.services.items():
        stores[shard]._version = newest
        if state.map.named(shard) is not None:
            service.shard.assignment = assignment = Assignment(shard, state)
            stores[shard].own(assignment.ranges)
            service.shard.store.remember(msgspec.msgpack.encode((shard, to_json(state))))


def applied_to(cluster: MemoryCluster, key: bytes) -> list[tuple[bytes, object]]:
    """A list that gets every document that a shard applies for a key, in the order in which it does."""
    applied: list[tuple[bytes, object]] = []
    for service in cluster.services.values():
        store = service.shard.store

        def apply(
            tasks: Sequence[Task],
            limit: int,
            room: int,
            sender: Sender = ITSELF,
            apply: Callable[..., Any] = store.apply,
        ) -> Deferred[list[Answer]]:
            for task in tasks:
                if isinstance(task.run, Write):
                    pairs = zip(task.run.keys, task.run.records, strict=True)
                    applied.extend((one, document_encoding.decode(record)) for one, record in pairs if one == key)
            answers: Deferred[list[Answer]] = apply(tasks, limit, room, sender)
            return answers

        store.apply = apply  # type: ignore[method-assign]
    return applied
