"""The client's map: where a newer one comes from, how often it is fetched, and order across a change of ranges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count, pairwise
from random import Random
from typing import Any, cast

import attrs
import pytest
from clusters import connected, keys_on, kinds
from deferreds import watch
from handover import hand_over
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from pyshard import Client, documents
from pyshard.batch import Answer, Run, Write
from pyshard.bootstrap.bootstrap import first_state
from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.cluster import ClusterState
from pyshard.errors import IndexNotFound, OutcomeUnknown, Unavailable
from pyshard.hashing import SLOTS, slot_of
from pyshard.server.factory import ServerFactory
from pyshard.shard.protocol import ShardProtocol
from pyshard.shard.shard import Assignment
from pyshard.shardmap import ShardMap
from pyshard.storage import Task
from pyshard.testing import MemoryCluster

ADDRESS = ("127.0.0.1", 5050)  # of shard0, which has "test"; "test1" is on shard1


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client that is connected to both shards of `cluster`."""
    return connected(cluster)


def with_bounds(state: ClusterState, *bounds: int) -> ClusterState:
    """The next state, with other inner bounds between the same shards."""
    edges = pairwise([0, *bounds, SLOTS])
    ranges = [
        attrs.evolve(own, start=start, end=end) for own, (start, end) in zip(state.map.ranges, edges, strict=True)
    ]
    return attrs.evolve(state, epoch=state.epoch + 1, map=ShardMap(ranges))


def announce(cluster: MemoryCluster, state: ClusterState) -> None:
    """Have the bootstrap tell a state that is in force already."""
    assert cluster.bootstrap is not None
    cluster.bootstrap.bootstrap.change(state)


def asked_for_maps(monkeypatch: pytest.MonkeyPatch, *who: type[BootstrapProtocol] | type[ShardProtocol]) -> list[Any]:
    """A list that grows with each GetMap; only connections made afterwards are seen."""
    asked: list[Any] = []
    for protocol in who:

        def get_map(self: Any, get_map: Callable[[Any], Any] = protocol.get_map) -> Any:
            asked.append(self)
            return get_map(self)

        monkeypatch.setattr(protocol, "get_map", get_map)
    return asked


# ---------------------------------------------------------------------- without a bootstrap


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


# ---------------------------------------------------------------------- how often


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

    monkeypatch.setattr(BootstrapProtocol, "get_map", slow)
    client = cluster.connect()
    for name in cluster.names:
        cluster.kill_shard(name)
    outcomes = [watch(client.read(key)) for key in range(200)]
    cluster.advance(12)
    assert kinds(outcomes) == [[Unavailable]] * 200
    assert most == [1]


# ---------------------------------------------------------------------- ranges move


@pytest.mark.parametrize("bound", [1, 100_000, 2_500_000, 7_500_000, SLOTS - 1])
def test_a_client_with_an_old_map_is_redirected(cluster: MemoryCluster, client: Client, bound: int) -> None:
    """Operations that reach the former owner of their key are sent to the present one, soon and without an error."""
    cluster.run(gatherResults([client.write(key, key) for key in range(300)]))
    state = with_bounds(cluster.state, bound)
    hand_over(cluster, state)
    announce(cluster, state)
    began = cluster.clock.seconds()
    found = cluster.run(gatherResults([client.read(key) for key in range(300)]))
    assert [one and one["record"] for one in found] == list(range(300))
    assert cluster.run(gatherResults([client.write(key, "new") for key in range(300)])) == [52] * 300
    assert cluster.run(gatherResults([client.has(key) for key in range(300)])) == [True] * 300
    assert cluster.clock.seconds() < began + 0.5
    for name, service in cluster.services.items():
        own = state.map.named(name)
        assert own is not None
        expected = sum(own.owns(slot_of(str(key).encode())) for key in range(300))
        assert service.shard.store.documents == expected


def test_the_new_map_comes_from_a_shard_when_the_bootstrap_is_away(cluster: MemoryCluster, client: Client) -> None:
    """A redirect is followed without a bootstrap too: a shard has the newer map."""
    cluster.stop_bootstrap()
    keys = keys_on(cluster, "shard0", 10)
    state = with_bounds(cluster.state, 1)
    hand_over(cluster, state)
    assert cluster.run(gatherResults([client.write(key, 1, deadline=5) for key in keys])) == [28] * 10


