"""Durable shards as real daemons: restarts, limits, a full disk, and who may use a data directory."""

from __future__ import annotations

import resource
import signal
import time
from pathlib import Path

import pytest
from functional.cluster import HOST, TWISTD, Cluster, NewCluster, in_thread, listens, run, until
from ports import free_port

from pyshard import Pyshard
from pyshard.errors import ShardFull, StorageFailed, Unavailable

pytestmark = pytest.mark.functional

_URL = "https://example.com/" + "x" * 8192
_BIG = b"\x00" * (16 * 1024 * 1024 - 100)


def restart(cluster: Cluster, number: int) -> None:
    """End every shard with a signal, and start them again."""
    for daemon in cluster.shards:
        daemon.end(number)
    cluster.start()


def fill(app: Pyshard) -> int:
    """Write documents until the shard is full; the key that didn't fit."""
    for number in range(10_000):
        try:
            app.write(number, "x" * 100)
        except ShardFull:
            return number
    raise AssertionError("the shard has no limit")


def write_until_failure(app: Pyshard) -> list[str]:
    """Write large documents until the disk takes no more; the keys of those that were written."""
    written: list[str] = []
    for number in range(100):
        try:
            app.write(f"large{number}", b"x" * 50_000)
        except StorageFailed:
            return written
        written.append(f"large{number}")
    raise AssertionError("the disk has no end")


@pytest.mark.parametrize("number", [pytest.param(signal.SIGTERM, marks=pytest.mark.long), signal.SIGKILL])
def test_everything_is_there_after_a_restart(new_cluster: NewCluster, number: int) -> None:
    """Documents, long keys, large documents, indexes, versions and expiries survive an end of any kind."""
    cluster = new_cluster(2, durable=True)
    cluster.start()
    with Pyshard(cluster.server) as app:
        app.create_index("pages")
        app.write(_URL, {"n": 1}, "pages")
        app.write("empty", "")
        app.write("big", _BIG)
        app.write("soon gone", 1, ttl=0.2)
        app.write("kept for a while", 2, ttl=1000)
        app.increment("count", 2**80)
        before = {key: app.item(key) for key in ("empty", "kept for a while", "count")}
        stat = app.stat()["shards"]
        restart(cluster, number)
        time.sleep(0.2)
        assert app.read(_URL, "pages") == {"hash_": app.item(_URL, "pages")["hash_"], "record": {"n": 1}}  # type: ignore[index]  # it is there
        assert [app.read(key)["record"] for key in ("empty", "big", "count")] == ["", _BIG, 2**80]  # type: ignore[index]  # as above
        assert app.read("soon gone") is None
        for key, item in before.items():
            again = app.item(key)
            assert item is not None
            assert again is not None
            assert {**again, "ttl": None} == {**item, "ttl": None}
        assert app.write("empty", 1) == 28
        newer, older = app.item("empty"), before["empty"]
        assert newer is not None
        assert older is not None
        assert newer["version"] > older["version"]
        assert isinstance(stat, list)
        again_stat = app.stat()["shards"]
        assert isinstance(again_stat, list)
        assert [one["id"] for one in again_stat] == [one["id"] for one in stat]


@pytest.mark.long
def test_a_dropped_index_stays_dropped(new_cluster: NewCluster) -> None:
    """An index that is dropped and created again is empty, also when a shard was away meanwhile."""
    cluster = new_cluster(2, durable=True)
    cluster.start()
    with Pyshard(cluster.server) as app:
        app.create_index("pages")
        keys = [*cluster.keys(0, 5, "pages"), *cluster.keys(1, 5, "pages")]
        for key in keys:
            app.write(key, 1, "pages")
        cluster.shards[0].kill()
        app.drop_index("pages")
        app.create_index("pages")
        cluster.start()
        assert [app.has(key, "pages") for key in keys] == [False] * 10


