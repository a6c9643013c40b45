"""Who can read what real daemons and the command write: nobody but the user who runs them, whatever the umask."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from functional.cluster import HOST, Cluster, Daemon, NewCluster, answers, listens, run, shard, until, write_config
from functional.shell import COMMAND
from ports import free_port

from pyshard import Pyshard

pytestmark = pytest.mark.functional


@pytest.fixture(params=[0o000, pytest.param(0o022, marks=pytest.mark.long)])
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    """A umask that the processes have."""
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def exposed(folder: Path, *names: str) -> list[str]:
    """Which of these, and of what is in them, others than their owner can get at."""
    found = [each for name in names for each in [folder / name, *(folder / name).rglob("*")]]
    assert len(found) >= len(names)
    return [str(each.relative_to(folder)) for each in found if stat.S_IMODE(each.stat().st_mode) & 0o077]


@pytest.mark.long
def test_daemons_and_backups(new_cluster: NewCluster, umask: int) -> None:
    """Data directories, the state, logs and backups are their owner's alone, when they are new and after restarts."""
    cluster = new_cluster(durable=True)
    cluster.start()
    with Pyshard(cluster.server) as app:
        app.write_many((str(number), "x" * 1000) for number in range(1000))
        app.create_index("pages")
    cluster.folder.chmod(0o755)  # where others may write, a backup is refused
    made = run(cluster.folder, cluster.environment, *COMMAND, "backup", "--bootstrap", cluster.server, "kept")
    assert (made.returncode, made.stderr) == (0, "")
    for daemon in cluster.daemons:
        assert daemon.end() == 0
    cluster.start()
    mine = ("data-a", "data-b", "etc/shards.state", "etc/shards.state.lock", "kept", "a.log", "b.log", "bootstrap.log")
    assert exposed(cluster.folder, *mine) == []


@pytest.fixture
def up(environment: Mapping[str, str], tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts `up` with options."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*options: str) -> subprocess.Popen[bytes]:
        command = [*COMMAND, "up", *options]
        process = subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_up(up: Callable[..., subprocess.Popen[bytes]], tmp_path: Path, umask: int) -> None:
    """What `up` and its daemons write into their two directories is their owner's alone."""
    shards = [shard("a", 0.0, 0.5, free_port()), shard("b", 0.5, 1.0, free_port())]
    write_config(tmp_path / "etc" / "shards.json", shards, free_port())
    process = up("--config", "etc/shards.json", "--run-dir", "run", "--data-dir", "data")
    assert process.stdout is not None
    text = b""
    while b"Ctrl-C ends the cluster" not in text:
        line = process.stdout.readline()
        assert line, text
        text += line
    open_to_others = exposed(tmp_path, "run", "data")
    assert [name for name in open_to_others if not name.endswith(".pid")] == []  # those have nothing but a number
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory to another user")
def test_up_in_another_users_directory(up: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    """A run directory of another user is refused, and a link that was planted there isn't followed."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "run").mkdir()
    for name in ("up.lock", "up.log", "shards.json", "shard0-0.5.log"):
        (tmp_path / "run" / name).symlink_to(victim)
    os.chown(tmp_path / "run", 65534, 65534)
    process = up("--run-dir", "run")
    out, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert (
        out
        == (
            f"pyshard: --run-dir: {tmp_path / 'run'} belongs to another user (65534), who could plant links in it; "
            "expected a directory of your own, below your own and root's; choose another\n"
        ).encode()
    )
    assert victim.read_text() == "precious"


@pytest.mark.parametrize("guarded", [True, False])
def test_a_directory_that_is_open(
    daemons: list[Daemon], environment: Mapping[str, str], tmp_path: Path, guarded: bool
) -> None:
    """A data directory that others get into is told once, with the command that mends it, where there are tokens."""
    tokens, port, data = tmp_path / "tokens", free_port(), tmp_path / "data"
    tokens.write_text("admin the-secret-of-an-admin")
    tokens.chmod(0o600)
    guard = [f"--token-file={tokens}"] if guarded else []
    shard = Daemon(
        tmp_path, "shard", port, environment, "pyshard-shard", f"--port={port}", f"--data-dir={data}", *guard
    )
    daemons.append(shard)
    told = f"data directory {data}: found mode 0755, with which others than its owner get into it, expected 0700: "
    for mode in (None, 0o755, None):
        if mode is not None:
            data.chmod(mode)
        shard.start()
        until(lambda: answers(port), "it answers")
        assert shard.end() == 0
        warnings = [line for line in shard.log().splitlines() if told in line]
        assert len(warnings) == (guarded and mode is not None)
        for line in warnings:
            subprocess.run(["sh", "-c", line.rpartition(": ")[2]], check=True)
        (tmp_path / "shard.log").unlink()


def test_another_user_cannot_lock_it(cluster_of_one: Cluster) -> None:
    """The file whose lock holds a data directory can't be opened by others, so only its owner can hold the lock."""
    lock = cluster_of_one.folder / "data-a" / "lock"
    assert stat.S_IMODE(lock.stat().st_mode) == 0o600
    if os.geteuid() == 0:
        tried = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", str(lock)],
            capture_output=True,
            check=False,
        )
        assert b"Permission denied" in tried.stderr


@pytest.fixture
def cluster_of_one(new_cluster: NewCluster) -> Cluster:
    """A durable shard, running."""
    made = new_cluster(1, durable=True)
    made.shards[0].start()
    until(lambda: listens(made.shards[0].port), f"it listens on {HOST}")
    return made
