"""Maps that a shard alone has given: they count while the bootstrap is away, and no longer than that."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import attrs
import pytest
from clusters import connected
from other_answers import answer_with
from twisted.internet.defer import Deferred

from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.client_core.map_fetching import CONFIRM_EVERY, CONFIRM_WITHIN, SHARDS_REST
from pyshard.model import cluster_state_json
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import ShardMap
from pyshard.protocol.chunked_arguments import Arguments
from pyshard.settings import settings
from pyshard.shard.protocol import ShardProtocol
from pyshard.testing import MemoryCluster

HOST, PORT = settings.BOOTSTRAP_SERVER
BOOTSTRAP = (str(HOST), int(PORT))


@attrs.frozen
class Eyes:
    """What a client sees.

    :param state: its map.
    :param refresh: has it fetch the newest map.
    :param use: calls it; no shard's answer has it fetch a map.
    """

    state: Callable[[], ClusterState]
    refresh: Callable[[], object]
    use: Callable[[], object]


@attrs.define
class Maps:
    """What is asked for maps, and what shards say.

    :ivar of_shards: the map that shards give; None: their own.
    :ivar asked: how often the bootstrap was asked.
    """

    of_shards: ClusterState | None = None
    asked: int = 0


@pytest.fixture
def maps(monkeypatch: pytest.MonkeyPatch) -> Maps:
    """Those of the cluster."""
    made = Maps()
    of_shard, of_bootstrap = ShardProtocol.get_map, BootstrapProtocol.get_map

    def from_shard(self: ShardProtocol) -> Arguments:
        given = made.of_shards
        return of_shard(self) if given is None else {"state": cluster_state_json.to_json(given)}

    def from_bootstrap(self: BootstrapProtocol) -> Arguments:
        made.asked += 1
        return of_bootstrap(self)

    answer_with(monkeypatch, ShardProtocol, b"GetMap", from_shard)
    answer_with(monkeypatch, BootstrapProtocol, b"GetMap", from_bootstrap)
    return made


@pytest.fixture
def cluster(maps: Maps) -> Iterator[MemoryCluster]:
    """A cluster of two shards."""
    with MemoryCluster(2) as made:
        yield made


@pytest.fixture(params=["deferred", "blocking"])
def client(request: pytest.FixtureRequest, cluster: MemoryCluster) -> Iterator[Eyes]:
    """A client that is connected to both shards."""
    if request.param == "blocking":
        with cluster.blocking() as app:
            app.write_many({"test": 1, "test1": 2})
            made = app._made
            assert made is not None
            now = cluster.clock.seconds
            yield Eyes(lambda: made.state, lambda: made.refresh(now() + 4), lambda: app.stat(deadline=2))
    else:
        one = connected(cluster)

        def refresh() -> None:
            fetched: Deferred[None] = one._router.refresh()
            cluster.run(fetched)

        yield Eyes(lambda: one._router.state, refresh, lambda: None)


@pytest.fixture
def lie(cluster: MemoryCluster, client: Eyes, maps: Maps) -> ClusterState:
    """What shards say: a map of a high epoch, in which the last shard has all slots. The bootstrap is away."""
    own = attrs.evolve(cluster.state.map.shards[-1], ranges=((0, SLOTS),))
    made = attrs.evolve(cluster.state, epoch=2**62, map=ShardMap([own]))
    maps.of_shards = made
    cluster.stop_bootstrap()
    client.refresh()
    assert client.state() == made
    return made


def test_the_bootstrap_s_map_replaces_a_shard_s(cluster: MemoryCluster, client: Eyes, lie: ClusterState) -> None:
    """Without anybody's asking for a map, soon after the bootstrap is back."""
    client.use()
    cluster.advance(2 * CONFIRM_EVERY)
    client.use()
    assert client.state() == lie
    cluster.start_bootstrap()
    cluster.advance(CONFIRM_EVERY + 1)
    client.use()
    assert client.state() == cluster.state


def test_maps_do_not_go_to_and_fro(cluster: MemoryCluster, client: Eyes, lie: ClusterState) -> None:
    """After the bootstrap has replaced a shard's map, shards' maps rest for a minute, also where it is slow."""
    cluster.start_bootstrap()
    cluster.advance(5)
    client.refresh()
    assert client.state() == cluster.state
    cluster.network.silence(*BOOTSTRAP)
    for _ in range(5):
        cluster.advance(SHARDS_REST / 10)
        client.refresh()
        assert client.state() == cluster.state
    cluster.advance(SHARDS_REST / 2)
    client.refresh()
    assert client.state() == lie


def test_a_shard_s_map_that_the_bootstrap_has_too(cluster: MemoryCluster, client: Eyes, maps: Maps) -> None:
    """It is taken up for good, and the bootstrap is asked once."""
    newer = maps.of_shards = attrs.evolve(cluster.state, epoch=cluster.state.epoch + 1)
    cluster.stop_bootstrap()
    client.refresh()
    assert client.state() == newer
    cluster.state = newer
    cluster.start_bootstrap()
    maps.asked = 0
    for _ in range(4):
        cluster.advance(CONFIRM_EVERY)
        client.use()
    assert client.state() == newer == cluster.state
    assert maps.asked == 1


def test_a_bootstrap_that_is_silent_costs_a_moment(cluster: MemoryCluster, client: Eyes, lie: ClusterState) -> None:
    """A call looks for the bootstrap for a second, and not again for ten."""
    cluster.start_bootstrap()
    cluster.network.silence(*BOOTSTRAP)
    cluster.advance(CONFIRM_EVERY)
    took = []
    for _ in range(3):
        began = cluster.clock.seconds()
        client.use()
        took.append(cluster.clock.seconds() - began)
    assert took[0] <= CONFIRM_WITHIN + 0.1
    assert max(took[1:]) < 0.1
