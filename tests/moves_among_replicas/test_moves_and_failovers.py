"""Ranges that move between shards with replicas, while primaries are lost: moves go on, and nothing is lost.

Either side's primary is killed in each phase. The next one takes the move up, by what the log has brought it.
"""

from __future__ import annotations

import attrs
import pytest
from moving import (
    DOCS,
    MOVING,
    cancel,
    filled,
    owner,
    plan,
    slow_down,
    state_of,
    until,
)
from moving_replicas import (
    LEASE,
    SIDES,
    check_whole,
    copies_of_last,
    fail_over,
    group_of,
    has_staged,
    others,
    primary,
    store_of,
    until_so,
    wait_led,
    wait_whole,
)

from pyshard.client import Client
from pyshard.client.layout_client import LayoutClient
from pyshard.errors import Unavailable
from pyshard.model.config_file import ClusterConfig
from pyshard.model.layout_change import with_other_ranges
from pyshard.model.range_moves import Phase
from pyshard.model.replica_group import MapReplica, new_group
from pyshard.model.shard_map import ShardMap
from pyshard.testing import MemoryCluster


def test_a_range_moves(cluster: MemoryCluster) -> None:
    """All members of the target have it, and none of the source; and back."""
    client = cluster.connect()
    plan(cluster)
    until(cluster)
    assert owner(cluster) == "shard1"
    check_whole(cluster, client)
    plan(cluster, "shard1", "shard0")
    until(cluster)
    assert owner(cluster) == "shard0"
    check_whole(cluster, client)


@pytest.mark.parametrize("phase", [Phase.COPYING, Phase.SEALING, Phase.COMMITTED])
@pytest.mark.parametrize("side", SIDES)
def test_a_primary_is_lost(cluster: MemoryCluster, side: str, phase: Phase, monkeypatch: pytest.MonkeyPatch) -> None:
    """In whichever phase, the move comes to its end all the same, and isn't cancelled."""
    client = cluster.connect()
    slow_down(cluster, monkeypatch)
    plan(cluster)
    until(cluster, phase)
    killed = fail_over(cluster, SIDES[side])
    until(cluster, Phase.COMMITTED)
    cluster.start_shard(killed)
    until(cluster)
    assert owner(cluster) == "shard1"
    check_whole(cluster, client)


