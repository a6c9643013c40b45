"""Backups: what is written is what the cluster had, it serves meanwhile, and a backup that fails is none."""

from __future__ import annotations

import errno
import json
import random
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest
from backups import (
    PLENTY,
    OpenStore,
    at_once,
    cluster_of,
    contents_of,
    fill,
    open_snapshots,
    put_back,
    rows_in,
    stored_in,
    take,
)
from blocks import tagged
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from pyshard.backup import Restored, backup, manifest, verify
from pyshard.backup.writing import RecordsFile
from pyshard.batch import Row, Write
from pyshard.cluster import from_json
from pyshard.errors import (
    BackupFailed,
    ClientClosed,
    NotConfigured,
    SnapshotEnded,
    TooManySnapshots,
    Unavailable,
)
from pyshard.hashing import slot_of
from pyshard.settings import settings
from pyshard.storage import DataDirectory, Durability, ISnapshot, IStore, LmdbStore, Task


@pytest.fixture(params=["memory", "lmdb"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore | None:
    """What opens each kind of store, for `MemoryCluster`."""
    if request.param == "memory":
        return None
    return lambda name, seconds: LmdbStore(DataDirectory(tmp_path / "data" / name), seconds, None, Durability.NONE)


@pytest.fixture
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let snapshots have many small pages."""
    monkeypatch.setattr("pyshard.shard.snapshots.settings", attrs.evolve(settings, SNAPSHOT_BYTES=2000))


# -- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "after"), [(1, 1), (2, 3), (3, 1), (1, 4)])
def test_there_and_back(store: OpenStore | None, tmp_path: Path, before: int, after: int) -> None:
    """A backup, restored into a cluster of as many shards or of others, gives the same documents, index by index."""
    progress: list[tuple[int, int]] = []

    def told(*how_far: int) -> None:
        progress.append((how_far[0], how_far[1]))

    with cluster_of(before, store) as (cluster, client):
        expected = fill(cluster, client)
        made = take(cluster, client, tmp_path / "backup", progress=told)
        assert contents_of(cluster, client) == expected
        assert (made.documents, made.cluster, made.epoch) == (300, cluster.state.cluster, cluster.state.epoch)
        assert progress == sorted(progress)
        assert progress[-1] == (300, 300)
        assert open_snapshots(cluster) == [0] * before
    assert verify(tmp_path / "backup") == made
    with cluster_of(after) as (cluster, client):
        progress.clear()
        assert put_back(cluster, client, tmp_path / "backup", progress=told) == Restored(300, 0)
        assert contents_of(cluster, client) == expected
        assert cluster.run(client.indexes()) == ["links", "no-documents", "pages"]
        assert progress == sorted(progress)
        assert progress[-1] == (300, 300)


def test_into_another_kind_of_store(store: OpenStore | None, tmp_path: Path) -> None:
    """A backup of shards in memory can be restored into durable ones; a backup of those is the same again."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client)
        take(cluster, client, tmp_path / "one")
    with cluster_of(2, store) as (cluster, client):
        put_back(cluster, client, tmp_path / "one")
        take(cluster, client, tmp_path / "two")
    for name in ("0-shard0.records", "1-shard1.records"):
        one, two = rows_in(tmp_path / "one" / name), rows_in(tmp_path / "two" / name)
        assert Counter(row.record for row in one) == Counter(row.record for row in two)


def test_empty_cluster(tmp_path: Path) -> None:
    """A cluster without documents has a backup too."""
    with cluster_of(2) as (cluster, client):
        made = take(cluster, client, tmp_path / "backup")
        assert [(one.documents, one.bytes) for one in made.files] == [(0, 0), (0, 0)]
    with cluster_of(1) as (cluster, client):
        assert put_back(cluster, client, tmp_path / "backup") == Restored(0, 0)
        assert contents_of(cluster, client) == {}


def test_records_are_opaque(tmp_path: Path) -> None:
    """Records that this version can't decode, and keys of any text and length, come back byte by byte."""
    rows = [Row(0, chr(number).encode() * (number * 128), 0, bytes([255 - number, number])) for number in range(256)]
    task = Task(Write("", [one.key for one in rows], [one.record for one in rows]), 0, [slot_of(x.key) for x in rows])
    with cluster_of(1) as (cluster, client):
        at_once(cluster.services["shard0"].shard.store.apply([task], PLENTY, PLENTY))
        take(cluster, client, tmp_path / "backup")
    with cluster_of(1) as (cluster, client):
        put_back(cluster, client, tmp_path / "backup")
        assert stored_in(cluster.services["shard0"].shard.store, {}) == sorted(rows, key=lambda row: row.key)


def test_files(tmp_path: Path) -> None:
    """A backup has the manifest, the cluster state and a file for each shard, and nothing else."""
    (tmp_path / "backup").mkdir()  # an empty directory may be there
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        made = take(cluster, client, tmp_path / "backup")
        state = cluster.state
    names = ["0-shard0.records", "1-shard1.records", "cluster.json", "manifest.json"]
    assert sorted(one.name for one in (tmp_path / "backup").iterdir()) == names
    assert [one.name for one in made.files] == names[:2]
    assert made.bytes == sum((tmp_path / "backup" / name).stat().st_size for name in names[:3])
    text = json.loads((tmp_path / "backup/manifest.json").read_text())
    assert (text["format"], text["cluster"], text["epoch"]) == (1, state.cluster, state.epoch)
    assert re.fullmatch(r"1970-01-12T13:46:\d\dZ", text["date"])
    assert set(text["files"][0]) == {"name", "shard", "documents", "bytes", "sha256"}
    assert from_json((tmp_path / "backup/cluster.json").read_bytes()) == state


@pytest.mark.parametrize(
    ("shard", "name"),
    [("a-1.b_c", "3-a-1.b_c.records"), ("../../x", "3-.._.._x.records"), ("é ß\n", "3-____.records")],
)
def test_names_of_files(shard: str, name: str) -> None:
    """Whatever a shard is called, its file has a plain name in the backup's directory."""
    assert manifest.records_name(3, shard) == name


def test_reader_in_the_docs(tmp_path: Path) -> None:
    """The reader in docs/backup.md, made from that page alone, reads what was written."""
    with cluster_of(2) as (cluster, client):
        expected = fill(cluster, client, 30)
        take(cluster, client, tmp_path / "backup")
    (text,) = tagged("docs/backup.md", "run: python")
    scope: dict[str, Any] = {}
    exec(compile(text, "docs/backup.md", "exec"), scope)
    found = {(index, key.decode()): expires for index, key, expires, _ in scope["read_backup"](tmp_path / "backup")}
    assert found == {place: expires for place, (_, expires) in expected.items()}


# -- while the cluster serves ---------------------------------------------------------------------------------------


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
    """No shard is read before every shard has its snapshot, so that they are of nearly one moment."""
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


def test_shard_that_is_about_to_be_configured(tmp_path: Path) -> None:
    """A shard that the bootstrap has not told its place yet is waited for."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        snapshots: Any = cluster.services["shard1"].snapshots
        original, waiting = snapshots.open, [NotConfigured("not yet"), NotConfigured("not yet")]

        def opened(owner: object) -> Any:
            if waiting:
                raise waiting.pop()
            return original(owner)

        snapshots.open = opened
        assert take(cluster, client, tmp_path / "backup").documents == 30
        assert open_snapshots(cluster) == [0, 0]


def test_shard_that_stays_behind(tmp_path: Path) -> None:
    """While a shard doesn't come to the cluster's epoch there is no backup, and the error says which one."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        epoch = cluster.state.epoch
        assert cluster.bootstrap is not None
        keeper = cluster.bootstrap.bootstrap
        keeper.state = keeper.state.with_index("late")  # and nobody is told
        with pytest.raises(Unavailable, match=rf"no snapshot of the whole cluster.*'shard1': {epoch}"):
            take(cluster, client, tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
        assert open_snapshots(cluster) == [0, 0]


# -- backups that fail ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("left", ["manifest.json", "0-shard0.records", "something else"])
def test_directory_in_use(tmp_path: Path, left: str) -> None:
    """A directory with anything in it is refused and left as it is."""
    (tmp_path / left).write_text("precious")
    with cluster_of(1) as (cluster, client):
        with pytest.raises(BackupFailed, match=re.escape(repr(left))):
            take(cluster, client, tmp_path)
        with pytest.raises(BackupFailed, match=re.escape(str(tmp_path / left))):
            take(cluster, client, tmp_path / left)
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [(left, "precious")]


def test_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full ends the backup, which takes away what it wrote."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client)
        written = 0

        class Full:
            def __init__(self, file: Any) -> None:
                self._file = file

            def write(self, data: bytes) -> None:
                nonlocal written
                written += len(data)
                if written > 1_000_000:
                    raise OSError(errno.ENOSPC, "No space left on device")
                self._file.write(data)

            def __getattr__(self, name: str) -> Any:
                return getattr(self._file, name)

        original = RecordsFile.__init__

        def made(self: Any, *given: Any) -> None:
            original(self, *given)
            self._file = Full(self._file)

        monkeypatch.setattr(RecordsFile, "__init__", made)
        with pytest.raises(BackupFailed, match=r"-shard\d.records: can't be written \(No space left on device\)"):
            take(cluster, client, tmp_path / "backup")
        cluster.advance(0.1)
        assert open_snapshots(cluster) == [0, 0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("small_pages")
def test_connection_lost(tmp_path: Path) -> None:
    """A shard whose connection breaks has lost its snapshot: the backup fails, and nothing of it is left."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client)
        pages = []

        def progress(done: int, total: int) -> None:
            pages.append(done)
            if len(pages) == 3:
                cluster.clock.callLater(0, cluster.network.cut, "127.0.0.1", 5051)

        with pytest.raises(SnapshotEnded, match="start the backup again"):
            take(cluster, client, tmp_path / "backup", progress=progress)
        cluster.advance(0.1)
        assert open_snapshots(cluster) == [0, 0]
        assert not (tmp_path / "backup").exists()
        assert take(cluster, client, tmp_path / "backup").documents == 300


@pytest.mark.usefixtures("small_pages")
def test_one_failure_ends_all(tmp_path: Path) -> None:
    """When the backup of one shard has failed, no further page of the others is asked for."""
    told = []

    def progress(done: int, total: int) -> None:
        told.append(done)
        if len(told) == 5:
            raise RuntimeError("no progress")

    with cluster_of(3) as (cluster, client):
        fill(cluster, client)
        with pytest.raises(RuntimeError, match="no progress"):
            take(cluster, client, tmp_path / "backup", progress=progress)
        assert len(told) <= 7  # two pages were under way
    assert not (tmp_path / "backup").exists()


def test_unreachable_shard(tmp_path: Path) -> None:
    """Without one of its shards a cluster has no backup."""
    (tmp_path / "backup").mkdir()
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        cluster.kill_shard("shard1")
        with pytest.raises(Unavailable, match="'shard1'"):
            take(cluster, client, tmp_path / "backup")
        cluster.advance(0.1)
        assert open_snapshots(cluster) == [0]
    assert list((tmp_path / "backup").iterdir()) == []


@pytest.mark.usefixtures("small_pages")
def test_shard_killed_on_the_way(tmp_path: Path) -> None:
    """A shard that is gone while it is read, and doesn't come back, ends the backup."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client)

        def progress(done: int, total: int) -> None:
            if ("127.0.0.1", 5050) in cluster.network.listeners:
                cluster.clock.callLater(0, cluster.network.cut, "127.0.0.1", 5050)
                del cluster.network.listeners["127.0.0.1", 5050]

        with pytest.raises(Unavailable, match="'shard0'"):
            take(cluster, client, tmp_path / "backup", progress=progress)
        assert open_snapshots(cluster) == [0, 0]
        assert not (tmp_path / "backup").exists()


def test_too_many_backups(tmp_path: Path) -> None:
    """Where one shard has no room for a further snapshot, the others' are closed."""
    with cluster_of(2) as (cluster, client):
        for _ in range(settings.MAX_SNAPSHOTS):
            cluster.services["shard1"].snapshots.open("somebody")
        with pytest.raises(TooManySnapshots):
            take(cluster, client, tmp_path / "backup")
        cluster.advance(0.1)
        assert open_snapshots(cluster) == [0, settings.MAX_SNAPSHOTS]
        assert not (tmp_path / "backup").exists()


@pytest.mark.usefixtures("small_pages")
def test_map_that_outgrows_the_backup(tmp_path: Path) -> None:
    """A durable shard whose map must grow ends the backup; the next one has everything."""

    def small(name: str, seconds: Callable[[], float]) -> LmdbStore:
        return LmdbStore(DataDirectory(tmp_path / "data" / name), seconds, None, Durability.NONE, 1 << 18)

    with cluster_of(1, small) as (cluster, client):
        cluster.run(gatherResults([client.write(number, "x" * 300) for number in range(300)]))
        taking = backup(client, tmp_path / "backup", seconds=cluster.clock.seconds)
        for number in range(300):
            client.write(number, "y" * 3000)
        with pytest.raises(SnapshotEnded, match="outgrew its map"):
            cluster.run(taking)
        assert not (tmp_path / "backup").exists()
        assert take(cluster, client, tmp_path / "backup").documents == 300


def test_fewer_documents_than_announced(tmp_path: Path) -> None:
    """A shard that doesn't give what it said it has is noticed."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        found: Any = cluster.services["shard0"].shard.store
        original = found.snapshot

        def snapshot() -> ISnapshot:
            one: ISnapshot = original()
            one.documents += 1
            return one

        found.snapshot = snapshot
        with pytest.raises(BackupFailed, match="'shard0' said that it has"):
            take(cluster, client, tmp_path / "backup")


def test_client_closed(tmp_path: Path) -> None:
    """A client that is closed ends its backup."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        taking = backup(client, tmp_path / "backup")
        client.close()
        with pytest.raises(ClientClosed):
            cluster.run(taking)
        assert not (tmp_path / "backup").exists()


# -- times to live --------------------------------------------------------------------------------------------------


def test_expiry_is_carried(store: OpenStore | None, tmp_path: Path) -> None:
    """A document is gone at the moment at which it would have been; one that is over by then isn't restored."""
    with cluster_of(2, store) as (cluster, client):
        for number in range(10):
            cluster.run(client.write(number, number, ttl=10.0 + 10 * number))
        cluster.run(client.write("stays", 1))
        began = cluster.clock.seconds()
        cluster.clock.advance(15)
        made = take(cluster, client, tmp_path / "backup")
        assert made.documents == 10
    with cluster_of(3, now=began + 40) as (cluster, client):
        expected = {("", "stays"): (1, 0)} | {
            ("", str(number)): (number, int((began + 10 + 10 * number) * 1000)) for number in range(4, 10)
        }
        progress: list[tuple[int, int]] = []
        restored = put_back(
            cluster, client, tmp_path / "backup", progress=lambda done, total: progress.append((done, total))
        )
        assert restored == Restored(7, 3)  # that of 40 s is over at this very moment
        assert progress[-1] == (10, 10)
        assert contents_of(cluster, client) == expected
        cluster.advance(60)
        assert set(contents_of(cluster, client)) == {("", "stays")}
