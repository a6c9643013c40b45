"""The commands of etc/docker/, with the image's entry point, run: daemons, health checks, and a client outside."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
from containers import COMPOSE, CONFIG, OUTSIDE, WITH_ETCD, commands, lists, replaced
from functional.cluster import HOST, PATIENCE, TWISTD, listens, run, until
from functional.etcd_servers import ETCD, needs_etcd
from functional.forwarder import Forwarder
from functional.shell import shell_on
from ports import free_port

pytestmark = pytest.mark.functional

_SHARD, _BOOTSTRAP = commands(COMPOSE)
_CHECKS = [words[1:] for words in lists(COMPOSE, "test")]


class Container:
    """A daemon of the compose file, on this machine.

    :param folder: what is mounted into it is there, under its own names.
    :param words: its command.
    :param listens_at: the port where it listens in its container.
    :param check: its health check.
    :param own_port: whether it is a bootstrap with its state elsewhere: it shares a config file, and is told its port.
    """

    def __init__(
        self,
        folder: Path,
        environment: Mapping[str, str],
        words: list[str],
        listens_at: int,
        check: list[str],
        own_port: bool = False,
    ) -> None:
        self.folder, self.port = folder, free_port()
        self._environment = environment
        (folder / "data").mkdir(parents=True)
        self._words = replaced(words, {"/run/secrets/": f"{folder.parent}/", '"twistd"': f'"{TWISTD}"'})
        if not own_port:
            self._words = replaced(self._words, {"/data/": f"{folder}/data/"})
        if any("--listen" in word for word in words):
            self._words = replaced(self._words, {f"0.0.0.0:{listens_at}": f"{HOST}:{self.port}"})
        else:
            self._words = replaced(self._words, {"/config/": f"{folder.parent}/"})
            self._words += [f"--listen={HOST}:{self.port}"] if own_port else []
        self._check = replaced(check, {'"python"': f'"{sys.executable}"', str(listens_at): str(self.port)})
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it."""
        with (self.folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                self._words,
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
            )

    def stop(self) -> int:
        """Stop it as `docker stop` does; its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(PATIENCE)

    def kill(self) -> None:
        """Kill it, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(PATIENCE)

    def healthy(self) -> bool:
        """What its health check says."""
        return run(self.folder, self._environment, *self._check).returncode == 0

    def text(self) -> str:
        """What it has written."""
        return (self.folder / "output").read_text()


def test_the_page(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """The commands run a cluster with tokens, whose health checks work, and into which a client gets from outside."""
    shards = [
        Container(tmp_path / name, environment, _SHARD, 5050, _CHECKS[0]) for name in ("shard0", "shard1", "shard2")
    ]
    bootstrap = Container(tmp_path / "bootstrap", environment, _BOOTSTRAP, 9192, _CHECKS[1])
    containers = [*shards, bootstrap]
    config = json.loads(CONFIG)
    for entry, shard in zip(config["shards"], shards, strict=True):
        entry.update(host=HOST, port=shard.port)
    config["bootstrap"].update(host=HOST, port=free_port(), listen=f"{HOST}:{bootstrap.port}")
    (tmp_path / "shards.json").write_text(json.dumps(config))
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text("admin the-secret-of-an-admin\n")
    lines = OUTSIDE.splitlines()
    with ExitStack() as held:
        outside = [held.enter_context(Forwarder(container.port)) for container in containers]
        for container, forwarder, inner, outer in zip(
            containers,
            outside,
            ("shard0:5050", "shard1:5050", "shard2:5050", ""),
            (15050, 15051, 15052, 19192),
            strict=True,
        ):
            changes = {f"db.example.com:{outer}": f"{HOST}:{forwarder.port}"}
            lines = replaced(lines, changes | ({inner: f"{HOST}:{container.port}"} if inner else {}))
            held.callback(container.kill)
        assert not any(container.healthy() for container in containers)
        for container in containers:
            container.start()
        for container in containers:
            until(partial(listens, container.port), "it listens")
        assert all(container.healthy() for container in containers)
        pyshard = shell_on(f"{HOST}:{bootstrap.port}", {**environment, "PYSHARD_TOKEN_FILE": str(tokens)}, tmp_path)
        until(lambda: pyshard("pyshard stat")[0] == 0, "the cluster is ready")
        assert pyshard("\n".join(lines)) == (0, '60\n"hello world"\n', "")
        assert [forwarder.connections > 0 for forwarder in outside] == [True, False, False, True]
        assert [container.stop() for container in containers] == [0, 0, 0, 0]
        assert not any(container.healthy() for container in containers)
        for container in containers:
            assert "Traceback" not in container.text()
            assert "listening on" in container.text()  # the platform has the log
        assert sorted(path.name for path in (tmp_path / "shard0" / "data").iterdir()) == ["shard"]
        assert (tmp_path / "bootstrap" / "data" / "cluster.state").exists()
        assert list(tmp_path.rglob("*.pid")) == []


@needs_etcd
def test_with_etcd(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """The members of etcd find each other, both bootstraps serve by the same state, and one of each may be gone."""
    *members, first, second = commands(WITH_ETCD)
    names = ["etcd0", "etcd1", "etcd2"]
    clients, peers = ({f"{name}:{port}": f"{HOST}:{free_port()}" for name in names} for port in (2379, 2380))
    (tmp_path / "shards.json").write_text(CONFIG)
    tokens = tmp_path / "tokens"
    tokens.touch(0o600)
    tokens.write_text("admin the-secret-of-an-admin\n")
    with ExitStack() as held:
        processes: list[subprocess.Popen[bytes]] = []
        for name, words in zip(names, members, strict=True):
            client, peer = clients[f"{name}:2379"], peers[f"{name}:2380"]
            listening = {"0.0.0.0:2379": client, "0.0.0.0:2380": peer, f"{name}:2379": client}
            own = replaced(words, {"/data/": f"{tmp_path}/{name}/", '"etcd"': f'"{ETCD}"'} | listening | peers)
            with (tmp_path / f"{name}.log").open("ab") as log:
                processes.append(
                    subprocess.Popen(own, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
                )
            held.callback(_end, processes[-1])
        bootstraps: list[Container] = []
        for number, words in enumerate((first, second)):
            folder = tmp_path / f"bootstrap{number}"
            container = Container(folder, environment, replaced(words, clients), 9192, _CHECKS[1], own_port=True)
            held.callback(container.kill)
            container.start()
            bootstraps.append(container)
        for container in bootstraps:
            until(partial(_knows_the_shards, container, environment, tokens), "it has the state")
        _end(processes[0])
        assert bootstraps[0].stop() == 0
        assert _knows_the_shards(bootstraps[1], environment, tokens)
        assert bootstraps[1].healthy()
        for container in bootstraps:
            assert "Traceback" not in container.text()


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    process.wait(PATIENCE)


def _knows_the_shards(bootstrap: Container, environment: Mapping[str, str], tokens: Path) -> bool:
    """Whether a bootstrap gives the map; its shards aren't there."""
    options = {**environment, "PYSHARD_TOKEN_FILE": str(tokens)}
    return "shard2" in shell_on(f"{HOST}:{bootstrap.port}", options, bootstrap.folder)("pyshard stat")[1]
