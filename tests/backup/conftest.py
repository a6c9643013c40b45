"""What tests of backups share."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from backup_clusters import OpenStore, cluster_of, take

from pyshard.settings import settings
from pyshard.storage import DataDirectory, Durability, LmdbStore


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore | None:
    """Opens a store of each kind, for `MemoryCluster`."""
    if request.param == "memory":
        return None
    return lambda name, seconds: LmdbStore(DataDirectory(tmp_path / "data" / name), seconds, None, Durability.NONE)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let snapshots have many small pages."""
    monkeypatch.setattr("pyshard.shard.open_snapshots.settings", attrs.evolve(settings, SNAPSHOT_BYTES=2000))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small backup, which no test may change."""
    directory = tmp_path_factory.mktemp("made") / "backup"
    with cluster_of(2) as (cluster, client):
        for name in ("pages", "links"):
            cluster.run(client.create_index(name))
        for number in range(12):
            cluster.run(client.write(number, number, (None, "pages")[number % 2], ttl=(None, 100.0)[number % 2]))
        take(cluster, client, directory)
    return directory
