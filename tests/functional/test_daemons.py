"""The daemons as processes: put into the background, stopped by a signal."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from functional.cluster import (
    HOST,
    PATIENCE,
    TWISTD,
    Cluster,
    NewCluster,
    listens,
    run,
    shard,
    until,
    write_config,
)
from ports import free_port

from pyshard import Pyshard, PyshardError
from pyshard.settings import settings

pytestmark = pytest.mark.functional


@contextmanager
def background(folder: Path, environment: Mapping[str, str], *arguments: str) -> Iterator[int]:
    """A daemon that twistd put into the background; its pid."""
    folder.mkdir()
    ran = run(folder, environment, TWISTD, *arguments)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")
    pid = int((folder / "twistd.pid").read_text())
    try:
        yield pid
    finally:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def test_background(environment: Mapping[str, str], tmp_path: Path) -> None:
    """Both commands go into the background with exit code 0 and serve; a signal ends them, pid file and all."""
    port, bootstrap_port = free_port(), free_port()
    write_config(tmp_path / "etc" / "shards.json", [shard("all", 0, 1, port)], bootstrap_port)
    folders = tmp_path / "shard", tmp_path / "bootstrap"
    with (
        background(folders[0], environment, "pyshard-shard", "--port", str(port)) as shard_pid,
        background(folders[1], environment, "pyshard-bootstrap", "--config", "../etc/shards.json") as bootstrap_pid,
    ):
        with Pyshard([HOST, bootstrap_port], deadline=PATIENCE) as app:
            assert app.write("test", "hello world") == 60
            assert app.read("test") == {"hash_": 0.1671936, "record": "hello world"}
        os.kill(shard_pid, signal.SIGTERM)
        os.kill(bootstrap_pid, signal.SIGTERM)
        logs = [folder / "twistd.log" for folder in folders]
        until(lambda: not any((one / "twistd.pid").exists() for one in folders), "the daemons end")
        # twistd removes the file before it logs its last line.
        until(lambda: all("Server Shut Down" in log.read_text() for log in logs), "they log that they have ended")
    assert not listens(port)
    assert not listens(bootstrap_port)
    for folder in folders:
        assert "Traceback" not in (folder / "twistd.log").read_text()
        assert [one.name for one in folder.iterdir()] == ["twistd.log"]
    left = sorted(one.name for one in (tmp_path / "etc").iterdir())
    assert left == ["shards.json", "shards.state", "shards.state.lock"]


def test_terminate(cluster: Cluster) -> None:
    """SIGTERM ends each daemon in order, with exit code 0 within 10 s, while clients are connected and busy."""
    stop = threading.Event()

    def busy(app: Pyshard) -> None:
        while not stop.is_set():
            with suppress(PyshardError):
                app.write("test", "hello world", deadline=0.2)
                app.write("test1", "hello world", deadline=0.2)

    with Pyshard(cluster.server) as idle, Pyshard(cluster.server) as other:
        idle.write("test", 1)
        idle.write("test1", 1)
        thread = threading.Thread(target=busy, args=(other,))
        thread.start()
        try:
            for daemon in reversed(cluster.daemons):
                began = time.monotonic()
                assert daemon.end(signal.SIGTERM) == 0
                assert time.monotonic() - began < 10
                assert not daemon.pid_file.exists()
                assert "Server Shut Down" in daemon.log()
        finally:
            stop.set()
            thread.join()


def test_start_order(new_cluster: NewCluster) -> None:
    """A bootstrap may come first, and says who is missing; shards may come first, and wait."""
    bootstrap_first, shards_first = new_cluster(), new_cluster()
    bootstrap_first.bootstrap.start()
    for daemon in shards_first.shards:
        daemon.start()
    states = bootstrap_first.wait_states("unreachable", "unreachable")
    assert [(state["name"], state["address"]) for state in states] == [
        (daemon.name, f"{HOST}:{daemon.port}") for daemon in bootstrap_first.shards
    ]
    assert all(state["detail"] for state in states)
    for daemon in shards_first.shards:
        daemon.wait_listening()
    for each in (bootstrap_first, shards_first):
        each.start()
        with Pyshard(each.server, deadline=PATIENCE) as app:
            assert app.write("test", 1) == 28
            assert app.write("test1", 1) == 28


def test_client_first(new_cluster: NewCluster) -> None:
    """A client that comes before its cluster waits for it until the deadline, then works or says who is missing."""
    cluster = new_cluster()
    with pytest.raises(PyshardError, match=r"gave no answer within 0\.3 s"):
        Pyshard(cluster.server, deadline=0.3)
    outcomes: list[int] = []

    def early() -> None:
        with Pyshard(cluster.server, deadline=PATIENCE) as app:
            outcomes.append(app.write("test", "hello world"))

    thread = threading.Thread(target=early)
    thread.start()
    cluster.start()
    thread.join()
    assert outcomes == [60]


def test_help(environment: Mapping[str, str], tmp_path: Path) -> None:
    """twistd lists both commands, and each one's help names its options."""
    listed = run(tmp_path, environment, TWISTD, "--help").stdout
    assert "pyshard-shard" in listed
    assert "pyshard-bootstrap" in listed
    shard_help = run(tmp_path, environment, TWISTD, "pyshard-shard", "--help").stdout
    assert f"[default: {settings.SHARD_PORT}]" in shard_help
    assert "--config" in run(tmp_path, environment, TWISTD, "pyshard-bootstrap", "--help").stdout