def test_a_redirect_without_a_newer_map_ends_at_the_deadline(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as nobody has the map by which a shard redirects, operations wait; nothing happened when they fail."""
    shard = cluster.services["shard0"].shard
    cluster.stop_bootstrap()
    shard.assignment = Assignment("shard0", with_bounds(cluster.state, 1))
    monkeypatch.setattr(ShardProtocol, "get_map", lambda _: Deferred())
    for own in cluster.map.ranges:
        cluster.network.cut(own.host, own.port)
    cluster.advance(0)
    outcome = watch(client.write("test", 1, deadline=3))
    cluster.advance(3)
    assert kinds([outcome]) == [[Unavailable]]
    assert shard.store.documents == 0


@pytest.mark.parametrize("seed", range(60))
def test_the_last_write_wins_across_a_move(seed: int) -> None:
    """Writes 1, 2, 3, … to one key, issued around a move of its range, take effect in order: the last one stays."""
    random = Random(seed)
    with MemoryCluster(seed=seed) as cluster:
        client = cluster.connect()
        applied = applied_to(cluster, b"test")
        work = []
        state = cluster.state
        for number in range(1, 60):
            work.append(watch(client.write("test", number)))
            if random.random() < 0.1:
                state = with_bounds(state, random.choice([1, 1_000_000, 5_000_000]))
                hand_over(cluster, state)
                if random.random() < 0.3:
                    announce(cluster, state)
            if random.random() < 0.5:
                cluster.advance(random.choice([0, 0, 0.01, 0.05]))
        announce(cluster, state)
        cluster.advance(10)
        assert [outcome for outcome in work if outcome != [28]] == []
        assert applied == [(b"test", number) for number in range(1, 60)]
        found = cluster.run(client.read("test"))
        assert found is not None
        assert found["record"] == 59


def applied_to(cluster: MemoryCluster, key: bytes) -> list[tuple[bytes, object]]:
    """A list that gets every document that a shard applies for a key, in the order in which it does."""
    applied: list[tuple[bytes, object]] = []
    for service in cluster.services.values():
        store = service.shard.store

        def apply(
            tasks: Sequence[Task], limit: int, room: int, apply: Callable[..., Any] = store.apply
        ) -> Deferred[list[Answer]]:
            for task in tasks:
                if isinstance(task.run, Write):
                    pairs = zip(task.run.keys, task.run.records, strict=True)
                    applied.extend((one, documents.decode(record)) for one, record in pairs if one == key)
            answers: Deferred[list[Answer]] = apply(tasks, limit, room)
            return answers

        store.apply = apply  # type: ignore[method-assign]
    return applied


def test_nothing_goes_to_the_new_owner_while_the_old_one_is_at_work(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map that moves ranges is taken up when the losing shards owe no answer: writes can't pass each other.

    Meanwhile nothing more is sent to the loser, while other keys of the gainer go on.
    """
    loser, gainer = (cluster.services[name].shard for name in cluster.names)
    answers: list[Callable[[], object]] = []
    apply = loser.apply

    def slow(epoch: int, runs: Sequence[Run]) -> Deferred[list[Answer]]:
        answer: Deferred[list[Answer]] = Deferred()
        answers.append(lambda: apply(epoch, runs).chainDeferred(answer))
        return answer

    monkeypatch.setattr(loser, "apply", slow)
    free = keys_on(cluster, "shard0", 1)[0]
    first = watch(client.write("test", 1))
    cluster.advance(0)
    state = with_bounds(cluster.state, 1)
    announce(cluster, state)
    hand_over(cluster, state)
    cluster.run(client.indexes())  # the client has the new map now
    waiting, going_on = watch(client.write(free, 1)), watch(client.write("test1", 1))
    second, elsewhere = watch(client.write("test", 2)), watch(client.read("test"))
    cluster.advance(1)
    assert (first, second, elsewhere, waiting, going_on) == ([], [], [], [], [28])
    assert (len(answers), gainer.store.documents) == (1, 1)
    answers[0]()  # a redirect by now
    cluster.advance(1)
    assert (first, second, waiting) == ([28], [28], [28])
    assert elsewhere == [{"hash_": 0.1671936, "record": 2}]
    assert len(answers) == 1
    assert (loser.store.documents, gainer.store.documents) == (0, 3)


def test_an_older_map_never_replaces_a_newer_one(cluster: MemoryCluster, client: Client) -> None:
    """A node that is behind can't take a client back, whichever way its map comes."""
    old = cluster.state
    state = with_bounds(old, 1)
    hand_over(cluster, state)
    announce(cluster, state)
    cluster.run(client.indexes())
    routing = client._routing
    assert routing.state == state
    routing.adopt(old)
    routing.adopt(with_bounds(old, 7))  # the same epoch with another content: the first one stays
    assert routing.state == state
    assert cluster.run(client.write("test", 1)) == 28


def test_a_shard_that_leaves_the_map_and_one_that_comes() -> None:
    """A map with fewer or more shards is followed: what waited for a shard that is gone goes to the heir, in order."""
    with MemoryCluster(3) as cluster:
        client = cluster.connect()
        cluster.run(gatherResults([client.write(key, key) for key in range(200)]))
        full = cluster.state
        first, second, _ = full.map.ranges
        fewer = attrs.evolve(full, epoch=full.epoch + 1, map=ShardMap([first, attrs.evolve(second, end=SLOTS)]))
        hand_over(cluster, fewer)
        routing = client._routing
        connections = cast("ServerFactory", cluster.network.listeners["127.0.0.1", 5052]).connections
        before = len(connections)
        routing.adopt(fewer)
        found = cluster.run(gatherResults([client.read(key) for key in range(200)]))
        assert [one and one["record"] for one in found] == list(range(200))
        assert [link.range.name for link in routing.links] == ["shard0", "shard1"]
        assert len(connections) == before - 1
        again = attrs.evolve(full, epoch=full.epoch + 2)
        hand_over(cluster, again)
        routing.adopt(again)
        found = cluster.run(gatherResults([client.read(key) for key in range(200)]))
        assert [one and one["record"] for one in found] == list(range(200))
        assert [link.range.name for link in routing.links] == ["shard0", "shard1", "shard2"]
        announce(cluster, again)


def test_a_shard_that_moves_to_another_address(cluster: MemoryCluster, client: Client) -> None:
    """The same store behind another address is found, and what waited for the old address happens there."""
    cluster.run(client.write("test", "kept"))
    service = cluster.services["shard0"]
    ranges = [attrs.evolve(one, port=one.port + 1000) if one.port == 5050 else one for one in cluster.state.map.ranges]
    state = attrs.evolve(cluster.state, epoch=cluster.state.epoch + 1, map=ShardMap(ranges))
    cluster.stop_bootstrap()
    listener = cluster.network.listeners.pop(ADDRESS)
    cluster.network.cut(*ADDRESS)
    cluster.advance(0)
    waiting = watch(client.write("other test", 1))
    cluster.advance(2)
    cluster.network.listeners["127.0.0.1", 6050] = listener
    cluster.state = state
    cluster.start_bootstrap()
    cluster.advance(3)
    assert waiting == [28]
    assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": "kept"}
    assert service.shard.store.documents == 2 if slot_of(b"other test") < SLOTS // 2 else 1


def test_a_move_of_address_while_answers_are_out(cluster: MemoryCluster, client: Client) -> None:
    """Answers that the old address owed are lost: reads are asked at the new one, changes are unknown."""
    key = keys_on(cluster, "shard0", 1)[0]
    cluster.run(client.write("test", "kept"))
    cluster.network.silence(*ADDRESS)
    read, change = watch(client.read("test")), watch(client.write(key, 1))
    cluster.advance(0)
    ranges = [attrs.evolve(one, port=one.port + 1000) if one.port == 5050 else one for one in cluster.state.map.ranges]
    state = attrs.evolve(cluster.state, epoch=cluster.state.epoch + 1, map=ShardMap(ranges))
    for service in cluster.services.values():
        assert service.shard.assignment is not None
        service.shard.assignment = attrs.evolve(service.shard.assignment, state=state)
    cluster.network.listeners["127.0.0.1", 6050] = cluster.network.listeners[ADDRESS]
    client._routing.adopt(state)
    cluster.advance(2)
    assert read == [{"hash_": 0.1671936, "record": "kept"}]
    assert kinds([change]) == [[OutcomeUnknown]]
    cluster.network.unsilence(*ADDRESS)
    cluster.network.listeners.pop(("127.0.0.1", 6050))