@pytest.mark.parametrize(("side", "copies"), [("source", 1), ("target", 0)])
def test_a_complete_copy_stays(durable: MemoryCluster, side: str, copies: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """When a primary is lost after it was copied, the next one goes on from there; what it changed meanwhile, too."""
    client = durable.connect()
    slow_down(durable, monkeypatch)
    plan(durable)
    until(durable, Phase.SEALING)
    fail_over(durable, SIDES[side])
    durable.run(client.write_many(dict.fromkeys(MOVING, "meanwhile"), deadline=30))
    until(durable)
    assert copies_of_last(durable) == (copies, Phase.COMMITTED)
    assert durable.run(client.get_many(MOVING)) == ["meanwhile"] * len(MOVING)
    assert durable.run(client.count()) == len(DOCS)


@pytest.mark.parametrize("lost", [None, "shard0", "shard1"])
def test_sealed_without_a_bootstrap(cluster: MemoryCluster, lost: str | None) -> None:
    """A sealed range stays sealed with the next primary, also of the target, until the state has decided."""
    client = cluster.connect()
    cluster.run(client.get_many(list(DOCS)))
    plan(cluster)
    until_so(cluster, lambda: state_of(cluster).moves[0].phase is Phase.SEALING)
    cluster.stop_bootstrap()
    cluster.advance(0.5)
    killed = None if lost is None else primary(cluster, lost)
    if killed is not None:
        cluster.kill_shard(killed)
    cluster.advance(3)
    with pytest.raises(Unavailable):
        cluster.run(client.write(MOVING[0], "lost?", deadline=2))
    cluster.start_bootstrap()
    if killed is not None:
        cluster.start_shard(killed)
    until(cluster)
    assert copies_of_last(cluster)[1] is Phase.COMMITTED
    check_whole(cluster, client)


def test_cancelled(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a target has copied is removed by whoever leads it then, though it never led before."""
    client = cluster.connect()
    slow_down(cluster, monkeypatch)
    plan(cluster)
    until_so(cluster, lambda: has_staged(cluster, others(cluster, "shard1")[0]))
    cancel(cluster)
    killed = fail_over(cluster, "shard1")
    cluster.start_shard(killed)
    until(cluster)
    assert copies_of_last(cluster)[1] is Phase.CANCELLED
    assert owner(cluster) == "shard0"
    check_whole(cluster, client)


def test_nobody_sees_a_copy(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Members take what is copied from the log, as hidden as it is; so the next primary shows nothing of it."""
    client = cluster.connect()
    slow_down(cluster, monkeypatch)
    plan(cluster)
    (member,) = others(cluster, "shard1")
    until_so(cluster, lambda: has_staged(cluster, member))
    assert store_of(cluster, member).documents == cluster.run(client.count()) - store_of(cluster, "shard0").documents
    assert not cluster.services[member].moves._pulling
    former = primary(cluster, "shard1")
    replica = cluster.services[former].shard.replica
    assert replica is not None
    replica.switch(*group_of(cluster, "shard1").others)
    wait_led(cluster, "shard1", former)
    assert member == primary(cluster, "shard1")
    assert cluster.run(client.count(deadline=20)) == len(DOCS)
    assert sorted(cluster.run(_keys(client))) == sorted(DOCS)
    assert not cluster.services[former].moves._pulling, "who leads no more pulls no more"
    until(cluster)
    assert copies_of_last(cluster)[1] is Phase.COMMITTED
    check_whole(cluster, client)


async def _keys(client: Client) -> list[str]:
    return [key async for key in client.keys(deadline=20)]


def test_a_learner_copies_what_ishas_staged(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A replica of the target that begins from a copy meanwhile can lead, and go on."""
    client = cluster.connect()
    (member,) = others(cluster, "shard1")
    cluster.kill_shard(member)
    until_so(cluster, lambda: not others(cluster, "shard1"))
    slow_down(cluster, monkeypatch)
    plan(cluster)
    until_so(cluster, lambda: has_staged(cluster, primary(cluster, "shard1")))
    cluster.start_shard(member)
    until_so(cluster, lambda: others(cluster, "shard1"))
    fail_over(cluster, "shard1")
    for name in ("shard1", "shard1.2"):
        if name not in cluster.services:
            cluster.start_shard(name)
    until(cluster)
    assert copies_of_last(cluster)[1] is Phase.COMMITTED
    check_whole(cluster, client)


def test_a_shard_gets_replicas_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both sides of a move, while it goes on; then their primaries are lost."""
    with filled() as cluster:
        client = cluster.connect(deadline=20)
        slow_down(cluster, monkeypatch)
        plan(cluster)
        until_so(cluster, lambda: has_staged(cluster, "shard1"))
        shards = []
        for own in cluster.map.shards:
            places = [MapReplica(own.host, own.port + 100 * number) for number in range(2)]
            shards.append(own.led_by_group(new_group(places, lease=LEASE)))
        cluster.map = ShardMap(shards)
        for name in ("shard0.2", "shard1.2"):
            cluster.start_shard(name)
        layout = LayoutClient(client)
        state = cluster.run(layout.state())
        wanted = ShardMap(
            attrs.evolve(own, ranges=before.ranges)
            for own, before in zip(shards, with_other_ranges(state, []).shards, strict=True)
        )
        assert cluster.run(layout.apply(ClusterConfig(wanted, "localhost", 9192), state)) == []
        assert [move.phase for move in state_of(cluster).moves] == [Phase.COPYING]
        until_so(cluster, lambda: others(cluster, "shard0") and others(cluster, "shard1"))
        for shard in ("shard0", "shard1"):
            cluster.start_shard(fail_over(cluster, shard))
            wait_whole(cluster)
        until(cluster)
        assert copies_of_last(cluster)[1] is Phase.COMMITTED
        check_whole(cluster, client)
