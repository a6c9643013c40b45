"""What `up` tells its user when the cluster is ready."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
from cli.up.configured import cluster

from pyshard.cli.up.cluster_choice import DEFAULT
from pyshard.cli.up.directories import ClusterData
from pyshard.cli.up.ready_message import fate_of_documents, usage
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap

FREE = MapShard("free", (), 1, "127.0.0.1", 1)


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


def test_usage_of_a_cluster_that_announces_other_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The commands and the program work on this machine; the addresses are shown as announced, and as they are here."""
    monkeypatch.delenv("PYSHARD_BOOTSTRAP", raising=False)
    made = attrs.evolve(
        cluster(1001, 1002, bootstrap=1003, host="db.example.com"),
        bootstrap_host="db.example.com",
        listen={"a": "0.0.0.0:2001"},
        bootstrap_listen="0.0.0.0:2003",
    )
    lines = usage(made).plain.splitlines()
    assert lines[:3] == [
        "bootstrap  db.example.com:1003 (here 127.0.0.1:2003)",
        "shard      db.example.com:1001 (here 127.0.0.1:2001)  [0.0, 0.5)  a",
        "shard      db.example.com:1002  [0.5, 1.0)  b",
    ]
    assert "export PYSHARD_ADDRESSES=db.example.com:1001=127.0.0.1:2001" in lines
    assert "pyshard write --bootstrap 127.0.0.1:2003 KEY DOC" in lines
    assert "app = Pyshard('127.0.0.1:2003')" in lines
    assert not any("ADDRESSES" in line for line in usage(DEFAULT).plain.splitlines())


def test_usage_of_shards_with_several_ranges() -> None:
    """A shard's line has its ranges, or says that it has none."""
    low, high = DEFAULT.map.shards
    made = attrs.evolve(
        DEFAULT,
        map=ShardMap([attrs.evolve(low, ranges=((0, 1), (2, SLOTS))), attrs.evolve(high, ranges=((1, 2),)), FREE]),
    )
    assert [line for line in usage(made).plain.splitlines() if line.startswith("shard ")] == [
        "shard      127.0.0.1:5050  [0.0, 1e-07), [2e-07, 1.0)  shard0-0.5",
        "shard      127.0.0.1:5051  [1e-07, 2e-07)  shard0.5-1",
        "shard      127.0.0.1:1  no slot  free",
    ]


def test_fate() -> None:
    """The last line says what becomes of the documents, and how to have them again."""
    assert fate_of_documents(None) == "Documents are kept in memory: they are gone when their shard ends."
    kept = "Documents are kept in memory: they are gone when all replicas of their shard have ended."
    assert fate_of_documents(None, replicated=True) == kept
    assert fate_of_documents(ClusterData(Path("/a/my data"))) == (
        "Documents are kept on disk: pyshard up --data-dir '/a/my data' has them again."
    )
