"""What later releases will do online, for tests of clients: ranges go to other shards, with their documents."""

from __future__ import annotations

import msgspec

from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import to_json
from pyshard.model.key_slots import slot_of
from pyshard.shard.assignment import Assignment
from pyshard.storage import MemoryStore
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
