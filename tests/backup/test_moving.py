"""Backups while a range moves: each document is in one of the files once, whenever the backup begins and ends."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
from backup_clusters import OpenStore, put_back, rows_in, take
from moving import DOCS, MOVING, QUARTER, filled, owner, plan, state_of, until
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from pyshard.backup import Manifest, backup
from pyshard.client import Client
from pyshard.model.cluster_state_json import from_json
from pyshard.model.key_slots import slot_of
from pyshard.model.range_moves import Phase
from pyshard.model.slot_ranges import in_ranges
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

#: More documents.
MANY = {f"many {number}": 0 for number in range(500)}


@pytest.fixture
def cluster(store: OpenStore | None, monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryCluster]:
    """Two shards, 5 ms away, which take some time to give a range up, and serve others meanwhile."""
    monkeypatch.setattr("pyshard.shard.shard._COUNTED", 20)
    with filled(store) as made:
        made.run(made.connect().write_many(MANY))
        for shard in state_of(made).map.shards:
            made.network.delay(shard.host, shard.port, 0.005)
            made.services[shard.name].shard.pause = lambda: deferLater(made.clock, 0.005)
        yield made


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client of it."""
    return cluster.connect()


@pytest.fixture(autouse=True)
def many_backups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let any number of snapshots be open, with pages of a hundred documents and more."""
    limits = attrs.evolve(settings, SNAPSHOT_BYTES=5000)
    monkeypatch.setattr("pyshard.shard.open_snapshots.settings", limits)
    monkeypatch.setattr("pyshard.shard.open_snapshots.refusal", lambda *_: "")


def keys_in(directory: Path, made: Manifest) -> list[str]:
    """All keys of a backup, sorted; each is in the file of the shard that the backup's own state has for it."""
    shards = {shard.name: shard for shard in from_json((directory / "cluster.json").read_bytes()).map.shards}
    found = []
    for entry in made.files:
        keys = [row.key for row in rows_in(directory / entry.name)]
        assert all(in_ranges(slot_of(key), shards[entry.shard].ranges) for key in keys)
        found += keys
    return sorted(key.decode() for key in found)


def test_backups_all_the_time(cluster: MemoryCluster, client: Client, tmp_path: Path) -> None:
    """Begun at any moment of a move, and of the one back: nothing is missing, and nothing is there twice."""
    taking: list[tuple[Path, Deferred[Manifest]]] = []
    epochs = set()
    for _ in range(2):
        plan(cluster, *(("shard0", "shard1") if owner(cluster) == "shard0" else ("shard1", "shard0")))
        last = None
        while moves := state_of(cluster).moves:
            # Often around the commit, and now and then else: they take their time.
            if moves[0].phase is not last or moves[0].phase is not Phase.COPYING or len(taking) % 50 == 0:
                directory = tmp_path / f"backup {len(taking)}"
                taking.append((directory, backup(client, directory, seconds=cluster.clock.seconds)))
            last = moves[0].phase
            cluster.advance(0.012)
            assert len(taking) < 500
    made = cluster.run(gatherResults([each for _, each in taking]), 600)
    for (directory, _), manifest in zip(taking, made, strict=True):
        epochs.add(manifest.epoch)
        assert keys_in(directory, manifest) == sorted([*DOCS, *MANY])
    assert len(epochs) == 3
    assert len(taking) > 15


def test_a_backup_that_goes_on_across_moves(
    cluster: MemoryCluster, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has what was there when it began, though the range has moved away, its records are removed, and it is back."""
    monkeypatch.setattr("pyshard.shard.open_snapshots.settings", attrs.evolve(settings, SNAPSHOT_BYTES=200))
    taking = backup(client, tmp_path / "backup", seconds=cluster.clock.seconds)
    cluster.advance(0.03)  # its snapshots are open
    assert all(len(service.snapshots) for service in cluster.services.values())
    for shard in state_of(cluster).map.shards:
        cluster.network.delay(shard.host, shard.port, 0.05)
    written = client.write_many(dict.fromkeys(MOVING, "later"))
    plan(cluster)
    until(cluster, Phase.COMMITTED)
    until(cluster)
    plan(cluster, "shard1", "shard0")
    until(cluster)
    assert not taking.called
    made = cluster.run(taking, 600)
    cluster.run(written)
    assert keys_in(tmp_path / "backup", made) == sorted([*DOCS, *MANY])
    assert cluster.run(client.get_many(MOVING)) == ["later"] * len(MOVING)
    with MemoryCluster(3) as other:
        client_there = other.connect()
        put_back(other, client_there, tmp_path / "backup")
        assert other.run(client_there.get_many(list(DOCS))) == list(DOCS.values())
        assert other.run(client_there.count()) == len(DOCS) + len(MANY)


def test_a_backup_of_what_is_sealed(cluster: MemoryCluster, client: Client, tmp_path: Path) -> None:
    """What is sealed is the source's until it is decided, and so in its file."""
    plan(cluster)
    until(cluster, Phase.SEALING)
    cluster.stop_bootstrap()
    cluster.advance(1)
    taking = backup(client, tmp_path / "backup", seconds=cluster.clock.seconds)
    cluster.advance(0.1)
    cluster.start_bootstrap()
    made = cluster.run(taking, 600)
    until(cluster)
    assert keys_in(tmp_path / "backup", made) == sorted([*DOCS, *MANY])
    again = take(cluster, client, tmp_path / "again")
    assert again.epoch >= made.epoch
    assert keys_in(tmp_path / "again", again) == sorted([*DOCS, *MANY])
    assert cluster.services["shard0"].shard.store.ranges.owned == ((0, QUARTER[0][0]),)
