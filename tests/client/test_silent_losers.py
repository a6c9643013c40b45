"""Shards that lose slots and leave something unanswered: what waits for them, and what doesn't."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from random import Random
from typing import Any

import attrs
import pytest
from clusters import announce, keys_on, kinds
from deferreds import watch
from handover import applied_to, hand_over
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from pyshard import Client
from pyshard.errors import OutcomeUnknown, Unavailable
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import ShardMap
from pyshard.model.slot_ranges import SlotRanges
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_operations import Run
from pyshard.storage import Sender
from pyshard.testing import MemoryCluster

SILENT = ("127.0.0.1", 5050)  # shard0

#: By which shard0 and shard1 each give the first tenth of their slots to shard2.
NEXT: list[SlotRanges] = [
    ((333_333, 3_333_333),),
    ((3_666_666, 6_666_666),),
    ((0, 333_333), (3_333_333, 3_666_666), (6_666_666, SLOTS)),
]


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """A cluster of three shards, each with a third of the slots."""
    with MemoryCluster(3) as cluster:
        yield cluster


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client that is connected to all of them."""
    client = cluster.connect()
    cluster.run(gatherResults([client.write(keys_on(cluster, name, 1)[0], 0) for name in cluster.names]))
    return client


def with_ranges(state: ClusterState, owned: Sequence[SlotRanges]) -> ClusterState:
    """The next state, in which the shards have other ranges."""
    shards = [attrs.evolve(one, ranges=ranges) for one, ranges in zip(state.map.shards, owned, strict=True)]
    return attrs.evolve(state, epoch=state.epoch + 1, map=ShardMap(shards))


def without_first(state: ClusterState) -> ClusterState:
    """The next state, in which shard0 isn't, and shard1 has its slots."""
    _, second, third = state.map.shards
    shards = [attrs.evolve(second, ranges=((0, 6_666_666),)), third]
    return attrs.evolve(state, epoch=state.epoch + 1, map=ShardMap(shards))


def put_into_force(cluster: MemoryCluster, client: Client, state: ClusterState) -> None:
    """Have the shards, the bootstrap and the client go by a state."""
    hand_over(cluster, state)
    announce(cluster, state)
    client._router.adopt(state)


def key_in(start: int, end: int) -> str:
    """A key whose slot is in a range."""
    return next(f"k{number}" for number in range(1_000_000) if start <= slot_of(b"k%d" % number) < end)


def test_other_shards_are_not_delayed(cluster: MemoryCluster, client: Client) -> None:
    """A silent shard holds what is asked of it, and of the slots that it has lost; nothing else."""
    cluster.network.silence(*SILENT)
    in_flight = watch(client.write(keys_on(cluster, "shard0", 1)[0], 1))
    cluster.advance(0.1)
    put_into_force(cluster, client, with_ranges(cluster.state, NEXT))
    others = [key_in(4_000_000, 6_000_000), key_in(3_333_333, 3_666_666), key_in(7_000_000, SLOTS)]  # kept, moved, own
    lost, kept = key_in(0, 333_333), key_in(1_000_000, 3_000_000)
    going_on = [watch(client.write(key, 1)) for key in others]
    held = [watch(client.write(key, 1, deadline=5)) for key in (lost, kept)]
    bulk = watch(client.get_many([lost, *others], deadline=30))
    cluster.advance(0.1)
    assert (in_flight, going_on, held, bulk) == ([], [[28]] * 3, [[], []], [])
    cluster.advance(5)
    assert (in_flight, kinds(held)) == ([], [[Unavailable]] * 2)
    later = watch(client.write(lost, 2))
    cluster.advance(4.9)
    assert kinds([in_flight]) == [[OutcomeUnknown]]
    assert later == [28]
    assert bulk == [[None, 1, 1, 1]]
    assert cluster.run(client.get(lost)) == 2


def test_each_shard_holds_its_own(cluster: MemoryCluster, client: Client) -> None:
    """Of two that lose slots and owe answers, the one that answers holds nothing more; the other one still does."""
    addresses = [SILENT, ("127.0.0.1", 5051)]
    for address in addresses:
        cluster.network.silence(*address)
    in_flight = [watch(client.write(keys_on(cluster, name, 1)[0], 1)) for name in ("shard0", "shard1")]
    cluster.advance(0.1)
    put_into_force(cluster, client, with_ranges(cluster.state, NEXT))
    held = [watch(client.write(key, 1)) for key in (key_in(0, 333_333), key_in(3_333_333, 3_666_666))]
    cluster.advance(0.1)
    assert (in_flight, held) == ([[], []], [[], []])
    cluster.network.unsilence(*addresses[1])
    cluster.advance(0.1)
    assert (in_flight, held) == ([[], [28]], [[], [28]])
    cluster.network.unsilence(*addresses[0])
    cluster.advance(0.1)
    assert (in_flight, held) == ([[28], [28]], [[28], [28]])


