"""What `up` decides before it starts anything: the cluster, its ports, the commands, the run directory."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from pathlib import Path

import attrs
import pytest
from click.testing import CliRunner
from ports import free_port

from pyshard.bootstrap.plugin import open_state
from pyshard.cli import cli, up_plan
from pyshard.cli.exit_codes import End
from pyshard.cli.up import _directory, _held, fate, usage
from pyshard.cli.up_plan import DEFAULT, Data, check_ports, daemons, file_name, with_free_ports
from pyshard.errors import ConfigError
from pyshard.model import config_file
from pyshard.model.config_file import ClusterConfig
from pyshard.model.keyspace import SLOTS
from pyshard.model.shard_map import ShardMap, ShardRange
from pyshard.storage import DataDirectory

CHECKOUT = Path(__file__).parents[2]
HOST = "127.0.0.1"


def cluster(*ports: int, bootstrap: int, host: str = HOST) -> ClusterConfig:
    """A cluster with a shard at each of these ports, called a, b, …"""
    bounds = [SLOTS * number // len(ports) for number in range(len(ports) + 1)]
    shards = [
        ShardRange("abcdef"[number], bounds[number], bounds[number + 1], 2**20, host, port)
        for number, port in enumerate(ports)
    ]
    return ClusterConfig(ShardMap(shards), HOST, bootstrap)


def test_default_is_the_example() -> None:
    """Without a config file it is the cluster of etc/shards.json."""
    assert config_file.load(CHECKOUT / "etc" / "shards.json") == DEFAULT


def test_as_file() -> None:
    """The config file that is written says what it was made of."""
    moved = attrs.evolve(DEFAULT, bootstrap_port=4711)
    assert config_file.parse(up_plan.as_file(moved).encode()) == moved


def test_free_ports_stay() -> None:
    """Ports that are free are used as they are."""
    wanted = cluster(free_port(), bootstrap=free_port())
    assert with_free_ports(wanted) == (wanted, [])


def test_ports_in_use_are_replaced(taken: int) -> None:
    """A port in use gives way to a free one, which is told; the rest stays."""
    shard = free_port()
    chosen, notes = with_free_ports(cluster(shard, bootstrap=taken))
    assert [one.port for one in chosen.map.ranges] == [shard]
    assert chosen.bootstrap_port not in (taken, shard)
    assert notes == [f"Port {taken} is in use: the bootstrap listens on {chosen.bootstrap_port} instead."]
    assert 20_000 <= chosen.bootstrap_port < 32_000
    check_ports(chosen)


def test_no_port_is_chosen_twice(taken: int) -> None:
    """All ports in use give way to different ones."""
    ranges = [attrs.evolve(one, port=taken) for one in DEFAULT.map.ranges]
    wanted = ClusterConfig(ShardMap([ranges[0], attrs.evolve(ranges[1], host="localhost")]), HOST, taken)
    chosen, notes = with_free_ports(wanted)
    assert len({taken, chosen.bootstrap_port, *(one.port for one in chosen.map.ranges)}) == 4
    assert len(notes) == 3


@pytest.mark.parametrize("number", [0, 1, 2])
def test_port_in_use(taken: int, number: int) -> None:
    """A config file's port that is in use is an error which names the daemon."""
    ports = [free_port(), free_port(), free_port()]
    ports[number] = taken
    with pytest.raises(ConfigError) as refused:
        check_ports(cluster(*ports[:2], bootstrap=ports[2]))
    name = ["shard 'a'", "shard 'b'", "the bootstrap"][number]
    assert str(refused.value).startswith(f"{name}: can't listen on {HOST}:{taken}: address already in use")


def test_port_used_twice() -> None:
    """Two daemons at one address are an error, whatever the address is called."""
    port = free_port()
    with pytest.raises(ConfigError) as refused:
        check_ports(cluster(port, bootstrap=port))
    assert str(refused.value) == (
        f"the bootstrap: found {HOST}:{port}, where shard 'a' listens too, expected a free port"
    )


def test_host_of_another_machine() -> None:
    """A host that isn't this machine's is an error."""
    with pytest.raises(
        ConfigError, match=r"^shard 'a': can't listen on 192.0.2.1:\d+: cannot assign requested address"
    ):
        check_ports(cluster(free_port(), bootstrap=free_port(), host="192.0.2.1"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("shard0-0.5", "shard0-0.5"),
        ("a/b c", "a_b_c"),
        ("..", "shard"),
        (".hidden", "hidden"),
        ("bootstrap", "bootstrap-2"),
        ("Up", "Up-2"),
        ("ключ", "____"),
    ],
)
def test_file_name(name: str, expected: str) -> None:
    """Any shard's name gives a file name, and never that of another daemon."""
    used = {"up", "bootstrap"}
    assert file_name(name, used) == expected
    assert file_name(name, used) != expected


