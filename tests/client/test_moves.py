"""Shards whose ranges or addresses move: clients follow, and operations on one key stay in order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import cast

import attrs
import pytest
from clusters import announce, connected, keys_on, kinds, with_bounds
from deferreds import watch
from handover import applied_to, hand_over
from other_answers import answer_with
from twisted.internet.defer import Deferred, gatherResults

from pyshard import Client
from pyshard.errors import OutcomeUnknown, Unavailable
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run
from pyshard.server.factory import ServerFactory
from pyshard.shard.assignment import Assignment
from pyshard.shard.protocol import ShardProtocol
from pyshard.storage import Sender
from pyshard.testing import MemoryCluster

ADDRESS = ("127.0.0.1", 5050)  # of shard0, which has "test"; "test1" is on shard1


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client that is connected to both shards of `cluster`."""
    return connected(cluster)


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
        expected = sum(in_ranges(slot_of(str(key).encode()), own.ranges) for key in range(300))
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
    answer_with(monkeypatch, ShardProtocol, b"GetMap", lambda _: Deferred())
    for own in cluster.map.shards:
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


def test_nothing_goes_to_the_new_owner_while_the_old_one_is_at_work(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map that moves ranges is taken up when the losing shards owe no answer: writes can't pass each other.

    Meanwhile nothing more is sent to the loser, while other keys of the gainer go on.
    """
    loser, gainer = (cluster.services[name].shard for name in cluster.names)
    answers: list[Callable[[], object]] = []
    apply = loser.apply

    def slow(epoch: int, runs: Sequence[Run], sender: Sender) -> Deferred[list[Answer]]:
        answer: Deferred[list[Answer]] = Deferred()
        answers.append(lambda: apply(epoch, runs, sender).chainDeferred(answer))
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
    router = client._router
    assert router.state == state
    router.adopt(old)
    router.adopt(with_bounds(old, 7))  # the same epoch with another content: the first one stays
    assert router.state == state
    assert cluster.run(client.write("test", 1)) == 28


def test_a_shard_that_leaves_the_map_and_one_that_comes() -> None:
    """A map with fewer or more shards is followed: what waited for a shard that is gone goes to the heir, in order."""
    with MemoryCluster(3) as cluster:
        client = cluster.connect()
        cluster.run(gatherResults([client.write(key, key) for key in range(200)]))
        full = cluster.state
        first, second, _ = full.map.shards
        fewer = attrs.evolve(
            full,
            epoch=full.epoch + 1,
            map=ShardMap([first, attrs.evolve(second, ranges=((SLOTS // 3, SLOTS),))]),
        )
        hand_over(cluster, fewer)
        router = client._router
        connections = cast("ServerFactory", cluster.network.listeners["127.0.0.1", 5052]).connections
        before = len(connections)
        router.adopt(fewer)
        found = cluster.run(gatherResults([client.read(key) for key in range(200)]))
        assert [one and one["record"] for one in found] == list(range(200))
        assert [link.own.name for link in router.links] == ["shard0", "shard1"]
        assert len(connections) == before - 1
        again = attrs.evolve(full, epoch=full.epoch + 2)
        hand_over(cluster, again)
        router.adopt(again)
        found = cluster.run(gatherResults([client.read(key) for key in range(200)]))
        assert [one and one["record"] for one in found] == list(range(200))
        assert [link.own.name for link in router.links] == ["shard0", "shard1", "shard2"]
        announce(cluster, again)


def test_a_shard_that_moves_to_another_address(cluster: MemoryCluster, client: Client) -> None:
    """The same store behind another address is found, and what waited for the old address happens there."""
    cluster.run(client.write("test", "kept"))
    service = cluster.services["shard0"]
    ranges = [attrs.evolve(one, port=one.port + 1000) if one.port == 5050 else one for one in cluster.state.map.shards]
    state = attrs.evolve(cluster.state, epoch=cluster.state.epoch + 1, map=ShardMap(ranges))
    cluster.stop_bootstrap()
    listener = cluster.network.listeners.pop(ADDRESS)
    cluster.network.cut(*ADDRESS)
    cluster.advance(0)
    waiting = watch(client.write(keys_on(cluster, "shard0", 1)[0], 1))
    cluster.advance(2)
    assert waiting == []
    cluster.network.listeners["127.0.0.1", 6050] = listener
    cluster.state = state
    cluster.start_bootstrap()
    cluster.advance(3)
    assert waiting == [28]
    assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": "kept"}
    assert service.shard.store.documents == 2


def test_a_move_of_address_while_answers_are_out(cluster: MemoryCluster, client: Client) -> None:
    """Answers that the old address owed are lost: reads are asked at the new one, changes are unknown."""
    key = keys_on(cluster, "shard0", 1)[0]
    cluster.run(client.write("test", "kept"))
    cluster.network.silence(*ADDRESS)
    read, change = watch(client.read("test")), watch(client.write(key, 1))
    cluster.advance(0)
    ranges = [attrs.evolve(one, port=one.port + 1000) if one.port == 5050 else one for one in cluster.state.map.shards]
    state = attrs.evolve(cluster.state, epoch=cluster.state.epoch + 1, map=ShardMap(ranges))
    for service in cluster.services.values():
        assert service.shard.assignment is not None
        service.shard.assignment = attrs.evolve(service.shard.assignment, state=state)
    cluster.network.listeners["127.0.0.1", 6050] = cluster.network.listeners[ADDRESS]
    client._router.adopt(state)
    cluster.advance(2)
    assert read == [{"hash_": 0.1671936, "record": "kept"}]
    assert kinds([change]) == [[OutcomeUnknown]]
    cluster.network.unsilence(*ADDRESS)
    cluster.network.listeners.pop(("127.0.0.1", 6050))
