"""Backups: what is written is what the cluster had, and comes back."""

from __future__ import annotations

import json
import os
import re
import stat
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from backup_clusters import (
    INTERLEAVED,
    PLENTY,
    Layout,
    OpenStore,
    at_once,
    cluster_of,
    contents_of,
    fill,
    open_snapshots,
    put_back,
    rows_in,
    stored_in,
    take,
)
from blocks import tagged

from pyshard.backup import Restored, manifest, verify
from pyshard.model.cluster_state_json import from_json
from pyshard.model.document_encoding import HEAD
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.pages import Row
from pyshard.storage import Task

# -- whose it is ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("umask", [0o000, 0o022])
def test_nobody_else_reads_it(tmp_path: Path, umask: int) -> None:
    """A backup's directory and all its files are its owner's alone, whatever the umask."""
    directory = tmp_path / "backup"
    before = os.umask(umask)
    try:
        with cluster_of(2) as (cluster, client):
            cluster.run(client.write("a", 1))
            take(cluster, client, directory)
    finally:
        os.umask(before)
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
    names = ["0-shard0.records", "1-shard1.records", "cluster.json", "manifest.json"]
    assert modes == dict.fromkeys(names, 0o600)


# -- there and back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "after"),
    [(1, 1), (2, 3), (3, 1), (1, 4), (INTERLEAVED, 2), (2, INTERLEAVED), (INTERLEAVED, INTERLEAVED)],
)
def test_there_and_back(store: OpenStore | None, tmp_path: Path, before: int | Layout, after: int | Layout) -> None:
    """A backup, restored into a cluster of as many shards or of others, gives the same documents, index by index."""
    progress: list[tuple[int, int]] = []

    def told(*how_far: int) -> None:
        progress.append((how_far[0], how_far[1]))

    with cluster_of(before, store) as (cluster, client):
        expected = fill(cluster, client)
        made = take(cluster, client, tmp_path / "backup", progress=told)
        assert contents_of(cluster, client) == expected
        assert (made.documents, made.cluster, made.epoch) == (300, cluster.state.cluster, cluster.state.epoch)
        assert progress == sorted(progress)
        assert progress[-1] == (300, 300)
        assert open_snapshots(cluster) == [0] * len(cluster.names)
    assert verify(tmp_path / "backup") == made
    with cluster_of(after) as (cluster, client):
        progress.clear()
        assert put_back(cluster, client, tmp_path / "backup", progress=told) == Restored(300, 0)
        assert contents_of(cluster, client) == expected
        assert cluster.run(client.indexes()) == ["links", "no-documents", "pages"]
        assert progress == sorted(progress)
        assert progress[-1] == (300, 300)


def test_a_file_has_all_ranges_of_its_shard(store: OpenStore | None, tmp_path: Path) -> None:
    """Each shard has one file, however many ranges it owns; that of one which owns none is empty."""
    with cluster_of(INTERLEAVED, store) as (cluster, client):
        fill(cluster, client)
        made = take(cluster, client, tmp_path / "backup")
        names = {number: name for name, number in cluster.state.indexes.items()} | {0: ""}
    assert [file.shard for file in made.files] == ["shard0", "shard1", "shard2"]
    for file, ranges in zip(made.files, INTERLEAVED, strict=True):
        rows = rows_in(tmp_path / "backup" / file.name)
        assert len(rows) == file.documents
        assert all(in_ranges(slot_of(row.key, names[row.index].encode()), tuple(ranges)) for row in rows)
    assert made.files[2].bytes == 0
    assert min(file.documents for file in made.files[:2]) > 50


def test_into_another_kind_of_store(store: OpenStore | None, tmp_path: Path) -> None:
    """A backup of shards in memory can be restored into durable ones; a backup of those is the same again."""
    with cluster_of(2) as (cluster, client):
        fill(cluster, client)
        take(cluster, client, tmp_path / "one")
    with cluster_of(2, store) as (cluster, client):
        put_back(cluster, client, tmp_path / "one")
        take(cluster, client, tmp_path / "two")
    for name in ("0-shard0.records", "1-shard1.records"):
        one, two = rows_in(tmp_path / "one" / name), rows_in(tmp_path / "two" / name)
        assert Counter(row.record for row in one) == Counter(row.record for row in two)


def test_empty_cluster(tmp_path: Path) -> None:
    """A cluster without documents has a backup too."""
    with cluster_of(2) as (cluster, client):
        made = take(cluster, client, tmp_path / "backup")
        assert [(file.documents, file.bytes) for file in made.files] == [(0, 0), (0, 0)]
    with cluster_of(1) as (cluster, client):
        assert put_back(cluster, client, tmp_path / "backup") == Restored(0, 0)
        assert contents_of(cluster, client) == {}


