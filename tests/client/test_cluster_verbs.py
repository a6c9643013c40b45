"""What a client asks about the cluster as a whole: its indexes, how it fares, how ready its shards are."""

from __future__ import annotations

import pytest
from clusters import VERBS, kinds
from deferreds import watch
from other_answers import answer_with
from twisted.internet.defer import Deferred, gatherResults

from pyshard import Client
from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.errors import IndexExists, IndexNotFound
from pyshard.testing import MemoryCluster

# -- indexes --------------------------------------------------------------------------------------------------------


def test_indexes_come_and_go(cluster: MemoryCluster, client: Client) -> None:
    """Indexes are created once, listed in order, dropped once; another client sees the same."""
    run, other = cluster.run, cluster.connect()
    assert run(client.indexes()) == []
    run(client.create_index("b"))
    run(client.create_index("a"))
    assert run(client.indexes()) == run(other.indexes()) == ["a", "b"]
    with pytest.raises(IndexExists):
        run(other.create_index("a"))
    run(other.drop_index("b"))
    with pytest.raises(IndexNotFound):
        run(client.drop_index("b"))
    assert run(client.indexes()) == ["a"]


def test_an_index_that_another_client_created_is_used_right_now(cluster: MemoryCluster, client: Client) -> None:
    """What one client creates, another one, whose map is older, uses at once, without an error or a wait."""
    other = cluster.connect()
    cluster.run(client.create_index("pages"))
    began = cluster.clock.seconds()
    for key in range(20):
        assert cluster.run(other.write(key, "x", "pages")) == 50
    page = cluster.run(other.keys("pages").next_page())
    assert len(page) == cluster.services["shard0"].shard.store.documents > 0
    assert cluster.clock.seconds() == began


@pytest.mark.parametrize("who", ["dropper", "another"])
def test_a_dropped_index_is_not_found(cluster: MemoryCluster, client: Client, who: str) -> None:
    """After a drop every verb fails with `IndexNotFound`, soon, for the client that dropped it and for others."""
    other = cluster.connect()
    cluster.run(client.create_index("pages"))
    cluster.run(other.write("k", 1, "pages"))
    cluster.run(client.drop_index("pages"))
    cluster.advance(5)
    user, began = {"dropper": client, "another": other}[who], cluster.clock.seconds()
    outcomes = [watch(verb(user, "k", "pages")) for verb in VERBS]
    cluster.run(gatherResults([user.has(key) for key in range(10)]))
    cluster.advance(0.5)
    assert kinds(outcomes) == [[IndexNotFound]] * len(VERBS)
    with pytest.raises(IndexNotFound, match=r"there is no index .pages.; create it first"):
        cluster.run(user.keys("pages").next_page())
    assert cluster.clock.seconds() < began + 1


def test_an_index_that_never_was_is_not_found(cluster: MemoryCluster, client: Client) -> None:
    """An unknown index is an error, not None or 0, and no such error is taken for final before a map was fetched."""
    cluster.advance(100)
    began = cluster.clock.seconds()
    with pytest.raises(IndexNotFound):
        cluster.run(client.read("k", "pages"))
    assert cluster.clock.seconds() < began + 1


def test_an_index_created_anew_is_empty(cluster: MemoryCluster, client: Client) -> None:
    """Dropping an index drops its documents: an index of the same name begins empty."""
    other = cluster.connect()
    cluster.run(client.create_index("pages"))
    cluster.run(gatherResults([client.write(key, "old", "pages") for key in range(50)]))
    cluster.run(client.write("kept", 1))
    cluster.run(client.drop_index("pages"))
    cluster.run(client.create_index("pages"))
    assert cluster.run(gatherResults([other.has(key, "pages") for key in range(50)])) == [False] * 50
    assert cluster.run(other.keys("pages").next_page()) == []
    assert cluster.run(other.has("kept")) is True


def test_an_index_is_created_though_the_map_cannot_be_fetched_after(
    cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`Unavailable` means that nothing was changed: `create_index` doesn't fail with it once the index is there."""
    forgetful = [False]
    get_map = BootstrapProtocol.get_map
    answer_with(
        monkeypatch, BootstrapProtocol, b"GetMap", lambda self: Deferred() if forgetful[0] else get_map(self)
    )  # never answers, when told so
    client = cluster.connect()
    forgetful[0] = True
    outcome = watch(client.create_index("pages", deadline=3))
    cluster.advance(3)
    assert outcome == [None]
    assert dict(cluster.state.indexes) == {"pages": 1}
    assert cluster.run(client.write("k", 1, "pages")) == 28


# -- the cluster's state --------------------------------------------------------------------------------------------


def test_stat_tells_of_every_shard(cluster: MemoryCluster, client: Client) -> None:
    """`stat` has one dict for each shard, in slot order, with what it holds."""
    cluster.run(gatherResults([client.write(key, 1) for key in range(100)]))
    cluster.run(client.create_index("pages"))
    stat = cluster.run(client.stat())
    shards = stat.pop("shards")
    assert stat == {"cluster": cluster.state.cluster, "epoch": cluster.state.epoch, "indexes": ["pages"]}
    assert isinstance(shards, list)
    assert [one["name"] for one in shards] == ["shard0", "shard1"]
    assert [one["ranges"] for one in shards] == [[[0.0, 0.5]], [[0.5, 1.0]]]
    assert sum(one["documents"] for one in shards) == 100
    assert all(one["epoch"] == cluster.state.epoch for one in shards)
    assert all("error" not in one for one in shards)


def test_stat_says_which_shard_cannot_be_reached(cluster: MemoryCluster, client: Client) -> None:
    """A shard that is away has its place in `stat`, with the reason; the others' figures come."""
    cluster.kill_shard("shard1")
    stat = cluster.run(client.stat(deadline=2))
    assert isinstance(stat["shards"], list)
    here, away = stat["shards"]
    assert here["documents"] == 0
    assert "error" not in here
    assert "gave no answer within 2 s: connection refused" in away.pop("error")
    own = cluster.state.map.shards[1]
    assert away == {"name": "shard1", "address": own.address, "ranges": [[0.5, 1.0]], "limit": own.limit}


def test_readiness_is_the_bootstraps_view(cluster: MemoryCluster, client: Client) -> None:
    """`readiness` names each shard's state, and says why one isn't ready."""
    ready = cluster.run(client.readiness())
    assert [(one["name"], one["state"], one["detail"]) for one in ready] == [
        ("shard0", "ready", ""),
        ("shard1", "ready", ""),
    ]
    cluster.kill_shard("shard0")
    cluster.advance(1)
    assert [one["state"] for one in cluster.run(client.readiness())] == ["unreachable", "ready"]
