"""Shards that are dialed elsewhere than where the map says, by the Deferred and by the blocking client."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, TypeAlias

import attrs
import pytest
from clusters import keys_on
from deferreds import change_state
from twisted.internet.defer import maybeDeferred

from pyshard import connect
from pyshard.blocking.connector import Connector
from pyshard.blocking.pyshard import over
from pyshard.errors import NotAuthenticated, Unavailable
from pyshard.model.shard_map import ShardMap
from pyshard.net.connection_parameters import connection_parameters
from pyshard.security.tokens_and_roles import parse
from pyshard.testing import MemoryCluster
from pyshard.testing.memory_sockets import MemorySockets

INSIDE, OUTSIDE = ("127.0.0.1", 5050), ("db.example.com", 15050)
ADDRESSES = {"127.0.0.1:5050": "db.example.com:15050", "192.0.2.9:1": "no.shard.of.this.cluster:1"}
BOTH = "shard 'shard0' at 127.0.0.1:5050 (dialed at db.example.com:15050)"

#: Connects with a mapping, and calls a verb with a key: its result.
Ask: TypeAlias = Callable[[MemoryCluster, Mapping[str, str], str, str], Any]


def deferred(cluster: MemoryCluster, addresses: Mapping[str, str], verb: str, key: str) -> Any:
    """By the Deferred client."""
    connecting = connect(cluster.clock, deadline=2, dial=cluster.network.dial, random=Random(1), addresses=addresses)
    client = cluster.run(connecting)
    try:
        return cluster.run(maybeDeferred(getattr(client, verb), key))
    finally:
        cluster.run(client.close())


def blocking(cluster: MemoryCluster, addresses: Mapping[str, str], verb: str, key: str) -> Any:
    """By the blocking client."""
    parameters = connection_parameters(deadline=2, tls=False, token_file="", addresses=addresses)
    with over(Connector(parameters, lambda: MemorySockets(cluster.network), Random(1))) as client:
        return getattr(client, verb)(key)


@pytest.fixture
def moved(cluster: MemoryCluster) -> Iterator[MemoryCluster]:
    """A cluster whose shard0 is reached at another address than its announced one, at which nobody listens."""
    listeners = cluster.network.listeners
    listeners[OUTSIDE] = listeners.pop(INSIDE)
    yield cluster
    listeners[INSIDE] = listeners.pop(OUTSIDE)


@pytest.mark.parametrize("ask", [deferred, blocking])
def test_clients_get_in_by_the_mapping(ask: Ask, moved: MemoryCluster) -> None:
    """A shard is dialed where the mapping says, others where the map says; the map is the cluster's own."""
    for shard in moved.names:
        (key,) = keys_on(moved, shard, 1)
        assert ask(moved, ADDRESSES, "increment", key) == 1
    (key,) = keys_on(moved, "shard0", 1)
    assert ask(moved, ADDRESSES, "locate", key)["address"] == "127.0.0.1:5050"


@pytest.mark.parametrize("ask", [deferred, blocking])
def test_without_the_mapping(ask: Ask, moved: MemoryCluster) -> None:
    """Without the mapping the error names the address that was dialed: the announced one."""
    (key,) = keys_on(moved, "shard0", 1)
    with pytest.raises(
        Unavailable, match=r"shard 'shard0' at 127\.0\.0\.1:5050 could not .*: connection refused; is it "
    ):
        ask(moved, {}, "has", key)


@pytest.mark.parametrize("ask", [deferred, blocking])
def test_errors_name_both_addresses(ask: Ask, cluster: MemoryCluster) -> None:
    """Where nobody listens at the dialed address, or another shard does, the error has that one and the announced."""
    (key,) = keys_on(cluster, "shard0", 1)
    with pytest.raises(Unavailable) as nobody:
        ask(cluster, ADDRESSES, "has", key)
    assert f"{BOTH} could not answer before the deadline: connection refused; is it running, " in str(nobody.value)
    with pytest.raises(
        Unavailable, match=r"another store answers at 127\.0\.0\.1:5050 \(dialed at 127\.0\.0\.1:5051\) "
    ):
        ask(cluster, {"127.0.0.1:5050": "127.0.0.1:5051"}, "has", key)


@pytest.mark.parametrize("ask", [deferred, blocking])
def test_refusals_name_both_addresses(ask: Ask, cluster: MemoryCluster) -> None:
    """So does the error of a shard that refuses the client."""
    (key,) = keys_on(cluster, "shard0", 1)
    listeners = cluster.network.listeners
    with MemoryCluster(1, tokens=parse("admin the-secret-of-an-admin")) as other:
        listeners[OUTSIDE] = other.network.listeners[INSIDE]
        with pytest.raises(NotAuthenticated) as refused:
            ask(cluster, ADDRESSES, "has", key)
        assert str(refused.value).startswith(f"{BOTH}: ")


def test_a_shard_that_moves(moved: MemoryCluster) -> None:
    """A newer map has another address of a shard; the client looks that one up, too."""
    (key,) = keys_on(moved, "shard0", 1)
    later = {**ADDRESSES, "10.0.0.7:5050": "new.example.com:1"}
    client = moved.run(connect(moved.clock, dial=moved.network.dial, random=Random(1), addresses=later))
    assert moved.run(client.increment(key)) == 1
    listeners = moved.network.listeners
    listeners["new.example.com", 1] = listeners["10.0.0.7", 5050] = listeners[OUTSIDE]
    low, high = moved.state.map.shards
    elsewhere = ShardMap([attrs.evolve(low, host="10.0.0.7"), high])
    assert moved.bootstrap is not None
    change_state(moved.bootstrap.bootstrap, attrs.evolve(moved.state, epoch=moved.state.epoch + 1, map=elsewhere))
    moved.advance(1)
    client._router.adopt(moved.state)
    assert moved.run(client.increment(key)) == 2
    moved.network.cut("new.example.com", 1)
    del listeners["new.example.com", 1]
    with pytest.raises(Unavailable, match=r"at 10\.0\.0\.7:5050 \(dialed at new\.example\.com:1\)"):
        moved.run(client.has(key))
    moved.run(client.close())


def test_a_cluster_in_memory(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment of a test has no say in a cluster in memory."""
    monkeypatch.setenv("PYSHARD_ADDRESSES", "nonsense")
    assert cluster.run(cluster.connect().increment("a")) == 1
    with cluster.blocking() as app:
        assert app.increment("a") == 2


def test_a_pickled_client_keeps_it() -> None:
    """What a blocking client was made with comes along: the mapping too, also one of the environment."""
    for given in ({"addresses": ADDRESSES}, {"environment": {"PYSHARD_ADDRESSES": "127.0.0.1:5050=b:1"}}):
        parameters = connection_parameters(tls=False, **given)  # type: ignore[arg-type]  # one of two arguments
        again = pickle.loads(pickle.dumps(Connector(parameters)))
        assert again.parameters.address_mapping == parameters.address_mapping
        assert again.parameters.address_mapping.pairs
