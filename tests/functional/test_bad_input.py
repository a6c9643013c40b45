"""A daemon that can't do what it is told ends with one line on standard error, and leaves nothing behind."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from functional.cluster import HOST, TWISTD, listens, run, shard, write_config
from ports import free_port

pytestmark = pytest.mark.functional

#: Spoils a cluster's two entries in the config file.
Spoil: TypeAlias = Callable[[list[dict[str, Any]]], object]


def refused(environment: Mapping[str, str], folder: Path, *arguments: str) -> str:
    """The one line with which a daemon refuses to start; nothing else may be left of it."""
    before = files(folder)
    ran = run(folder, environment, TWISTD, *arguments)
    assert ran.returncode == 1
    assert ran.stdout == ""
    assert ran.stderr.startswith("pyshard: ")
    assert len(ran.stderr.splitlines()) == 1
    assert files(folder) == before  # no pid file, no log, no state
    return ran.stderr


def files(folder: Path) -> list[Path]:
    """All that is there, but for locks, which stay."""
    return sorted(path for path in folder.rglob("*") if path.suffix != ".lock")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--port=http"], "--port: found 'http', expected a port from 1 to 65535"),
        (["--port=65536"], "--port: found '65536'"),
        (["--host=name.invalid"], "'name.invalid' has no address"),
        (["--listen=udp:5"], "--listen: found 'udp:5', expected a Twisted server endpoint string"),
    ],
)
def test_shard_option(environment: Mapping[str, str], tmp_path: Path, options: list[str], said: str) -> None:
    """An option that a shard can't use is named, with what was found and what was expected."""
    assert said in refused(environment, tmp_path, "pyshard-shard", *options)


def test_port_in_use(environment: Mapping[str, str], tmp_path: Path, taken: int) -> None:
    """A port that is taken is named by both daemons; the bootstrap doesn't touch its state either."""
    said = f"can't listen on {HOST}:{taken}: address already in use"
    assert said in refused(environment, tmp_path, "pyshard-shard", "--port", str(taken))
    write_config(tmp_path / "etc" / "shards.json", [shard("all", 0, 1, free_port())], taken)
    assert said in refused(environment, tmp_path, "pyshard-bootstrap", "--config", "etc/shards.json")


_SPOILT: dict[str, tuple[Spoil, str]] = {
    "gap": (lambda both: both[1].update(start=0.6), "0.5"),
    "overlap": (lambda both: both[1].update(start=0.4), "0.4"),
    "same name": (lambda both: both[1].update(name="a"), "'a'"),
    "same address": (lambda both: both[1].update(port=both[0]["port"]), "port"),
    "missing field": (lambda both: both[1].pop("size"), "shards[1].size: found nothing"),
    "wrong type": (lambda both: both[0].update(port="http"), 'shards[0].port: found "http", expected'),
    "no shards": (lambda both: both.clear(), "shard"),
}


@pytest.mark.parametrize("fault", _SPOILT)
def test_config(environment: Mapping[str, str], tmp_path: Path, fault: str) -> None:
    """A config file with a fault is refused: file and field are named, and nobody listens."""
    spoil, said = _SPOILT[fault]
    shards = [shard("a", 0, 0.5, free_port()), shard("b", 0.5, 1, free_port())]
    spoil(shards)
    port = free_port()
    write_config(tmp_path / "etc" / "shards.json", shards, port)
    line = refused(environment, tmp_path, "pyshard-bootstrap", "--config", "etc/shards.json")
    assert line.startswith("pyshard: etc/shards.json: ")
    assert said in line
    assert not listens(port)


def test_config_file(environment: Mapping[str, str], tmp_path: Path) -> None:
    """A config file that isn't given, isn't there or isn't JSON is refused."""
    assert "--config: found nothing, expected" in refused(environment, tmp_path, "pyshard-bootstrap")
    assert "etc/shards.json: can't be read (No such file" in refused(
        environment, tmp_path, "pyshard-bootstrap", "--config=etc/shards.json"
    )
    (tmp_path / "shards.json").write_text("{shards: []}")
    assert "shards.json: found text that is not JSON" in refused(
        environment, tmp_path, "pyshard-bootstrap", "--config=shards.json"
    )


def test_state_file(environment: Mapping[str, str], tmp_path: Path) -> None:
    """A state file that is damaged, or of another format, is refused and left as it is."""
    path, state = tmp_path / "shards.json", tmp_path / "shards.state"
    write_config(path, [shard("all", 0, 1, free_port())], free_port())
    state.write_text("{")
    assert "this is no cluster state" in refused(environment, tmp_path, "pyshard-bootstrap", "--config=shards.json")
    assert state.read_text() == "{"
    known = {
        "format": 2,
        "cluster": "c0ffee",
        "epoch": 3,
        "shards": [
            {
                "name": "other",
                "ranges": [[0, 10_000_000]],
                "size": 1000,
                "host": HOST,
                "port": free_port(),
                "identity": "",
                "durable": False,
            }
        ],
        "indexes": {},
        "next_index": 1,
        "step": 0,
        "moves": [],
        "next_move": 1,
        "since": [],
    }
    state.write_text(json.dumps(known))
    assert "the cluster state is of format 2; this version knows format 4" in refused(
        environment, tmp_path, "pyshard-bootstrap", "--config=shards.json"
    )
    assert json.loads(state.read_text()) == known
