"""Backups that are taken at members of a shard with replicas: a state that the shard had, and restored as it was."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from backup_clusters import OpenStore, cluster_of, open_snapshots, put_back, take
from twisted.internet.defer import Deferred

from pyshard.backup import verify
from pyshard.errors import NotConfigured
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_times import of_lease
from pyshard.shard.service import ShardService
from pyshard.testing import MemoryCluster

LEASE = 1.0
BOUND = of_lease(LEASE).staleness
DOCUMENTS = {f"key {number}": number for number in range(300)}


def group_of(cluster: MemoryCluster) -> ReplicaGroup:
    """The only shard's."""
    group = cluster.state.map.shards[0].group
    assert group is not None
    return group


def services(cluster: MemoryCluster) -> dict[str, ShardService]:
    """The processes by their addresses."""
    return {f"{host}:{port}": cluster.services[name] for name, (host, port) in cluster.processes.items()}


@pytest.fixture
def cluster(store: OpenStore | None) -> Iterator[MemoryCluster]:
    """A shard with three replicas, all of which are members, with documents; some of these have a time to live."""
    with MemoryCluster(1, replicas=3, lease=LEASE, store=store) as made:
        for _ in range(100):
            made.advance(0.1)
            if not group_of(made).learners:
                break
        client = made.connect()
        made.run(client.create_index("pages"))
        made.run(client.write_many(DOCUMENTS))
        made.run(client.write_many({"lives": 1}, "pages", ttl=1000))
        made.run(client.write_many({"dies": 1, "dies, too": 2}, ttl=1.5))
        made.advance(2.0)
        yield made


def opened_at(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses at which snapshots are opened from now on."""
    found: list[str] = []
    for address, service in services(cluster).items():
        snapshot = service.shard.store.snapshot

        def note(address: str = address, snapshot: object = snapshot) -> object:
            found.append(address)
            return snapshot()  # type: ignore[operator]

        monkeypatch.setattr(service.shard.store, "snapshot", note)
    return found


def connected(cluster: MemoryCluster) -> dict[str, int]:
    """How many connections each process has."""
    return {address: len(service.factory.connections) for address, service in services(cluster).items()}


def restored(directory: Path, now: float) -> dict[str, object]:
    """The documents of the default index that come back at a time."""
    with cluster_of(2, now=now) as (other, client):
        put_back(other, client, directory)
        keys = list(DOCUMENTS)
        documents: list[Any] = other.run(client.get_many(keys))
        assert other.run(client.get("lives", index="pages")) == 1
        assert other.run(client.count()) == len(DOCUMENTS)
        return dict(zip(keys, documents, strict=True))


def test_at_a_member(cluster: MemoryCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A member gives all that is committed, without what has expired. No snapshot stays open, and no connection."""
    client = cluster.connect()
    cluster.run(client.stat())
    cluster.advance(1.0)
    found, connections = opened_at(cluster, monkeypatch), connected(cluster)
    made = take(cluster, client, tmp_path / "backup", from_replicas=True)
    assert len(found) == 1
    assert found[0] in group_of(cluster).others
    assert made.documents == len(DOCUMENTS) + 1
    verify(tmp_path / "backup")
    assert restored(tmp_path / "backup", cluster.clock.seconds()) == DOCUMENTS
    cluster.advance(1.0)
    assert open_snapshots(cluster) == [0, 0, 0]
    assert connected(cluster) == connections


def test_at_the_primary_by_default(cluster: MemoryCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is asked but the primary, unless that is wanted."""
    found = opened_at(cluster, monkeypatch)
    take(cluster, cluster.connect(), tmp_path / "backup")
    assert found == [group_of(cluster).primary]


def hear_nothing(cluster: MemoryCluster, address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a member hear nothing of its primary and of the bootstrap any more."""
    shard = services(cluster)[address].shard
    assert shard.replica is not None
    assert shard.replica._connection is not None
    monkeypatch.setattr(shard.replica._connection[1], "pull", lambda _: Deferred())
    monkeypatch.setattr(shard, "configure", lambda *_: Deferred())
    cluster.advance(0)


def test_members_that_can_not(cluster: MemoryCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no member knows that its documents are new enough, or none is there, the primary gives its own."""
    client = cluster.connect()
    gone, deaf = sorted(group_of(cluster).others)
    hear_nothing(cluster, deaf, monkeypatch)
    host, port = gone.split(":")
    cluster.kill_shard(next(name for name, place in cluster.processes.items() if place == (host, int(port))))
    cluster.advance(2 * BOUND)
    found = []
    for address in (deaf, group_of(cluster).primary):
        snapshot = services_there(cluster)[address].shard.store.snapshot

        def note(address: str = address, snapshot: object = snapshot) -> object:
            found.append(address)
            return snapshot()  # type: ignore[operator]

        monkeypatch.setattr(services_there(cluster)[address].shard.store, "snapshot", note)
    take(cluster, client, tmp_path / "backup", from_replicas=True)
    assert found == [group_of(cluster).primary]
    assert restored(tmp_path / "backup", cluster.clock.seconds()) == DOCUMENTS


def services_there(cluster: MemoryCluster) -> dict[str, ShardService]:
    """As `services`, of the processes that run."""
    return {
        f"{host}:{port}": cluster.services[name]
        for name, (host, port) in cluster.processes.items()
        if name in cluster.services
    }


def test_what_is_not_committed(cluster: MemoryCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A change that a member has, and that isn't on all of them, isn't in its snapshot."""
    client, writer = cluster.connect(), cluster.connect()
    cluster.run(writer.has("key"))
    first, second = sorted(group_of(cluster).others)
    hear_nothing(cluster, second, monkeypatch)
    host, port = second.split(":")
    cluster.network.cut(host, int(port))
    cluster.network.listeners.pop((host, int(port)))  # so that the other one gives the snapshot
    written = writer.write("key 0", -1, deadline=20)
    cluster.advance(0.2)
    store = services(cluster)[first].shard.store
    assert store.position.sequence > store.committed
    take(cluster, client, tmp_path / "backup", from_replicas=True)
    assert restored(tmp_path / "backup", cluster.clock.seconds()) == DOCUMENTS
    cluster.run(written)


def test_a_learner_gives_nothing(cluster: MemoryCluster) -> None:
    """Its snapshot would lack documents; nor does a member for whoever doesn't say that it takes what is old."""
    name = next(
        name for name, (host, port) in cluster.processes.items() if f"{host}:{port}" == min(group_of(cluster).others)
    )
    shard = cluster.services[name].shard
    assert shard.replica is not None
    with pytest.raises(NotConfigured):
        shard.replica.answer(Deferred, changes=False)
    cluster.kill_shard(name)
    cluster.run(cluster.connect().write("key", 1, deadline=20))
    cluster.start_shard(name)
    why = set()
    for _ in range(2000):
        replica = cluster.services[name].shard.replica
        assert replica is not None
        if replica.is_one_of_several:
            try:
                replica.check_read()
            except NotConfigured as error:
                why.add(str(error))
            else:
                break
        cluster.advance(0.005)
    assert "this replica hasn't all documents of the shard yet; ask the primary" in why
    assert cluster.services[name].shard.store.documents >= len(DOCUMENTS)
