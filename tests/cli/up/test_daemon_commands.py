"""The commands of the daemons that `up` runs."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import attrs
import pytest
from cli.up.configured import HOST, cluster

from pyshard.cli.up.cluster_choice import DEFAULT, with_replicas
from pyshard.cli.up.daemon_commands import Access, daemons, find_twistd
from pyshard.cli.up.directories import ClusterData
from pyshard.model.shard_map import ShardMap
from pyshard.server.log_lines import LogFormat


def test_daemons() -> None:
    """A twistd for each shard and one for the bootstrap, each with files of its own."""
    found = daemons(cluster(1001, 1002, bootstrap=1003), "bin/twistd", Path("etc/c.json"), Path("run"))
    options = ["--nodaemon", "--pidfile=run/a.pid", "--logfile=run/a.log"]
    assert [daemon.name for daemon in found] == ["shard 'a'", "shard 'b'", "the bootstrap"]
    assert found[0].command == ["bin/twistd", *options, "pyshard-shard", f"--host={HOST}", "--port=1001"]
    assert found[2].command[4:] == ["pyshard-bootstrap", "--config=etc/c.json", "--state=run/cluster.state"]
    assert found[2].wrapped[-len(found[2].command) :] == found[2].command
    assert found[2].wrapped[4:7] == [str(os.getpid()), "run/bootstrap.log", "run/bootstrap.pid"]


def test_daemons_of_replicas() -> None:
    """A process for each, called by its port, so that a replica that goes takes no other's files along."""
    made = attrs.evolve(with_replicas(cluster(1001, 1002, bootstrap=1), 2), replicas_listen={f"{HOST}:1101": "tcp:7"})
    found = daemons(made, "twistd", Path("c"), Path("run"), ClusterData(Path("data")))
    assert [daemon.name for daemon in found] == [
        "shard 'a'",
        "shard 'b'",
        "replica 2 of shard 'a'",
        "replica 2 of shard 'b'",
        "the bootstrap",
    ]
    assert found[2].command[4:6] == ["pyshard-shard", "--listen=tcp:7"]
    assert found[3].command[4:7] == ["pyshard-shard", f"--host={HOST}", "--port=1102"]
    assert [daemon.command[-1] for daemon in found[:4]] == [
        f"--data-dir=data/{name}" for name in ("a", "b", "a.1101", "b.1102")
    ]


def test_daemons_that_listen_elsewhere() -> None:
    """A shard listens where the config file says, and the bootstrap and other shards dial it there."""
    made = attrs.evolve(cluster(1001, 1002, bootstrap=1003), listen={"a": "0.0.0.0:2001"})
    shard, other, bootstrap = daemons(made, "twistd", Path("c"), Path("run"))
    detour = f"--address={HOST}:1001={HOST}:2001"
    assert shard.command[4:] == ["pyshard-shard", "--listen=0.0.0.0:2001", detour]
    assert other.command[4:] == ["pyshard-shard", f"--host={HOST}", "--port=1002", detour]
    assert bootstrap.command[-1] == detour
    assert not any("--address" in word for word in daemons(DEFAULT, "twistd", Path("c"), Path("run"))[2].command)


def test_format_of_logs() -> None:
    """Every daemon is told of JSON, beside who may use it; text is what daemons write by themselves."""
    made = with_replicas(cluster(1001, bootstrap=1), 2)
    access = Access(insecure=True)
    found = daemons(made, "twistd", Path("c"), Path("run"), access=access, log_format=LogFormat.JSON)
    assert [daemon.command[-2:] for daemon in found] == [["--insecure", "--log-format=json"]] * 3
    assert access.options == ["--insecure"]
    found = daemons(made, "twistd", Path("c"), Path("run"), log_format=LogFormat.TEXT)
    assert not any("--log-format" in word for daemon in found for word in daemon.command)


@pytest.mark.parametrize(("durability", "options"), [(None, []), ("async", ["--durability=async"])])
def test_durable_daemons(durability: str | None, options: list[str]) -> None:
    """A data directory holds a folder for each shard, named like its log, and the bootstrap's state."""
    made = cluster(1001, 1002, bootstrap=1003)
    renamed = ShardMap([attrs.evolve(made.map.shards[0], name="a/b"), attrs.evolve(made.map.shards[1], name="a b")])
    data = ClusterData(Path("data"), durability)
    found = daemons(attrs.evolve(made, map=renamed), "bin/twistd", Path("etc/c.json"), Path("run"), data)
    assert found[0].command[-1 - len(options) :] == ["--data-dir=data/a_b", *options]
    assert found[1].command[-1 - len(options) :] == ["--data-dir=data/a_b-2", *options]
    assert [daemon.log for daemon in found] == [Path("run/a_b.log"), Path("run/a_b-2.log"), Path("run/bootstrap.log")]
    assert found[2].command[-1] == "--state=data/cluster.state"
    assert options or not any("durability" in word for daemon in found for word in daemon.command)


@pytest.mark.parametrize("name", ["cluster.state", "shards.json", "UP.lock", "shards.json.new", "bootstrap"])
def test_names_of_other_files(name: str) -> None:
    """No shard's folder has the name of one of the cluster's files."""
    made = cluster(1001, bootstrap=1003)
    renamed = ShardMap([attrs.evolve(made.map.shards[0], name=name)])
    found = daemons(attrs.evolve(made, map=renamed), "twistd", Path("c"), Path("run"), ClusterData(Path("data")))
    assert found[0].command[-1] == f"--data-dir=data/{name}-2"


def test_find_twistd(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """twistd is looked for beside this Python, then where this Python installs scripts, then in PATH."""
    places = [tmp_path / name for name in ("bin", "scripts", "path")]
    for place in places:
        place.mkdir()
        (place / "twistd").touch(0o755)
    monkeypatch.setattr(sys, "executable", str(places[0] / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(places[1]))
    monkeypatch.setenv("PATH", str(places[2]))
    for place in places:
        assert find_twistd() == str(place / "twistd")
        shutil.rmtree(place)
    assert find_twistd() is None