def test_a_shard_that_leaves_the_map_and_comes_again(cluster: MemoryCluster, client: Client) -> None:
    """Its link stays while it owes an answer, so operations on a key of its own stay in order, whatever maps come."""
    first = cluster.state.map.shards[0]
    key = key_in(0, 3_000_000)
    applied = applied_to(cluster, key.encode())
    cluster.network.silence(*SILENT)
    writes = [watch(client.write(key, 1))]
    cluster.advance(0.1)
    link = client._router.link_for(slot_of(key.encode()))
    whole = cluster.state
    put_into_force(cluster, client, without_first(whole))
    writes.append(watch(client.write(key, 2)))
    cluster.advance(0.1)
    assert client._router._links["shard0"] is link
    again = attrs.evolve(whole, epoch=whole.epoch + 2)
    put_into_force(cluster, client, again)
    writes.append(watch(client.write(key, 3)))
    cluster.advance(0.1)
    assert (client._router.link_for(slot_of(key.encode())), link.own) == (link, first)
    cluster.network.unsilence(*SILENT)
    cluster.advance(0.5)
    assert writes == [[28]] * 3
    assert applied == [(key.encode(), 1), (key.encode(), 2), (key.encode(), 3)]


def test_a_shard_that_has_left_is_forgotten(cluster: MemoryCluster, client: Client) -> None:
    """Once it owes nothing, its link is closed, and what waited goes to its heir."""
    key = key_in(0, 3_000_000)
    cluster.network.silence(*SILENT)
    writes = [watch(client.write(key, 1))]
    cluster.advance(0.1)
    put_into_force(cluster, client, without_first(cluster.state))
    writes.append(watch(client.write(key, 2)))
    cluster.advance(0.1)
    assert "shard0" in client._router._links
    cluster.network.unsilence(*SILENT)
    cluster.advance(0.5)
    assert writes == [[28]] * 2
    assert client._router._links.keys() == {"shard1", "shard2"}


@pytest.mark.parametrize("seed", range(30))
def test_order_while_maps_follow_each_other(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writes to one key are applied in the order issued, though each shard takes its time and maps come meanwhile."""
    random = Random(seed)
    with MemoryCluster(3, seed=seed) as cluster:
        client = cluster.connect()
        for service in cluster.services.values():
            slow(cluster, monkeypatch, service.shard, random)
        keys = [f"key{number}" for number in range(6)]
        applied = {key: applied_to(cluster, key.encode()) for key in keys}
        issued: dict[str, int] = dict.fromkeys(keys, 0)
        work: list[list[Any]] = []
        state = cluster.state
        for _ in range(60):
            for key in random.sample(keys, 3):
                issued[key] += 1
                work.append(watch(client.write(key, issued[key], deadline=600)))
            if random.random() < 0.3:
                low, high = sorted(random.sample(range(1, SLOTS), 2))
                parts: list[SlotRanges] = [((0, low),), ((low, high),), ((high, SLOTS),)]
                random.shuffle(parts)
                state = with_ranges(state, parts)
                hand_over(cluster, state)
                client._router.adopt(state)
            cluster.advance(random.choice([0, 0.01, 0.1, 0.3]))
        announce(cluster, state)
        cluster.advance(60)
        assert [outcome for outcome in work if outcome != [28]] == []
        for key in keys:
            assert applied[key] == [(key.encode(), number) for number in range(1, issued[key] + 1)]


def slow(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch, shard: Any, random: Random) -> None:
    """Have a shard take up to half a second before it applies a batch, sometimes."""
    apply: Callable[..., Any] = shard.apply

    def later(epoch: int, runs: Sequence[Run], sender: Sender) -> Deferred[list[Answer]]:
        seconds = random.choice([0.0, 0.05, 0.5])
        return deferLater(cluster.clock, seconds, apply, epoch, runs, sender)

    monkeypatch.setattr(shard, "apply", later)
