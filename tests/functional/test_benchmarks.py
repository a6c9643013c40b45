"""Every workload of benchmarks/ runs, against whichever peers are installed. No figure is looked at."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from unittest.mock import Mock

import pytest
from amounts import QUICK
from comparisons import comparisons
from fleet import Fleet
from peers.diskcache import DiskcacheBlocking
from peers.sqlite import SqliteBlocking
from shapes import MIX
from variants import VARIANTS, Failed, Variant, measure

pytestmark = pytest.mark.functional

_BENCHMARKS = Path(__file__).parents[2] / "benchmarks"

#: What a comparison needs, by the name of its peer.
_PROGRAMS = {
    "redis": "redis-server",
    "redis-cluster": "redis-server",
    "memcached-one": "memcached",
    "memcached": "memcached",
    "etcd": "etcd",
}

_FIGURES = re.compile(r"\S+ +\d+\.\d\d \(\d+\.\d\d – \d+\.\d\d\) .*per second.*")


def run(folder: Path, environment: Mapping[str, str], *arguments: str) -> str:
    """What the command prints."""
    command = [sys.executable, str(_BENCHMARKS), *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=220, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr  # but a library may warn: matplotlib does when it builds its cache
    return done.stdout


@pytest.mark.long
def test_every_workload(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """A tiny run does every workload, and has every peer, or says that it isn't installed; and writes page and plot."""
    every = [comparison.name for comparison in comparisons(QUICK, Mock(), Mock())]
    assert len(set(every)) == len(every) > 30
    listed = run(tmp_path, environment, "--list").splitlines()
    assert listed[: len(every) + 1] == [*every, "scaling"]
    names, seen = [], set[str]()
    for name in every:
        workload, peer, *_ = name.split("/")
        if not {workload, peer} <= seen:
            seen |= {workload, peer}
            names.append(name)
    names = [name for name in every if name in names or name == "write-many/redis/durable/mix"]
    only = [f"--only={name}" for name in [*names, *listed[len(every) :]]]
    lines = run(tmp_path, environment, "--quick", "--out", "out", *only).splitlines()
    assert [line.split()[0] for line in lines[: len(names)]] == names
    for line in lines[: len(names)]:
        peer = line.split()[0].split("/")[1]
        if peer in _PROGRAMS and shutil.which(_PROGRAMS[peer]) is None:
            assert f"skipped: there is no {_PROGRAMS[peer]}" in line
        elif not (peer == "original" and "skipped: pip can't install" in line):
            assert _FIGURES.fullmatch(line), line
    heads = [line for line in lines[len(names) : -1] if not line.startswith("  ")]
    assert heads[0].startswith("300 documents, 2 shards: ")
    assert heads[1:] == [f"{variant}:" for variant in listed[len(every) + 1 :]]
    assert {f"{variant.name}:" for variant in VARIANTS} >= set(heads[1:])
    assert lines[-1] == "wrote out/benchmarks.md"
    page = (tmp_path / "out" / "benchmarks.md").read_text()
    assert page.startswith("# Benchmarks\n")
    assert "| placement | client and servers on any processor |" in page
    assert ("## With processors of their own" in page) == ("pinned:" in heads)
    assert ("## Without a compiler" in page) == ("plain:" in heads)
    assert (tmp_path / "out" / "benchmarks.png").read_bytes().startswith(b"\x89PNG")


def test_without_peers(tmp_path: Path, environment: Mapping[str, str]) -> None:
    """Where no server of a peer is installed, that is said, and nothing fails."""
    bare = {**environment, "PATH": str(Path(sys.executable).parent)}
    (line,) = run(tmp_path, bare, "--quick", "--only", "write-many/redis/memory/mix").splitlines()
    assert line.endswith("skipped: there is no redis-server; Debian's package is redis-server")


def test_failed_variant(tmp_path: Path) -> None:
    """A run in another way that ends with an error ends the whole one: no page is made of what is left."""
    wrong = Variant("wrong", lambda: True, options=["--no-such-option"])
    with pytest.raises(Failed, match="the variant 'wrong' ended with code 2"):
        measure(wrong, ["write-many/redis/memory/mix"], QUICK, True, tmp_path)


@pytest.mark.parametrize("name", ["redis", "memcached", "memcached-one", "sqlite", "diskcache", "etcd"])
def test_peers_give_back_what_they_were_given(name: str, tmp_path: Path) -> None:
    """A peer's client stores and finds documents of every shape, singly and in bulk, and None where there is none."""
    if name in _PROGRAMS and shutil.which(_PROGRAMS[name]) is None:
        pytest.skip(f"there is no {_PROGRAMS[name]}")
    pairs = [pair for part in MIX.parts(300, 1, 300) for pair in part]
    keys = [key for key, _ in pairs]
    fleet = Fleet(tmp_path / "peers", Mock(), Mock())
    try:
        client = fleet.blocking(name)
        client.write_many(pairs)
        assert client.read_many([*keys, "missing"]) == [*(doc for _, doc in pairs), None]
        for key, doc in pairs[:7]:
            client.write(key, [doc])
            assert client.read(key) == [doc]
        assert client.read("missing") is None
        with closing(fleet.side(name).blocking()) as another:
            assert another.read(keys[0]) == [pairs[0][1]]
    finally:
        fleet.close()


def test_commits_are_on_the_disk(tmp_path: Path) -> None:
    """What runs in the program that measures syncs each commit, as durable shards do."""
    fleet = Fleet(tmp_path / "peers", Mock(), Mock())
    try:
        sqlite, cache = fleet.blocking("sqlite"), fleet.blocking("diskcache")
        assert isinstance(sqlite, SqliteBlocking)
        assert isinstance(cache, DiskcacheBlocking)
        for ask in (sqlite._connection.execute, cache._cache._sql):
            assert [ask(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")] == ["wal", 2]
    finally:
        fleet.close()