def test_daemons() -> None:
    """A twistd for each shard and one for the bootstrap, each with files of its own."""
    found = daemons(cluster(1001, 1002, bootstrap=1003), "bin/twistd", Path("etc/c.json"), Path("run"))
    options = ["--nodaemon", "--pidfile=run/a.pid", "--logfile=run/a.log"]
    assert [one.name for one in found] == ["shard 'a'", "shard 'b'", "the bootstrap"]
    assert found[0].command == ["bin/twistd", *options, "pyshard-shard", f"--host={HOST}", "--port=1001"]
    assert found[2].command[4:] == ["pyshard-bootstrap", "--config=etc/c.json", "--state=run/cluster.state"]
    assert found[2].wrapped[-len(found[2].command) :] == found[2].command
    assert found[2].wrapped[4:7] == [str(os.getpid()), "run/bootstrap.log", "run/bootstrap.pid"]


@pytest.mark.parametrize(("durability", "options"), [(None, []), ("async", ["--durability=async"])])
def test_durable_daemons(durability: str | None, options: list[str]) -> None:
    """With a data directory each shard has a folder in it, named as its log is, and the bootstrap its state."""
    made = cluster(1001, 1002, bootstrap=1003)
    renamed = ShardMap([attrs.evolve(made.map.ranges[0], name="a/b"), attrs.evolve(made.map.ranges[1], name="a b")])
    data = Data(Path("data"), durability)
    found = daemons(attrs.evolve(made, map=renamed), "bin/twistd", Path("etc/c.json"), Path("run"), data)
    assert found[0].command[-1 - len(options) :] == ["--data-dir=data/a_b", *options]
    assert found[1].command[-1 - len(options) :] == ["--data-dir=data/a_b-2", *options]
    assert [one.log for one in found] == [Path("run/a_b.log"), Path("run/a_b-2.log"), Path("run/bootstrap.log")]
    assert found[2].command[-1] == "--state=data/cluster.state"
    assert options or not any("durability" in word for one in found for word in one.command)


@pytest.mark.parametrize("name", ["cluster.state", "shards.json", "UP.lock", "shards.json.new", "bootstrap"])
def test_names_of_other_files(name: str) -> None:
    """No shard's folder takes the place of a file of the cluster's."""
    made = cluster(1001, bootstrap=1003)
    renamed = ShardMap([attrs.evolve(made.map.ranges[0], name=name)])
    found = daemons(attrs.evolve(made, map=renamed), "twistd", Path("c"), Path("run"), Data(Path("data")))
    assert found[0].command[-1] == f"--data-dir=data/{name}-2"


def test_remembered_cluster(tmp_path: Path) -> None:
    """Without a config file it is the cluster that the data directory had the last time, else the default one."""
    data = Data(tmp_path)
    assert up_plan.remembered(None) == up_plan.remembered(data) == DEFAULT
    for port in (1003, 1004, 1004):
        up_plan.remember(data, cluster(1001, 1002, bootstrap=port))
        assert up_plan.remembered(data) == cluster(1001, 1002, bootstrap=port)
    assert [path.name for path in tmp_path.iterdir()] == ["shards.json"]


def test_data_directory_in_use(tmp_path: Path) -> None:
    """Two runs can't share a data directory, and a file is none."""
    with _held(tmp_path, "--data-dir"):
        ended = CliRunner().invoke(cli, ["up", "--data-dir", str(tmp_path)])
        assert (ended.exit_code, ended.stdout) == (2, "")
        assert ended.stderr == f"pyshard: --data-dir: {tmp_path} is in use by another pyshard up\n"
    (tmp_path / "file").touch()
    ended = CliRunner().invoke(cli, ["up", "--data-dir", str(tmp_path / "file")])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == f"pyshard: --data-dir: {tmp_path / 'file'} can't be used: File exists\n"


