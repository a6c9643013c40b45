"""Signals to real daemons, their logs, and the pid files that killed ones leave."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from certificates import Certificates
from functional.cluster import HOST, PATIENCE, TWISTD, Cluster, Daemon, NewCluster, answers, listens, run, until
from functional.load import Load
from ports import free_port

from pyshard import Pyshard

pytestmark = pytest.mark.functional


def token_file(path: Path, *secrets: str) -> Path:
    """A token file with some admins' secrets; it takes the place of the one before at once."""
    new = path.with_name("tokens.new")
    new.write_text("".join(f"admin {secret}\n" for secret in secrets))
    new.chmod(0o600)
    return new.replace(path)


def test_usr2_drains(new_cluster: NewCluster) -> None:
    """SIGUSR2 under full load: the daemon ends in order, with exit code 0, and no call fails or is unknown."""
    cluster = new_cluster(durable=True)
    cluster.start()
    load = Load(cluster, True)
    load.start()
    for daemon in (cluster.shards[0], cluster.bootstrap):
        load.wait_for_work()
        assert daemon.end(signal.SIGUSR2) == 0
        assert "Received SIGUSR2, shutting down." in daemon.log()
        daemon.start()
        cluster.wait_ready()
    load.wait_for_work()
    load.stop()
    assert load.troubles == {}


def test_hup_and_usr1_under_load(new_cluster: NewCluster) -> None:
    """SIGHUP and SIGUSR1, many of them, to daemons under load: no call fails, and nobody ends."""
    cluster = new_cluster()
    cluster.start()
    load = Load(cluster, False)
    load.start()
    load.wait_for_work()
    for number in (signal.SIGHUP, signal.SIGUSR1) * 10:
        for daemon in cluster.daemons:
            daemon.send(number)
        time.sleep(0.02)
    load.wait_for_work()
    load.stop()
    assert load.troubles == {}
    assert all(daemon.running for daemon in cluster.daemons)


@pytest.fixture
def shard(daemons: list[Daemon], environment: Mapping[str, str], tmp_path: Path) -> Iterator[Daemon]:
    """A shard with tokens and TLS, which isn't started yet; its files are in `tmp_path`."""
    token_file(tmp_path / "tokens", "the-old-secret-of-admins")
    files = Certificates(tmp_path).daemon
    port = free_port()
    guard = ["--token-file=tokens", f"--tls-ca={files.ca}", f"--tls-certificate={files.certificate}"]
    made = Daemon(
        tmp_path, "shard", port, environment, "pyshard-shard", f"--port={port}", *guard, f"--tls-key={files.key}"
    )
    daemons.append(made)
    yield made
    made.kill()


def lines(path: Path) -> list[str]:
    """The lines of a log, without time and source, and without those of this test's own probes."""
    found = [line.partition("] ")[2] for line in path.read_text().splitlines()]
    return [line for line in found if "without having sent a byte" not in line]


def test_logrotate(shard: Daemon, tmp_path: Path) -> None:
    """After its log was moved away, SIGHUP has a daemon log into a new file; tokens and certificates are read again."""
    shard.start()
    shard.wait_listening()
    log, tokens = tmp_path / "shard.log", tmp_path / "tokens"
    moved = log.rename(tmp_path / "shard.log.old")
    token_file(tokens, "the-new-secret-of-admins")
    shard.send(signal.SIGHUP)
    until(lambda: log.exists() and len(lines(log)) == 2, "both were read again")
    assert lines(log) == ["TLS: the certificates were read again", f"token file {tokens}: read again, 1 tokens"]
    assert lines(moved)[-1] == "Received SIGHUP, reading tokens and certificates again."
    assert shard.end() == 0
    assert "Received SIGTERM, shutting down." in log.read_text()
    assert "SIGTERM" not in moved.read_text()


def test_broken_files(shard: Daemon, tmp_path: Path) -> None:
    """Files that can't be used leave those before in force, and cost one line each; the daemon goes on."""
    shard.start()
    shard.wait_listening()
    log, tokens, key = tmp_path / "shard.log", tmp_path / "tokens", tmp_path / "daemon.key"
    tokens.write_text("nonsense")
    good = key.read_bytes()
    key.write_text("nonsense")
    shard.send(signal.SIGHUP)
    until(lambda: lines(log)[-1].endswith("stay valid"), "both were tried")
    found = lines(log)
    assert found[found.index("Received SIGHUP, reading tokens and certificates again.") + 1 :] == [
        f"TLS key {key}: found no private key in PEM that can be read, expected one; what was read before stays in "
        "force",
        f"token file {tokens}, line 1: found one word, expected a role and a secret; 'pyshard token' makes a line; the "
        "tokens that it had before stay valid",
    ]
    key.write_bytes(good)
    token_file(tokens, "the-new-secret-of-admins")
    shard.send(signal.SIGHUP)
    until(lambda: lines(log)[-1].endswith("read again, 1 tokens"), "they were read again")
    assert shard.end() == 0


