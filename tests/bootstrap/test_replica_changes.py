"""Operators' changes of replicas, through the bootstrap of a cluster in memory."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from twisted.internet.defer import Deferred

from pyshard.client.layout_client import LayoutClient
from pyshard.errors import BadRequest, OutcomeUnknown, Unavailable
from pyshard.model.replica_group import ReplicaGroup
from pyshard.testing import MemoryCluster

FIRST, SECOND, THIRD = "127.0.0.1:5050", "127.0.0.1:5150", "127.0.0.1:5250"


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """A shard with three members, and twenty documents."""
    with MemoryCluster(1, replicas=3, lease=1.0) as made:
        made.advance(5)
        assert len(group_of(made).members) == 3
        client = made.connect(deadline=20)
        for number in range(20):
            made.run(client.write(f"key {number}", {"number": number}))
        yield made


def group_of(cluster: MemoryCluster) -> ReplicaGroup:
    """The shard's replicas, by the cluster's state."""
    group = cluster.state.map.shards[0].group
    assert group is not None
    return group


def operator(cluster: MemoryCluster) -> LayoutClient:
    """Who asks the bootstrap."""
    return LayoutClient(cluster.connect(deadline=20))


def change(cluster: MemoryCluster, address: str, change: str, force: bool = False, shard: str = "shard0") -> None:
    """Have the group changed."""
    cluster.run(operator(cluster).change_replicas(shard, address, change, force))


def test_list(cluster: MemoryCluster) -> None:
    """Who leads, how far the others are, and since when one is away."""
    cluster.kill_shard("shard0.3")
    cluster.advance(5)
    (group,) = cluster.run(operator(cluster).replicas())
    assert (group.shard, group.least, group.lease) == ("shard0", 2, 1.0)
    assert [(each.address, each.role, each.answers, each.behind) for each in group.replicas] == [
        (FIRST, "primary", True, 0),
        (SECOND, "member", True, 0),
        (THIRD, "learner", False, group.replicas[2].behind),
    ]
    assert (group.replicas[2].seconds or 0) > 4


def test_switch(cluster: MemoryCluster) -> None:
    """Nothing fails, nothing is lost, and the pause is short; the old primary is a member."""
    client = cluster.connect(deadline=20)
    slowest = [0.0]

    def write(number: int) -> None:
        began = cluster.clock.seconds()

        def written(_: int) -> None:
            slowest[0] = max(slowest[0], cluster.clock.seconds() - began)
            if number < 100:
                cluster.clock.callLater(0.01, write, number + 1)

        client.write(f"meanwhile {number}", {}).addCallback(written)

    write(1)
    change(cluster, SECOND, "switch")
    assert group_of(cluster).primary == SECOND
    cluster.advance(5)
    assert group_of(cluster).members == {FIRST, SECOND, THIRD}
    assert cluster.run(client.count()) == 120
    assert slowest[0] < 0.3


def test_switch_to_one_that_is_away(cluster: MemoryCluster) -> None:
    """The primary goes on, and whoever asked is told why."""
    cluster.kill_shard("shard0.2")
    with pytest.raises(
        Unavailable, match=r"replica 127\.0\.0\.1:5150 gives no answer, so 127\.0\.0\.1:5050 still leads"
    ):
        change(cluster, SECOND, "switch")
    assert group_of(cluster).primary == FIRST


def test_switch_that_takes_too_long(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """The member's disk hangs: it is a member no more, and the primary goes on, and takes changes again."""
    monkeypatch.setattr(cluster.services["shard0.2"].shard.store, "append", lambda _: Deferred())
    waiting = cluster.connect(deadline=20).write("waits", {})
    waiting.addErrback(lambda failure: failure.trap(OutcomeUnknown))  # the group changes meanwhile
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:5150 hadn't all in time, so 127\.0\.0\.1:5050 still leads"):
        change(cluster, SECOND, "switch")
    cluster.run(waiting)
    cluster.run(cluster.connect(deadline=20).write("still", {}))
    assert group_of(cluster).primary == FIRST
    assert SECOND not in group_of(cluster).members


def test_switch_without_the_primary(cluster: MemoryCluster) -> None:
    """It can't be told; another one leads by itself soon."""
    cluster.kill_shard("shard0")
    with pytest.raises(Unavailable, match=r"the primary of shard 'shard0', at 127\.0\.0\.1:5050, can't be reached"):
        change(cluster, SECOND, "switch")


def test_remove(cluster: MemoryCluster) -> None:
    """The replica is gone for good, though it runs; a second one goes only by force, and changes go on all the same."""
    change(cluster, THIRD, "remove")
    cluster.advance(5)
    assert [replica.address for replica in group_of(cluster).replicas] == [FIRST, SECOND]
    with pytest.raises(BadRequest, match="--force"):
        change(cluster, SECOND, "remove")
    change(cluster, SECOND, "remove", force=True)
    cluster.run(cluster.connect(deadline=20).write("alone", {}))
    assert group_of(cluster).members == {FIRST}


def test_promote(cluster: MemoryCluster) -> None:
    """When the others are gone, a learner leads with what it has; whoever comes back becomes a copy of it."""
    with pytest.raises(BadRequest, match=r"the primary 127\.0\.0\.1:5050 answers"):
        change(cluster, THIRD, "promote", force=True)
    cluster.kill_shard("shard0.3")
    cluster.advance(3)
    cluster.kill_shard("shard0.2")
    cluster.advance(3)
    assert group_of(cluster).members == {FIRST}
    cluster.kill_shard("shard0")
    cluster.start_shard("shard0.3")  # without documents, and nobody gives it any
    cluster.advance(3)
    with pytest.raises(BadRequest, match="--accept-loss"):
        change(cluster, THIRD, "promote")
    change(cluster, THIRD, "promote", force=True)
    assert group_of(cluster).primary == THIRD
    assert group_of(cluster).members == {THIRD}
    cluster.start_shard("shard0.2")
    cluster.advance(5)
    assert group_of(cluster).members == {SECOND, THIRD}
    client = cluster.connect(deadline=20)
    cluster.run(client.write("after", {}))
    assert cluster.run(client.count()) == 1, "what the others had is lost, as was said"


@pytest.mark.parametrize(
    ("shard", "address", "kind", "why"),
    [
        ("shard9", FIRST, "switch", "shard: found 'shard9', expected one of the cluster's map"),
        ("shard0", FIRST, "switch", "which leads already"),
        ("shard0", "h:1", "switch", "expected one of the other members"),
        ("shard0", FIRST, "dance", "change: found 'dance', expected switch, remove or promote"),
    ],
)
def test_refused(cluster: MemoryCluster, shard: str, address: str, kind: str, why: str) -> None:
    """In one line, which says what was expected."""
    with pytest.raises(BadRequest, match=why):
        change(cluster, address, kind, shard=shard)


def test_shard_without_replicas() -> None:
    """It says how it would get some."""
    with MemoryCluster(1) as cluster:
        assert cluster.run(operator(cluster).replicas()) == []
        with pytest.raises(BadRequest, match="shard 'shard0' has no replicas; add some by the config"):
            change(cluster, FIRST, "remove")
