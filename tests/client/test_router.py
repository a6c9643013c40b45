"""The client's map: where it comes from when the bootstrap is away, and how often it is fetched."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import attrs
import pytest
from clusters import announce, connected, keys_on, kinds, with_bounds
from deferreds import watch
from handover import hand_over
from other_answers import answer_with
from twisted.internet.defer import gatherResults
from twisted.internet.task import deferLater

from pyshard import Client
from pyshard.bootstrap.bootstrap import first_state
from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.errors import IndexNotFound, Unavailable
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.shard.protocol import ShardProtocol
from pyshard.testing import MemoryCluster

ADDRESS = ("127.0.0.1", 5050)  # of shard0, which has "test"; "test1" is on shard1


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client that is connected to both shards of `cluster`."""
    return connected(cluster)


def asked_for_maps(monkeypatch: pytest.MonkeyPatch, *who: type[BootstrapProtocol] | type[ShardProtocol]) -> list[Any]:
    """A list that grows with each GetMap; only connections made afterwards are seen."""
    asked: list[Any] = []
    for protocol in who:

        def get_map(self: Any, get_map: Callable[[Any], Any] = protocol.get_map) -> Any:
            asked.append(self)
            return get_map(self)

        answer_with(monkeypatch, protocol, b"GetMap", get_map)
    return asked


# -- without a bootstrap --------------------------------------------------------------------------------------------


def test_a_client_with_a_map_needs_no_bootstrap(cluster: MemoryCluster, client: Client) -> None:
    """While the bootstrap is away all that shards do goes on, without delay; only what it alone does fails."""
    cluster.run(client.create_index("pages"))
    cluster.stop_bootstrap()
    cluster.advance(60)
    began = cluster.clock.seconds()
    for index in (None, "pages"):
        assert cluster.run(gatherResults([client.write(key, 1, index) for key in range(100)])) == [28] * 100
        assert cluster.run(client.has(7, index)) is True
        assert cluster.run(client.remove(7, index)) == 28
        assert len(cluster.run(client.keys(index).next_page())) > 0
    assert cluster.run(client.stat())["epoch"] == cluster.state.epoch
    assert cluster.clock.seconds() == began
    outcomes: list[list[Any]] = [
        watch(client.create_index("more", deadline=2)),
        watch(client.readiness(deadline=2)),
        watch(client.indexes(deadline=2)),
    ]
    cluster.advance(2)
    assert kinds(outcomes) == [[Unavailable]] * 3


def test_shards_survive_a_cut_without_a_bootstrap(cluster: MemoryCluster, client: Client) -> None:
    """A client whose connections break while the bootstrap is away comes back by itself."""
    cluster.run(client.write("test", 1))
    cluster.stop_bootstrap()
    cluster.network.cut(*ADDRESS)
    cluster.advance(1)
    assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": 1}


@pytest.mark.parametrize("map_from", ["bootstrap", "shard"])
def test_a_newer_map_comes_from_any_node_that_has_it(cluster: MemoryCluster, client: Client, map_from: str) -> None:
    """A client whose map is old learns of a dropped and of a new index, be it from a shard."""
    cluster.run(client.create_index("old"))
    other = cluster.connect()
    cluster.run(other.has("test", "old"))
    cluster.run(client.drop_index("old"))
    cluster.run(client.create_index("new"))
    if map_from == "shard":
        cluster.stop_bootstrap()
    began = cluster.clock.seconds()
    assert cluster.run(other.write("test", 1, "new")) == 28
    assert cluster.clock.seconds() == began
    with pytest.raises(IndexNotFound):
        cluster.run(other.read("test", "old"))
    assert cluster.clock.seconds() < began + (0.2 if map_from == "bootstrap" else 4)


def test_an_index_that_a_shard_has_not_heard_of_yet(cluster: MemoryCluster, client: Client) -> None:
    """A shard that missed an index's creation doesn't make it missing: a client with an old map waits."""
    shard = cluster.services["shard0"].shard
    behind = shard.assignment
    cluster.run(cluster.connect().create_index("pages"))
    newest, shard.assignment = shard.assignment, behind
    cluster.advance(1)
    key = next(f"{value}" for value in count() if slot_of(f"{value}".encode(), b"pages") < SLOTS // 2)
    write, scan = watch(client.write(key, 1, "pages")), watch(cluster.connect().keys("pages").next_page())
    cluster.advance(5)
    assert (write, scan) == ([], [])
    shard.assignment = newest
    cluster.advance(1.1)
    assert write == [28]
    assert kinds([scan]) == [[list]]


def test_another_clusters_bootstrap_is_not_followed(cluster: MemoryCluster, client: Client) -> None:
    """When the address answers for another cluster, the client keeps its map and works on; it never mixes the two."""
    cluster.stop_bootstrap()
    own, cluster.state = cluster.state, attrs.evolve(first_state("another", cluster.map), epoch=99)
    cluster.start_bootstrap()
    cluster.advance(2)
    assert cluster.run(client.write("test", 1)) == 28
    outcome = watch(client.indexes(deadline=2))
    cluster.advance(2)
    assert kinds([outcome]) == [[Unavailable]]
    assert "it has cluster another now" in str(outcome[0])
    cluster.kill_shard("shard0")
    cluster.advance(1)
    assert cluster.run(client.write("test1", 1)) == 28
    assert cluster.run(client.stat(deadline=1))["cluster"] == own.cluster


# -- how often ------------------------------------------------------------------------------------------------------


def test_a_dead_shard_costs_few_fetches(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand operations that fail for ten seconds fetch the map once per failed dial, not once each."""
    asked = asked_for_maps(monkeypatch, BootstrapProtocol)
    client = cluster.connect()
    cluster.kill_shard("shard0")
    outcomes = []
    for number, key in enumerate(keys_on(cluster, "shard0", 1000)):
        outcomes.append(watch(client.write(key, 1, deadline=1)))
        if number % 100 == 99:
            cluster.advance(1)
    cluster.advance(1)
    assert kinds(outcomes) == [[Unavailable]] * 1000
    assert 5 <= len(asked) <= 25


def test_many_redirects_fetch_the_map_once(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand operations that are redirected at once share one fetch."""
    asked = asked_for_maps(monkeypatch, BootstrapProtocol, ShardProtocol)
    client = cluster.connect()
    state = with_bounds(cluster.state, 1)
    keys = keys_on(cluster, "shard0", 1000)
    hand_over(cluster, state)
    announce(cluster, state)
    asked.clear()
    assert cluster.run(gatherResults([client.write(key, 1) for key in keys])) == [28] * 1000
    assert len(asked) == 1
    assert cluster.services["shard1"].shard.store.documents == 1000


def test_one_fetch_at_a_time(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a fetch is under way nobody begins another, even when the bootstrap is slow to answer."""
    out, most = [0], [0]
    get_map = BootstrapProtocol.get_map

    def slow(self: BootstrapProtocol) -> Any:
        out[0] += 1
        most[0] = max(most[0], out[0])

        def answer() -> Any:
            out[0] -= 1
            return get_map(self)

        return deferLater(cluster.clock, 1.5, answer)

    answer_with(monkeypatch, BootstrapProtocol, b"GetMap", slow)
    client = cluster.connect()
    for name in cluster.names:
        cluster.kill_shard(name)
    outcomes = [watch(client.read(key)) for key in range(200)]
    cluster.advance(12)
    assert kinds(outcomes) == [[Unavailable]] * 200
    assert most == [1]
