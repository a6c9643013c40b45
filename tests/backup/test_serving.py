"""Backups while the cluster serves: each shard as it was at one moment."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from backup_clusters import OpenStore, cluster_of, fill, open_snapshots, put_back, rows_in, stored_in, take
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from pyshard.backup import backup
from pyshard.errors import NotConfigured, Overloaded, PyshardError, Unavailable
from pyshard.model.cluster_state_json import from_json
from pyshard.protocol.pages import Row
from pyshard.storage import ISnapshot, IStore


@pytest.mark.parametrize("shards", [1, 3])
@pytest.mark.usefixtures("small_pages")
def test_backup_under_load(store: OpenStore | None, tmp_path: Path, shards: int) -> None:
    """While documents are written and removed, and an index dropped, each file is what its shard had at one moment."""
    chance = random.Random(2)
    changes = 0
    moments: dict[str, list[Row]] = {}
    with cluster_of(shards, store) as (cluster, client):
        fill(cluster, client, 10)
        cluster.run(gatherResults([client.write(number, "x" * 100) for number in range(500)]))

        def remembered(name: str, found: IStore) -> Callable[[], ISnapshot]:
            original = found.snapshot

            def snapshot() -> ISnapshot:
                moments[name] = stored_in(found, dict(cluster.state.indexes))
                return original()

            return snapshot

        for name, service in cluster.services.items():
            monkey: Any = service.shard.store
            monkey.snapshot = remembered(name, service.shard.store)

        taking = backup(client, tmp_path / "backup", seconds=cluster.clock.seconds)

        async def load() -> int:
            changes = 0
            while not taking.called:
                work: list[Deferred[Any]] = []
                for _ in range(20):
                    key, index = chance.randrange(1000), chance.choice([None, "pages"])
                    if chance.random() < 0.5:
                        work.append(client.write(key, changes, index, ttl=chance.choice([None, 50.0])))
                    else:
                        work.append(client.remove(key, index))
                    changes += 1
                await gatherResults(work)
                if changes == 100:
                    await client.drop_index("links")
                    await client.create_index("later")
                await deferLater(cluster.clock, 0)
            return changes

        changes = cluster.run(load())
        made = cluster.run(taking)
        assert changes >= 200, "the backup was over before there was a load"
        assert sorted(cluster.state.indexes) == ["later", "no-documents", "pages"]
        after = {
            name: stored_in(one.shard.store, dict(cluster.state.indexes)) for name, one in cluster.services.items()
        }
    assert len(moments) == shards
    for entry in made.files:
        assert rows_in(tmp_path / "backup" / entry.name) == moments[entry.shard] != after[entry.shard]
    assert sorted(from_json((tmp_path / "backup/cluster.json").read_bytes()).indexes) == [
        "links",
        "no-documents",
        "pages",
    ]
    with cluster_of(2) as (cluster, client):
        assert put_back(cluster, client, tmp_path / "backup").documents == sum(map(len, moments.values()))


def test_all_snapshots_come_first(tmp_path: Path) -> None:
    """No snapshot is read before all are open, so their moments are close together."""
    order = []
    with cluster_of(3) as (cluster, client):
        fill(cluster, client, 30)
        for service in cluster.services.values():
            snapshots: Any = service.snapshots
            for name in ("open", "read"):

                def noted(*given: Any, name: str = name, original: Any = getattr(snapshots, name)) -> Any:  # noqa: B008
                    order.append(name)
                    return original(*given)

                setattr(snapshots, name, noted)
        take(cluster, client, tmp_path / "backup")
    assert order[:4] == ["open", "open", "open", "read"]
    assert "open" not in order[4:]


def test_one_epoch(tmp_path: Path) -> None:
    """When the cluster changes while snapshots are opened, they are opened anew: all are of the epoch in the backup."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        other = cluster.connect()
        found: Any = cluster.services["shard0"].shard.store
        original = found.snapshot
        opened = 0

        def snapshot() -> ISnapshot:
            nonlocal opened
            opened += 1
            if opened == 1:
                other.create_index("late")
            taken: ISnapshot = original()
            return taken

        found.snapshot = snapshot
        made = take(cluster, client, tmp_path / "backup")
        assert opened == 2
        assert made.epoch == cluster.state.epoch
        assert open_snapshots(cluster) == [0, 0]
    assert "late" in from_json((tmp_path / "backup/cluster.json").read_bytes()).indexes


@pytest.mark.parametrize("error", [NotConfigured("not yet"), Overloaded("too much to do")])
def test_shard_that_refuses_for_the_moment(tmp_path: Path, error: PyshardError) -> None:
    """A backup waits for a shard that the bootstrap hasn't configured yet, or that has too much to do."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        snapshots: Any = cluster.services["shard1"].snapshots
        original, waiting = snapshots.open, [error, error]

        def opened(*given: object) -> Any:
            if waiting:
                raise waiting.pop()
            return original(*given)

        snapshots.open = opened
        assert take(cluster, client, tmp_path / "backup").documents == 30
        assert open_snapshots(cluster) == [0, 0]


def test_shard_that_stays_behind(tmp_path: Path) -> None:
    """A backup fails while a shard stays at an older epoch; the error names the shard."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        epoch = cluster.state.epoch
        assert cluster.bootstrap is not None
        keeper = cluster.bootstrap.bootstrap
        known = keeper.changes.known
        assert known is not None
        keeper.changes.known = attrs.evolve(known, state=known.state.with_index("late"))  # and nobody is told
        with pytest.raises(Unavailable, match=rf"no snapshot of the whole cluster.*'shard1': {epoch}"):
            take(cluster, client, tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
        assert open_snapshots(cluster) == [0, 0]
