"""Maps that change with each look, and name other shards each time: what they cost a client is bounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import attrs
import pytest
from clusters import connected
from deferreds import watch
from other_answers import answer_with
from twisted.internet.defer import Deferred, fail

from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.errors import ShardBehind, Unavailable
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import StateReader
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.shard_map import ShardMap
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.boxes import Box
from pyshard.settings import settings
from pyshard.shard.protocol import ShardProtocol
from pyshard.testing import MemoryCluster

READING = 0.02  # seconds that it takes to read a map
DEADLINE = 30.0

#: Reads a key by a client, and what the client knows of its shards.
Reader: TypeAlias = tuple[Callable[[], object], Any]


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """A cluster of two shards."""
    with MemoryCluster(2) as made:
        yield made


@attrs.define
class Maps:
    """The maps that a hostile bootstrap gives, once `hostile`: each newer than the last, with other names.

    :ivar given: how many were read.
    """

    state: ClusterState
    hostile: bool = False
    given: int = 0

    def next(self) -> ClusterState:
        if self.hostile:
            epoch = self.state.epoch + 1
            ranges = (attrs.evolve(own, name=f"{own.name[:6]}.{epoch}") for own in self.state.map.shards)
            self.state = attrs.evolve(self.state, epoch=epoch, map=ShardMap(ranges))
        return self.state


@pytest.fixture
def maps(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> Maps:
    """Those of the cluster's bootstrap. To read one takes a while."""
    assert cluster.bootstrap is not None
    made = Maps(cluster.bootstrap.bootstrap.state)
    answer_with(monkeypatch, BootstrapProtocol, b"GetMap", lambda _: {"state": cluster_state_json.to_json(made.next())})
    honest, apply = StateReader.read, ShardProtocol.apply

    def behind(self: ShardProtocol, box: Box) -> Deferred[list[Answer]]:
        return fail(ShardBehind("the map is newer than this shard's")) if made.hostile else apply(self, box)

    answer_with(monkeypatch, ShardProtocol, b"Apply", behind)

    def read_state(self: StateReader, text: bytes) -> ClusterState:
        if made.hostile:
            made.given += 1
            cluster.clock.rightNow += READING
        return honest(self, text)

    monkeypatch.setattr(StateReader, "read", read_state)
    return made


@pytest.fixture(params=["deferred", "blocking"])
def read(request: pytest.FixtureRequest, cluster: MemoryCluster, maps: Maps) -> Iterator[Reader]:
    """Reads a key by a client, with the deadline; and what the client knows of its shards."""
    if request.param == "blocking":
        with cluster.blocking() as app:
            assert app.read("test") is None
            yield lambda: app.read("test", deadline=DEADLINE), app._cluster()
    else:
        client = connected(cluster)
        yield lambda: cluster.run(client.read("test", deadline=DEADLINE)), client._router


def known(client: Any) -> int:
    """How many shards a client keeps something of."""
    kept = [value for name, value in vars(client).items() if name in ("_links", "_pools", "_in_doubt", "_gone")]
    assert kept
    return max(map(len, kept))


def test_maps_that_change_with_each_look(cluster: MemoryCluster, read: Reader, maps: Maps) -> None:
    """A read ends by its deadline, maps have taken a tenth of the time, and what they named isn't kept."""
    call, client = read
    maps.hostile = True
    began = cluster.clock.seconds()
    with pytest.raises(Unavailable):
        call()
    took = cluster.clock.seconds() - began
    assert took < DEADLINE + 0.5
    assert 3 < maps.given <= DEADLINE / (READING * 10) / 1.05
    assert known(client) <= 4


def test_a_shard_that_has_lost_slots_and_owes_answers(cluster: MemoryCluster) -> None:
    """It is sent nothing more, not even what is its own by the newer map, until it has answered. Others are."""
    client = cluster.connect()
    router = client._router
    cluster.run(client.read("test"))
    cluster.network.silence("127.0.0.1", 5050)
    in_flight = watch(client.write("test", 1))
    cluster.advance(0.001)
    low, high = cluster.state.map.shards
    swapped = [attrs.evolve(low, ranges=high.ranges), attrs.evolve(high, ranges=low.ranges)]
    router.adopt(attrs.evolve(cluster.state, epoch=cluster.state.epoch + 1, map=ShardMap(swapped)))
    waiting, held = watch(client.read("test1")), watch(client.read("test"))
    cluster.advance(0.5)
    link, other = router.link_for(slot_of(b"test1")), router.link_for(slot_of(b"test"))
    assert (in_flight, waiting, held) == ([], [], [])
    assert (link.own, link.quiesced, link.busy) == (low, True, True)
    assert (other.own, other.quiesced, other.busy) == (swapped[1], False, False)
    cluster.network.unsilence("127.0.0.1", 5050)
    cluster.advance(0.1)
    assert in_flight == [28]
    assert (link.own, link.quiesced, router._held) == (swapped[0], False, {})


def test_a_map_of_many_shards(cluster: MemoryCluster) -> None:
    """A client has nothing of a shard that it asked nothing of."""
    client = cluster.connect()
    number = settings.MAX_SHARDS
    low, _ = cluster.state.map.shards
    bounds = [SLOTS * one // number for one in range(number + 1)]
    client._router.adopt(
        attrs.evolve(
            cluster.state,
            epoch=cluster.state.epoch + 1,
            map=ShardMap(
                attrs.evolve(low, ranges=((bounds[one], bounds[one + 1]),), name=f"s{one}", port=one + 1)
                for one in range(number)
            ),
        )
    )
    assert client._router._links == {}
