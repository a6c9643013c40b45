"""Whom a client asks for the map, in which order, and which map it takes up."""

from __future__ import annotations

import pytest

from pyshard.client_core import map_fetching
from pyshard.client_core.map_fetching import MapRank
from pyshard.errors import ConfigError, ForeignCluster
from pyshard.model.shard_map import MapShard, ShardMap


def shard_map(**ends: tuple[int, int]) -> ShardMap:
    """A map of shards by their names, each with its first slot and the one behind its last."""
    return ShardMap(tuple(MapShard(name, ((start, end),), 1, name, 5050) for name, (start, end) in ends.items()))


def test_bootstraps_are_asked_before_shards() -> None:
    """An address where nobody has answered yet may be a bootstrap's; shards come last."""
    servers = [("shard", "given shard"), ("", "unknown"), ("bootstrap", "known")]
    assert map_fetching.by_preference(servers, ["connected"], ["other"]) == ["unknown", "known", "connected"]
    assert map_fetching.by_preference(servers, [], ["other"]) == ["unknown", "known", "given shard"]
    assert map_fetching.by_preference(servers[1:], [], ["other"]) == ["unknown", "known", "other"]
    assert map_fetching.bootstraps_first(servers) == ["known", "unknown", "given shard"]


def test_bootstraps_take_turns_when_they_have_nothing_newer() -> None:
    """Each one is asked first in its turn; shards come last all the same."""
    servers = [("bootstrap", "a"), ("shard", "s"), ("bootstrap", "b"), ("", "c")]
    orders = [map_fetching.by_preference(servers, ["connected"], in_vain=count) for count in range(4)]
    assert ["".join(order[:3]) for order in orders] == ["abc", "bca", "cab", "abc"]
    assert all(order[3:] == ["connected"] for order in orders)
    assert map_fetching.by_preference([("shard", "s")], [], in_vain=5) == ["s"]


def test_a_connected_peer_has_more_time() -> None:
    """A peer that must be dialed first is doubted sooner than one that has a connection."""
    assert map_fetching.head_start(True) > map_fetching.head_start(False) > 0


def test_only_a_bootstrap_is_one() -> None:
    """What only a bootstrap can do is refused at a shard's address, which the message names."""
    map_fetching.check_bootstrap("bootstrap", "a:1")
    with pytest.raises(ConfigError, match="a:1 is a shard's address"):
        map_fetching.check_bootstrap("shard", "a:1")


@pytest.mark.parametrize(
    ("role", "alone", "name"),
    [
        ("shard", True, "the shard at a:1"),
        ("bootstrap", False, "the bootstrap at a:1"),
        ("", True, "the bootstrap at a:1"),
        ("", False, "a:1"),
    ],
)
def test_server_name(role: str, alone: bool, name: str) -> None:
    """An only address is taken for a bootstrap's until somebody has answered there."""
    assert map_fetching.server_name(role, "a:1", alone) == name


def test_another_cluster_is_refused() -> None:
    """A daemon may have no cluster yet, and a client may know none yet; two different ones are refused."""
    for known, given in [("", ""), ("", "b"), ("a", ""), ("a", "a")]:
        map_fetching.check_cluster(known, given)
    with pytest.raises(ForeignCluster, match="cluster b now; this client knows a"):
        map_fetching.check_cluster("a", "b")


OF_SHARD, OF_BOOTSTRAP = MapRank(0, 7, False), MapRank(0, 7, True)


@pytest.mark.parametrize(
    ("newest", "epoch", "same", "by_bootstrap", "rest", "rank"),
    [
        (None, 5, False, False, False, (0, 5, False)),
        (None, 5, False, True, False, (0, 5, True)),
        (OF_BOOTSTRAP, 8, False, False, False, (0, 8, False)),
        (OF_BOOTSTRAP, 8, False, False, True, None),
        (OF_BOOTSTRAP, 8, False, True, True, (0, 8, True)),
        (OF_BOOTSTRAP, 7, False, True, False, None),
        (OF_BOOTSTRAP, 6, False, True, False, None),
        (OF_BOOTSTRAP, 6, False, False, False, None),
        (OF_SHARD, 8, False, False, False, (0, 8, False)),
        (OF_SHARD, 7, False, False, False, None),
        (OF_SHARD, 6, False, False, False, None),
        (OF_SHARD, 8, False, True, False, (0, 8, True)),
        (OF_SHARD, 7, True, True, False, (0, 7, True)),
        (OF_SHARD, 7, False, True, False, (1, 7, True)),
        (OF_SHARD, 6, False, True, False, (1, 6, True)),
        (OF_SHARD, 6, False, True, True, (1, 6, True)),
        (MapRank(3, 7, False), 9, False, False, False, (3, 9, False)),
    ],
)
def test_which_map_counts(
    newest: MapRank | None, epoch: int, same: bool, by_bootstrap: bool, rest: bool, rank: tuple[int, int, bool] | None
) -> None:
    """The newer one; but a bootstrap's own counts more than what a shard alone has said, whatever the epochs."""
    found = map_fetching.rank_of(newest, epoch, same, by_bootstrap, rest)
    assert found == rank
    assert found is None or newest is None or found > newest


def test_pauses_between_maps() -> None:
    """The next map is asked for ten times as long after the last one as that took to read, and a second at the most."""
    pace = map_fetching.MapPace()
    found = []
    for began, ended in [(5.0, 5.0), (5.0, 5.04), (5.04, 5.05), (7.0, 7.1), (9.0, 20.0), (30.0, 29.0)]:
        pace.took(began, ended)
        found.append(round(pace.earliest, 3))
    assert found == [5.0, 5.44, 5.54, 8.1, 21.0, 29.0]


def test_sessions_with_shards() -> None:
    """A client's session with a shard is the same each time, and another one than that of any other shard or client."""
    ids = {map_fetching.session_of(name, secret) for name in ("a", "b", "ü" * 100) for secret in (b"1" * 16, b"2" * 16)}
    assert len(ids) == 6
    assert {len(one) for one in ids} == {16}
    assert map_fetching.session_of("a", b"1" * 16) in ids
