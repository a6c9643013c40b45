"""`backup` and `restore`: what they print, and how they end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from in_process_command import Commands, Ended

from pyshard.cli import deferred_call
from pyshard.testing import MemoryCluster


@pytest.fixture
def pyshard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Commands]:
    """The command, on a cluster of two shards with an index."""
    with MemoryCluster() as cluster:
        commands = Commands(cluster, monkeypatch)
        commands("load", "--index", "pages", "--create", "-", text="1|a\n2|b\n")
        commands("write", "test", "hello world")
        yield commands


def test_there_and_back(pyshard: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A backup goes into an empty cluster of another shape, which has the same documents then."""
    folder = str(tmp_path / "monday")
    assert pyshard("backup", folder) == Ended(0, "3 documents backed up\n", "")
    with MemoryCluster(3) as cluster:
        other = Commands(cluster, monkeypatch)
        assert other("restore", folder) == Ended(0, "3 documents restored\n", "")
        assert other("read", "test").out == '"hello world"\n'
        assert sorted(other("cat", "--index", "pages").out.split()) == ["1|a", "2|b"]


def test_expired_meanwhile(pyshard: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Documents that have expired since are left out and counted. (The cluster's time is far in the past.)"""
    pyshard("write", "--ttl", "60", "key", "1")
    assert pyshard("backup", str(tmp_path / "monday")).out == "4 documents backed up\n"
    with MemoryCluster() as cluster:
        other = Commands(cluster, monkeypatch)
        assert other("restore", str(tmp_path / "monday")) == Ended(0, "3 documents restored; 1 had expired\n", "")
        assert other("has", "key").code == 1


def test_a_directory_in_use(pyshard: Commands, tmp_path: Path) -> None:
    """A directory that isn't empty is refused."""
    (tmp_path / "note").touch()
    ended = pyshard("backup", str(tmp_path))
    assert (ended.code, ended.out) == (6, "")
    assert ended.error == (
        f"pyshard: {tmp_path}: found 'note' in it, expected a directory that is empty or doesn't exist yet\n"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["note"]


def test_a_shard_is_down(pyshard: Commands, tmp_path: Path) -> None:
    """Without one of its shards a cluster has no backup: exit code 3, and nothing is left."""
    pyshard.cluster.kill_shard("shard0")
    ended = pyshard("backup", str(tmp_path / "monday"))
    assert (ended.code, ended.out, ended.error.count("\n")) == (3, "", 1)
    assert list(tmp_path.iterdir()) == []


def test_no_backup(pyshard: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A directory that is no backup, or a damaged one, is bad input."""
    folder = tmp_path / "monday"
    pyshard("backup", str(folder))
    with MemoryCluster() as cluster:
        other = Commands(cluster, monkeypatch)
        ended = other("restore", str(tmp_path / "tuesday"))
        assert (ended.code, ended.out) == (2, "")
        assert "holds no finished backup" in ended.error
        records = next(path for path in folder.glob("*.records") if path.stat().st_size)
        records.write_bytes(records.read_bytes()[:-1])
        ended = other("restore", str(folder))
        assert (ended.code, ended.out) == (2, "")
        assert records.name in ended.error
        assert other("keys").out == other("index", "list").out == ""


def test_cluster_in_use(pyshard: Commands, tmp_path: Path) -> None:
    """A cluster that holds something refuses, with exit code 5, and stays as it is."""
    pyshard("backup", str(tmp_path / "monday"))
    before = pyshard("item", "test").out
    ended = pyshard("restore", str(tmp_path / "monday"))
    assert (ended.code, ended.out) == (5, "")
    assert "the cluster has the index 'pages'" in ended.error
    assert pyshard("item", "test").out == before


def test_half_a_restore(pyshard: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A restore that stops on the way says so; exit code 6, since something was written."""
    pyshard("load", "-", text="".join(f"{number}|x\n" for number in range(20)))
    pyshard("backup", str(tmp_path / "monday"))
    with MemoryCluster(1, size=1500) as cluster:
        ended = Commands(cluster, monkeypatch)("restore", str(tmp_path / "monday"))
    assert (ended.code, ended.out, ended.error.count("\n")) == (6, "", 1)
    assert "of 23 documents" in ended.error


def test_json(pyshard: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """With --json both print their figures."""
    made = json.loads(pyshard("backup", "--json", str(tmp_path / "monday")).out)
    assert made["documents"] == 3
    assert set(made) == {"documents", "epoch", "date", "cluster"}
    with MemoryCluster(1) as cluster:
        ended = Commands(cluster, monkeypatch)("restore", "--json", str(tmp_path / "monday"))
    assert json.loads(ended.out) == {"documents": 3, "expired": 0, "unreadable": 0}


@pytest.mark.parametrize(
    ("left", "about"),
    [(False, "nothing was left behind"), (True, "what is in {} is no backup and can be deleted")],
)
def test_interrupted(
    pyshard: Commands, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, left: bool, about: str
) -> None:
    """Ctrl-C during a backup says whether something is left of it."""
    folder = tmp_path / "monday"

    def interrupted(*_: object) -> None:
        if left:
            folder.mkdir()
            (folder / "file").touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(deferred_call, "call", interrupted)
    assert pyshard("backup", str(folder)) == Ended(130, "", f"\npyshard: interrupted; {about.format(folder)}\n")
