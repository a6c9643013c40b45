"""Daemons as services: what systemd hears of real ones, their logs as JSON, and how they behave as process 1."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from functional.cluster import HOST, PATIENCE, TWISTD, NewCluster, answers, in_thread, until
from notify_socket import NotifySocket
from ports import free_port

from pyshard import Pyshard
from pyshard.errors import NotAuthenticated

pytestmark = pytest.mark.functional

#: Parts of keys, documents and tokens: none may stand in a log.
KEY, DOCUMENT, SECRET, WRONG = (
    "xylophone-key",
    "zeppelin-document",
    "the-secret-of-an-admin-quagga",
    "wrong-secret-okapi",
)


def test_systemd_and_json(new_cluster: NewCluster, tmp_path: Path) -> None:
    """systemd hears when daemons are ready, how they fare and that they stop; their logs are JSON, without any data.

    A shard is ready before a bootstrap has configured it.
    """
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text(f"admin {SECRET}\n")
    wrong = tmp_path / "wrong"
    wrong.touch(0o600)
    wrong.write_text(f"admin {WRONG}\n")
    name = f"\0pyshard-test-{os.getpid()}"
    with NotifySocket(name) as systemd:
        first = new_cluster(1, token_file=tokens)
        notified = {**first.environment, "NOTIFY_SOCKET": "@" + name[1:], "WATCHDOG_USEC": "400000"}
        cluster = new_cluster(1, durable=True, token_file=tokens, environment=notified)
        (shard,) = cluster.shards
        for daemon in cluster.daemons:
            daemon.add_option("--log-format=json")
        shard.add_option("--slow-operation=1")
        shard.start()
        assert systemd.wait(PATIENCE) == "READY=1\nSTATUS=waits for a bootstrap that configures it\nWATCHDOG=1"
        assert answers(shard.port)
        assert systemd.wait(PATIENCE) == "WATCHDOG=1"
        cluster.start()
        systemd_hears = partial(hears, systemd, [])
        until(partial(systemd_hears, "READY=1\nSTATUS=epoch "), "the bootstrap is ready")
        until(partial(systemd_hears, "STATUS=shard a, epoch "), "the shard is configured")
        until(partial(systemd_hears, " 1 of 1 shards ready"), "the bootstrap's status")
        in_thread(lambda: use(cluster.server, tokens, wrong))
        until(partial(systemd_hears, ", 500 documents"), "the shard's status")
        shard.send(signal.SIGTERM)
        until(partial(systemd_hears, "STOPPING=1\nSTATUS=draining\nWATCHDOG=1"), "the shard stops")
        assert (shard.wait(), cluster.bootstrap.end()) == (0, 0)
    for daemon in cluster.daemons:
        lines = [json.loads(line) for line in daemon.log().splitlines()]
        assert all({"time", "level", "namespace", "message"} <= line.keys() for line in lines)
        for part in (KEY, DOCUMENT, SECRET, WRONG):
            assert part not in daemon.log()
    check_lines([json.loads(line) for line in shard.log().splitlines()])


def hears(systemd: NotifySocket, heard: list[str], part: str) -> bool:
    """Whether systemd has heard something.

    :param heard: all that it has.
    """
    heard += systemd.heard()
    return any(part in message for message in heard)


def use(server: str, tokens: Path, wrong: Path) -> None:
    """What clients do, some of it in vain."""
    with Pyshard(server, token_file=tokens) as app:
        app.write_many({f"{KEY}{number}": DOCUMENT * number for number in range(500)})
        app.write(KEY + "0", [DOCUMENT], ttl=60)
        assert app.get(KEY + "1") == DOCUMENT
        assert len(list(app.keys())) == 500
    with pytest.raises(NotAuthenticated), Pyshard(server, token_file=wrong, deadline=1) as app:
        app.read(KEY)


def check_lines(lines: list[dict[str, Any]]) -> None:
    """What a shard's log has, after that."""
    configured = [number for number, line in enumerate(lines) if line["message"].startswith("configured as shard a,")]
    assert all(line["shard"] == "a" for line in lines[configured[0] + 1 :])
    assert "listening on" in "".join(line["message"] for line in lines)
    connections = [line for line in lines if line["message"].startswith("connection ")]
    assert connections
    assert all(line["connection"] in line["message"] for line in connections)
    slow = [line for line in lines if ": slow: " in line["message"]]
    assert any(line["operations"] > 1 and line["bytes"] > 1000 and line["worked"] >= 1 for line in slow)


@pytest.fixture
def namespace() -> list[str]:
    """What runs a command as process 1 of a namespace of its own."""
    command = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    if (
        shutil.which("unshare") is None
        or subprocess.run([*command, "true"], check=False, capture_output=True).returncode
    ):
        pytest.skip("no namespace of processes can be made here")
    return command


def test_process_1(namespace: list[str], environment: Mapping[str, str], tmp_path: Path) -> None:
    """As process 1 a daemon serves, clears away processes that others left behind, and ends in order when told to.

    The kernel drops signals to process 1 that it doesn't handle; a daemon handles this one.
    """
    port = free_port()
    daemon = [TWISTD, "--nodaemon", "--pidfile=", "pyshard-shard", f"--port={port}"]
    orphans = "(sleep 0.01 &); (sleep 1 &);"
    shell = ["sh", "-c", f'{orphans} exec "$@"', "sh", *daemon]
    with (tmp_path / "output").open("wb") as output:
        outer = subprocess.Popen(
            [*namespace, *shell], cwd=tmp_path, env=environment, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        until(lambda: answers(port), "it answers")
        (inner,) = Path(f"/proc/{outer.pid}/task/{outer.pid}/children").read_text().split()
        assert "NSpid:\t" + inner + "\t1\n" in Path(f"/proc/{inner}/status").read_text()
        children = Path(f"/proc/{inner}/task/{inner}/children")
        until(lambda: not children.read_text(), "no zombie is left")
        os.kill(int(inner), signal.SIGTERM)
        assert outer.wait(PATIENCE) == 0
    finally:
        outer.kill()
        outer.wait(PATIENCE)
    text = (tmp_path / "output").read_text()
    assert "Received SIGTERM, shutting down." in text
    assert text.rstrip().endswith("Server Shut Down.")
    assert HOST in text
