"""What a bootstrap tells everybody of its cluster."""

from __future__ import annotations

import attrs
from bootstrap.states import STATE
from twisted.internet.task import Clock

from pyshard.bootstrap.bootstrap import Bootstrap, Condition
from pyshard.bootstrap.bootstrap_stat import unready
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.server.connection import ServerConnection
from pyshard.server.factory import ServerFactory


def test_too_few_replicas() -> None:
    """It is said how many shards take no changes, and neither which nor where they are."""
    low = STATE.map.named("low")
    assert low is not None
    group = new_group([MapReplica(low.host, low.port, StoreId("1d", "a")), MapReplica("10.0.0.3", 5050)], least=2)
    store = MemoryStateStore(STATE.with_group("low", group))
    bootstrap = Bootstrap(store, Clock(), "b1", store.stored)
    factory = ServerFactory(lambda made: ServerConnection(made, Clock()), Clock())
    for shard in bootstrap.state.map.shards:
        bootstrap.set_readiness(shard.name, Condition.READY)
    assert unready(bootstrap, factory) == "1 of 2 shards have too few replicas with all documents to take changes"
    store = MemoryStateStore(STATE.with_group("low", attrs.evolve(group, least=1)))
    bootstrap = Bootstrap(store, Clock(), "b1", store.stored)
    for shard in bootstrap.state.map.shards:
        bootstrap.set_readiness(shard.name, Condition.READY)
    assert unready(bootstrap, factory) == ""