def test_records_are_opaque(tmp_path: Path) -> None:
    """Records that this version can't decode, and keys of any text and length, come back byte by byte."""
    rows = [
        Row(0, chr(number).encode() * (number * 128), 0, HEAD.pack(1, 7) + bytes([number % 128, number]))
        for number in range(256)
    ]
    task = Task(Write("", [one.key for one in rows], [one.record for one in rows]), 0, [slot_of(x.key) for x in rows])
    with cluster_of(1) as (cluster, client):
        at_once(cluster.services["shard0"].shard.store.apply([task], PLENTY, PLENTY))
        take(cluster, client, tmp_path / "backup")
    with cluster_of(1) as (cluster, client):
        put_back(cluster, client, tmp_path / "backup")
        assert stored_in(cluster.services["shard0"].shard.store, {}) == sorted(rows, key=lambda row: row.key)


def test_files(tmp_path: Path) -> None:
    """A backup has the manifest, the cluster state and a file for each shard, and nothing else."""
    (tmp_path / "backup").mkdir()  # an empty directory may be there
    with cluster_of(2) as (cluster, client):
        fill(cluster, client, 30)
        made = take(cluster, client, tmp_path / "backup")
        state = cluster.state
    names = ["0-shard0.records", "1-shard1.records", "cluster.json", "manifest.json"]
    assert sorted(one.name for one in (tmp_path / "backup").iterdir()) == names
    assert [file.name for file in made.files] == names[:2]
    assert made.bytes == sum((tmp_path / "backup" / name).stat().st_size for name in names[:3])
    text = json.loads((tmp_path / "backup/manifest.json").read_text())
    assert (text["format"], text["cluster"], text["epoch"]) == (2, state.cluster, state.epoch)
    assert re.fullmatch(r"1970-01-12T13:46:\d\dZ", text["date"])
    assert set(text["files"][0]) == {"name", "shard", "documents", "bytes", "sha256"}
    assert from_json((tmp_path / "backup/cluster.json").read_bytes()) == state


@pytest.mark.parametrize(
    ("shard", "name"),
    [("a-1.b_c", "3-a-1.b_c.records"), ("../../x", "3-.._.._x.records"), ("é ß\n", "3-____.records")],
)
def test_names_of_files(shard: str, name: str) -> None:
    """Whatever a shard is called, its file has a plain name in the backup's directory."""
    assert manifest.records_name(3, shard) == name


def test_reader_in_the_docs(tmp_path: Path) -> None:
    """The reader in docs/backup.md, made from that page alone, reads what was written."""
    with cluster_of(2) as (cluster, client):
        expected = fill(cluster, client, 30)
        take(cluster, client, tmp_path / "backup")
    (text,) = tagged("docs/backup.md", "run: python")
    scope: dict[str, Any] = {}
    exec(compile(text, "docs/backup.md", "exec"), scope)
    found = {(index, key.decode()): expires for index, key, expires, _ in scope["read_backup"](tmp_path / "backup")}
    assert found == {place: expires for place, (_, expires) in expected.items()}


# -- times to live --------------------------------------------------------------------------------------------------


def test_expiry_is_carried(store: OpenStore | None, tmp_path: Path) -> None:
    """A restored document expires when the original would; one that has expired isn't restored."""
    with cluster_of(2, store) as (cluster, client):
        for number in range(10):
            cluster.run(client.write(number, number, ttl=10.0 + 10 * number))
        cluster.run(client.write("stays", 1))
        began = cluster.clock.seconds()
        cluster.clock.advance(15)
        made = take(cluster, client, tmp_path / "backup")
        assert made.documents == 10
    with cluster_of(3, now=began + 40) as (cluster, client):
        expected = {("", "stays"): (1, 0)} | {
            ("", str(number)): (number, int((began + 10 + 10 * number) * 1000)) for number in range(4, 10)
        }
        progress: list[tuple[int, int]] = []
        restored = put_back(
            cluster, client, tmp_path / "backup", progress=lambda done, total: progress.append((done, total))
        )
        assert restored == Restored(7, 3)  # that of 40 s is over at this very moment
        assert progress[-1] == (10, 10)
        assert contents_of(cluster, client) == expected
        cluster.advance(60)
        assert set(contents_of(cluster, client)) == {("", "stays")}