def test_the_limit_holds_over_restarts(new_cluster: NewCluster) -> None:
    """A shard that is full is full after a restart too, and room that is given back is there again, to the byte."""
    cluster = new_cluster(1, size=10_000, durable=True)
    cluster.start()
    with Pyshard(cluster.server) as app:
        number = fill(app)
        restart(cluster, signal.SIGKILL)
        with pytest.raises(ShardFull):
            app.write(number, "x" * 100)
        assert app.remove(0) == 149
        assert app.write(0, "x" * 100) == 149
        with pytest.raises(ShardFull):
            app.write(number, "x" * 100)


def test_a_full_disk(new_cluster: NewCluster) -> None:
    """When the file can't grow, writers are told and nothing is half written; reads go on, and writes when it can."""
    cluster = new_cluster(1, durable=True)
    cluster.start()
    with Pyshard(cluster.server) as app:
        app.write("before", "here")
        data = cluster.folder / "data-a" / "records" / "data.mdb"
        process = cluster.shards[0].pid
        resource.prlimit(process, resource.RLIMIT_FSIZE, (data.stat().st_size + 200_000, resource.RLIM_INFINITY))
        written = write_until_failure(app)
        assert app.read("before") == {"hash_": app.item("before")["hash_"], "record": "here"}  # type: ignore[index]  # it is there
        assert written
        assert all(app.has(key) for key in written)
        assert not app.has(f"large{len(written)}")
        resource.prlimit(process, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert app.write("after", "here") == 53
        restart(cluster, signal.SIGKILL)
        assert sorted(app.keys()) == sorted(["before", "after", *written])


@pytest.mark.long
def test_one_process_for_one_directory(new_cluster: NewCluster) -> None:
    """A second shard on a directory in use ends with one line; the first goes on."""
    cluster = new_cluster(1, durable=True)
    cluster.start()
    port = free_port()
    second = run(
        cluster.folder,
        cluster.environment,
        TWISTD,
        "-n",
        "--pidfile=",
        "pyshard-shard",
        f"--port={port}",
        "--data-dir=data-a",
    )
    assert second.returncode != 0
    assert len(second.stderr.splitlines()) == 1
    assert "another process uses this data directory" in second.stderr
    with Pyshard(cluster.server) as app:
        assert app.write("test", "hello world") == 60


def test_a_shard_without_its_data_is_refused(new_cluster: NewCluster) -> None:
    """A shard that comes back with another directory, or in memory, doesn't stand in for the one with the data."""
    cluster = new_cluster(2, durable=True)
    cluster.start()
    key = cluster.keys(0, 1)[0]
    with Pyshard(cluster.server) as app:
        app.write(key, "here")
        cluster.shards[0].kill()
        (cluster.folder / "data-a").rename(cluster.folder / "elsewhere")
        cluster.shards[0].start()
        detail = cluster.wait_states("refused", "ready")[0]["detail"]
        assert "start the shard with its own data" in detail
        with pytest.raises(Unavailable):
            app.read(key, deadline=1)
        cluster.shards[0].kill()
        for path in sorted((cluster.folder / "data-a").rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (cluster.folder / "data-a").rmdir()
        (cluster.folder / "elsewhere").rename(cluster.folder / "data-a")
        cluster.start()
        assert app.has(key)


def test_daemonized(cluster: Cluster, tmp_path: Path) -> None:
    """Twistd's ordinary way into the background suits a durable shard: the directory stays locked, and is let go."""
    port, pid = free_port(), tmp_path / "durable.pid"
    command = [TWISTD, f"--pidfile={pid}", "--logfile=durable.log", "pyshard-shard", f"--port={port}", "--data-dir=own"]
    started = run(tmp_path, cluster.environment, *command)
    assert (started.returncode, started.stderr) == (0, "")
    try:
        in_thread(lambda: until(lambda: listens(port), f"{HOST}:{port} listens"))
        again = run(
            tmp_path,
            cluster.environment,
            *command[:1],
            "--pidfile=",
            *command[2:-2],
            f"--port={free_port()}",
            "--data-dir=own",
        )
        assert "another process uses this data directory" in again.stderr
    finally:
        run(tmp_path, cluster.environment, "kill", pid.read_text())
        in_thread(lambda: until(lambda: not pid.exists(), "its end"))