def test_usr1_rotates(cluster: Cluster) -> None:
    """SIGUSR1 puts the log aside, as twistd has it."""
    shard, folder = cluster.shards[0], cluster.folder
    shard.send(signal.SIGUSR1)
    until((folder / "a.log.1").exists, "the log was put aside")
    assert shard.end() == 0
    assert "listening on" in (folder / "a.log.1").read_text()
    assert "shutting down" in (folder / "a.log").read_text()


def test_health_checks(new_cluster: NewCluster) -> None:
    """Ninety connections that close at once, with and without a reset, leave the log as small as it was."""
    cluster = new_cluster(1)
    cluster.start()
    shard = cluster.shards[0]
    before = len(shard.log())
    for number in range(90):  # an address may have a hundred that come to nothing
        with socket.create_connection((HOST, shard.port), PATIENCE) as check:
            if number % 2:
                check.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    with Pyshard(cluster.server) as app:
        app.write("a", 1)
    text = shard.log()[before:]
    assert len(text) < 1000
    assert text.count("closed without having sent a byte") == 1
    assert "connection c92 from" in text, "each check was a connection"


def test_sizes_of_logs(daemons: list[Daemon], environment: Mapping[str, str], tmp_path: Path) -> None:
    """--log-size and --log-count bound a daemon's log."""
    port = free_port()
    options = ["--log-size=2000", "--log-count=2"]
    shard = Daemon(tmp_path, "shard", port, environment, "pyshard-shard", f"--port={port}", *options)
    daemons.append(shard)
    shard.start()
    shard.wait_listening()
    for _ in range(100):
        with socket.create_connection((HOST, port), PATIENCE) as peer:
            peer.sendall(b"\0")
    until((tmp_path / "shard.log.2").exists, "logs were put aside")
    assert shard.end() == 0
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("shard.log*")}
    assert set(sizes) == {"shard.log", "shard.log.1", "shard.log.2"}
    assert max(sizes.values()) < 2300


# -- terminals ------------------------------------------------------------------------------------------------------


def test_the_terminal_goes(environment: Mapping[str, str], tmp_path: Path) -> None:
    """A daemon in the foreground of a terminal drains when the terminal is closed."""
    port = free_port()
    here, there = pty.openpty()
    command = [TWISTD, "--nodaemon", "--pidfile=", "--logfile=shard.log", "pyshard-shard", f"--port={port}"]
    process = subprocess.Popen(
        ["setsid", "--ctty", *command], cwd=tmp_path, env=environment, stdin=there, stdout=there, stderr=there
    )
    os.close(there)
    try:
        until(lambda: listens(port) or process.poll() is not None, "it listens")
        os.close(here)
        assert process.wait(PATIENCE) == 0
        assert "The terminal has gone, shutting down." in (tmp_path / "shard.log").read_text()
    finally:
        process.kill()
        process.wait()


# -- pid files ------------------------------------------------------------------------------------------------------


@pytest.mark.long
@pytest.mark.parametrize("plugin", ["pyshard-shard", "pyshard-bootstrap"])
def test_a_pid_file_that_names_the_daemon_itself(
    environment: Mapping[str, str], tmp_path: Path, plugin: str, cluster: Cluster
) -> None:
    """In a container a killed daemon has the same id again: it starts nevertheless."""
    port = free_port()
    options = {"pyshard-shard": f"--port={port}", "pyshard-bootstrap": "--config=etc/shards.json"}
    shell = f'echo $$ > own.pid; exec "{TWISTD}" --nodaemon --pidfile=own.pid --logfile=own.log {plugin} "$@"'
    listen = f"--listen=tcp:{port}:interface={HOST}"
    arguments = [options[plugin], *([listen, "--state=own.state"] if plugin == "pyshard-bootstrap" else [])]
    process = subprocess.Popen(["sh", "-c", shell, "sh", *arguments], cwd=cluster.folder, env=environment)
    try:
        until(lambda: answers(port) or process.poll() is not None, "it answers")
        log = (cluster.folder / "own.log").read_text()
        assert "own.pid names this very process: removed, since its daemon was killed" in log
        assert (cluster.folder / "own.pid").read_text() == str(process.pid)
    finally:
        process.terminate()
        assert process.wait(PATIENCE) == 0
    assert not (cluster.folder / "own.pid").exists()


@pytest.mark.long
def test_a_pid_file_of_a_daemon_that_runs(cluster: Cluster, environment: Mapping[str, str]) -> None:
    """A second daemon with the pid file of one that runs is refused, as twistd has it, and the file stays."""
    pid = cluster.shards[0].pid_file.read_text()
    command = [TWISTD, "--nodaemon", "--pidfile=a.pid", "pyshard-shard", f"--port={free_port()}"]
    refused = run(cluster.folder, environment, *command)
    assert refused.returncode == 1
    assert f"Another twistd server is running, PID {pid}" in refused.stderr
    assert cluster.shards[0].pid_file.read_text() == pid