def test_data_directory_of_a_shard(tmp_path: Path) -> None:
    """What `twistd pyshard-shard` keeps is one shard's, and no place for a cluster."""
    DataDirectory(tmp_path).close()
    before = sorted(path.name for path in tmp_path.iterdir())
    ended = CliRunner().invoke(cli, ["up", "--data-dir", str(tmp_path)])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr == (
        f"pyshard: --data-dir: {tmp_path} is the data directory of one shard, expected one for a cluster\n"
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_data_directory_of_another_cluster(tmp_path: Path) -> None:
    """A config file with other ranges than those that the documents are divided by is refused, and not remembered."""
    (tmp_path / "data").mkdir()
    open_state(tmp_path / "data" / "cluster.state", DEFAULT.map)
    path = tmp_path / "c.json"
    path.write_text(up_plan.as_file(cluster(free_port(), free_port(), free_port(), bootstrap=free_port())))
    ended = CliRunner().invoke(cli, ["up", "--config", str(path), "--data-dir", str(tmp_path / "data")])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "Restore the old ranges" in ended.stderr
    assert up_plan.remembered(Data(tmp_path / "data")) == DEFAULT


def test_fate() -> None:
    """The last line says what becomes of the documents, and how to have them again."""
    assert fate(None) == "Documents are kept in memory: they are gone when their shard ends."
    assert fate(Data(Path("/a/my data"))) == (
        "Documents are kept on disk: pyshard up --data-dir '/a/my data' has them again."
    )


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
        assert up_plan.find_twistd() == str(place / "twistd")
        shutil.rmtree(place)
    assert up_plan.find_twistd() is None


def test_no_twistd(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a twistd nothing is begun."""
    monkeypatch.setattr(up_plan, "find_twistd", lambda: None)
    ended = CliRunner().invoke(cli, ["up"])
    assert ended.exit_code == 1
    assert ended.stderr == f"pyshard: no twistd beside {sys.executable}, nor in PATH; install Twisted there\n"


@pytest.mark.parametrize(
    ("text", "error"),
    [
        (None, "can't be read (No such file or directory)"),
        ("{", "found text that is not JSON"),
        ('{"shards": 3}', "shards: found 3, expected a JSON array"),
    ],
)
def test_bad_config(tmp_path: Path, text: str | None, error: str) -> None:
    """A config file that can't be used is one line, and exit code 2."""
    path = tmp_path / "c.json"
    if text is not None:
        path.write_text(text)
    ended = CliRunner().invoke(cli, ["up", "--config", str(path)])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"pyshard: {path}: {error}")
    assert ended.stderr.count("\n") == 1


def test_config_with_a_port_in_use(tmp_path: Path, taken: int) -> None:
    """So is one whose port is in use."""
    path = tmp_path / "c.json"
    path.write_text(up_plan.as_file(cluster(free_port(), bootstrap=taken)))
    ended = CliRunner().invoke(cli, ["up", "--config", str(path)])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"pyshard: {path}: the bootstrap: can't listen on {HOST}:{taken}")
    assert ended.stderr.count("\n") == 1


def test_temporary_directory() -> None:
    """Without --run-dir, a folder that is removed at the end, whatever is in it."""
    with _directory(None) as made:
        (made / "file").touch()
    assert not made.exists()


def test_run_directory(tmp_path: Path) -> None:
    """--run-dir is made, kept, and held: two runs can't share it."""
    folder = tmp_path / "a" / "b"
    with _directory(folder) as made:
        (made / "file").touch()
        with pytest.raises(End, match="is in use by another pyshard up"), _directory(folder):
            pass
    with _directory(folder) as again:
        assert (again / "file").exists()
    (tmp_path / "file").touch()
    with pytest.raises(End, match="can't be used: File exists"), _directory(tmp_path / "file"):
        pass


@pytest.mark.parametrize(
    ("port", "variable", "shell", "python"),
    [
        (9192, None, "pyshard write KEY DOC", "app = Pyshard()"),
        (9192, "other:1", "pyshard write --bootstrap localhost:9192 KEY DOC", "app = Pyshard()"),
        (4711, None, "pyshard write --bootstrap localhost:4711 KEY DOC", "app = Pyshard('localhost:4711')"),
    ],
)
def test_usage(monkeypatch: pytest.MonkeyPatch, port: int, variable: str | None, shell: str, python: str) -> None:
    """How to use the cluster, with the bootstrap's address where the default isn't right."""
    monkeypatch.delenv("PYSHARD_BOOTSTRAP", raising=False)
    if variable:
        monkeypatch.setenv("PYSHARD_BOOTSTRAP", variable)
    lines = usage(attrs.evolve(DEFAULT, bootstrap_port=port)).plain.splitlines()
    assert f"bootstrap  localhost:{port}" in lines
    assert shell in lines
    assert python in lines
