"""Backups that fail: their errors, and that nothing is left of them."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from backup_clusters import cluster_of, fill, open_snapshots, take
from deferreds import watch
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from pyshard.backup import backup
from pyshard.backup.new_backup import RecordsFile
from pyshard.backup.taking import SizeBound, check_pace
from pyshard.errors import BackupFailed, ClientClosed, ShardFull, SnapshotEnded, TooManySnapshots, Unavailable
from pyshard.protocol.pages import Row
from pyshard.settings import settings
from pyshard.shard.snapshot_limits import SnapshotPeer
from pyshard.storage import DataDirectory, Durability, ISnapshot, LmdbStore


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
    """A full disk ends the backup, which removes its files."""
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
        with pytest.raises(BackupFailed, match=r"-shard\d.records: found no room on its disk \(No space left on d"):
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
            cluster.services["shard1"].snapshots.open("somebody", SnapshotPeer(None, admin=True))
        with pytest.raises(TooManySnapshots):
            take(cluster, client, tmp_path / "backup")
        cluster.advance(0.1)
        assert open_snapshots(cluster) == [0, settings.MAX_SNAPSHOTS]
        assert not (tmp_path / "backup").exists()


@pytest.mark.usefixtures("small_pages")
def test_map_that_outgrows_the_backup(tmp_path: Path) -> None:
    """A durable shard whose map must grow ends the backup; the next one has everything."""

    def small(name: str, seconds: Callable[[], float]) -> LmdbStore:
        return LmdbStore(DataDirectory(tmp_path / "data" / name), seconds, None, Durability.NONE, 1 << 18, 100)

    with cluster_of(1, small) as (cluster, client):
        cluster.run(gatherResults([client.write(number, "x" * 300) for number in range(300)]))
        taking = backup(client, tmp_path / "backup", seconds=cluster.clock.seconds)
        for number in range(1200):  # in more than one change, since it is the next one that brings them into LMDB
            client.write(number % 300, "y" * 3000)
        with pytest.raises(SnapshotEnded, match="outgrew its map"):
            cluster.run(taking)
        assert not (tmp_path / "backup").exists()
        assert take(cluster, client, tmp_path / "backup").documents == 300


def test_fewer_documents_than_announced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that gives fewer documents than it announced ends the backup."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        found: Any = cluster.services["shard0"].shard.store
        original = found.snapshot

        def snapshot() -> ISnapshot:
            one: ISnapshot = original()
            count = one.count()
            monkeypatch.setattr(one, "count", lambda: count and count + 1)
            return one

        found.snapshot = snapshot
        with pytest.raises(BackupFailed, match="'shard0' said that it has"):
            take(cluster, client, tmp_path / "backup")


@pytest.mark.parametrize(
    ("documents", "size", "refused"),
    [(0, 0, False), (9000, 1_152_000, False), (9001, 0, True), (0, 1_152_001, True), (2**62, 0, True)],
)
def test_what_a_shard_can_have(documents: int, size: int, refused: bool) -> None:
    """A file has at most the bytes of the shard's size and an eighth of it; a document counts 128 of them."""
    bound = SizeBound("shard0", 1_024_000)
    if refused:
        with pytest.raises(
            BackupFailed, match=f"'shard0' gives more than it can have: {documents:,} documents, {size:,}"
        ):
            bound.check(documents, size)
    else:
        bound.check(documents, size)


@pytest.mark.parametrize(("announced", "pages"), [(2**62, 0), (7_000, 8)])
def test_a_shard_that_gives_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, announced: int, pages: int
) -> None:
    """A shard can't fill the disk: it is stopped at what its size allows, before anything beyond it is written."""
    written: list[int] = []
    original = RecordsFile.write_block

    def write_block(file: RecordsFile, payload: bytes, documents: int) -> None:
        original(file, payload, documents)
        written.append(file.size)

    with cluster_of(1, size=900_000) as (cluster, client):
        found: Any = cluster.services["shard0"].shard.store
        snapshot = found.snapshot

        def hostile() -> ISnapshot:
            one: ISnapshot = snapshot()
            monkeypatch.setattr(one, "count", lambda: announced)
            monkeypatch.setattr(one, "page", lambda *_: [Row(0, b"k", 0, bytes(126_000))])
            return one

        found.snapshot = hostile
        monkeypatch.setattr(RecordsFile, "write_block", write_block)
        with pytest.raises(BackupFailed, match="'shard0' gives more than it can have"):
            take(cluster, client, tmp_path / "backup")
        assert len(written) == pages
        assert max(written, default=0) <= 900_000 * 9 / 8
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize(
    ("given", "waited", "refused"),
    [
        (0, 3660, False),
        (0, 3661, True),
        (settings.SNAPSHOT_PACE, 3661, False),
        (settings.SNAPSHOT_PACE * 10_000, 13_660, False),
        (settings.SNAPSHOT_PACE * 10_000, 13_661, True),
    ],
)
def test_what_a_shard_has_to_give(given: int, waited: float, refused: bool) -> None:
    """A least pace on the average, beside a minute, and an hour in which it may look for what has not expired."""
    if refused:
        slow = rf"'shard0' gives its documents too slowly: {given:,} bytes in {waited:,} s, expected at least 262,144 a"
        with pytest.raises(BackupFailed, match=slow):
            check_pace("shard0", given, waited)
    else:
        check_pace("shard0", given, waited)


def test_a_shard_that_drips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that gives a row just before each page would be too late keeps a backup from its end for an hour."""
    with cluster_of(2) as (cluster, client):
        found: Any = cluster.services["shard0"].shard.store
        snapshot = found.snapshot
        given: list[float] = []

        def hostile() -> ISnapshot:
            one: ISnapshot = snapshot()
            monkeypatch.setattr(one, "count", lambda: 1_000_000)
            return one

        def drip(*_: object) -> Deferred[list[Row]]:
            given.append(cluster.clock.seconds())
            return deferLater(cluster.clock, 29, lambda: [Row(0, b"k", 0, b"")])

        found.snapshot = hostile
        monkeypatch.setattr(cluster.services["shard0"].snapshots, "read", drip)
        taking = watch(backup(client, tmp_path / "backup"))
        for _ in range(200):
            cluster.advance(29)
        [failed] = taking
        assert isinstance(failed, BackupFailed)
        assert "'shard0' gives its documents too slowly" in str(failed)
        assert len(given) == 127
    assert not (tmp_path / "backup").exists()


@pytest.mark.parametrize("record", [b"", bytes(2000)])
def test_a_full_shard_is_backed_up(tmp_path: Path, record: bytes) -> None:
    """What a shard can have is no less than what it takes."""
    with cluster_of(1, size=30_000) as (cluster, client):

        async def work() -> None:
            for number in range(1000):
                await client.write(number, record.hex(), ttl=60)

        with pytest.raises(ShardFull):
            cluster.run(work())
        assert take(cluster, client, tmp_path / "backup").documents == cluster.run(client.count())


def test_client_closed(tmp_path: Path) -> None:
    """A client that is closed ends its backup."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        taking = backup(client, tmp_path / "backup")
        client.close()
        with pytest.raises(ClientClosed):
            cluster.run(taking)
        assert not (tmp_path / "backup").exists()
