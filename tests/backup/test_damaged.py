"""A backup that isn't what was written is refused before anything is done."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import attrs
import pytest
from backup_clusters import cluster_of, operations, put_back, take

from pyshard.backup import manifest, verify
from pyshard.backup.manifest import FileEntry
from pyshard.backup.new_backup import BLOCK, RecordsFile
from pyshard.errors import BackupDamaged, BackupFailed
from pyshard.protocol.pages import Row, encode_rows


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of the backup, for a test to damage."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


FILES = ["0-shard0.records", "1-shard1.records", "cluster.json", "manifest.json"]


def refused(directory: Path, match: str) -> None:
    """Check that `verify` refuses a backup, and `restore` before it writes anything; the message."""
    with pytest.raises(BackupDamaged, match=match):
        verify(directory)
    with cluster_of(2) as (cluster, client):
        with pytest.raises(BackupDamaged, match=match):
            put_back(cluster, client, directory)
        assert operations(cluster) == 0
        assert cluster.run(client.indexes()) == []


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit(copy: Path, name: str) -> None:
    """A backup with any bit flipped is refused."""
    original = (copy / name).read_bytes()
    assert original
    for position in range(len(original)):
        data = bytearray(original)
        data[position] ^= 1 << (position % 8)
        (copy / name).write_bytes(data)
        with pytest.raises(BackupDamaged, match=re.escape(name)):
            verify(copy)
    (copy / name).write_bytes(original)
    verify(copy)
    for position in (0, len(original) // 2, len(original) - 1):
        data = bytearray(original)
        data[position] ^= 0x10
        (copy / name).write_bytes(data)
        refused(copy, re.escape(name))


@pytest.mark.parametrize("name", FILES)
def test_any_other_length(copy: Path, name: str) -> None:
    """A backup in which any file is shorter or longer is refused."""
    original = (copy / name).read_bytes()
    for data in [original[:length] for length in range(len(original))] + [original + b"\x00", original * 2]:
        (copy / name).write_bytes(data)
        with pytest.raises(BackupDamaged, match=re.escape(name)):
            verify(copy)
    (copy / name).write_bytes(original[:-1])
    refused(copy, re.escape(name))


@pytest.mark.parametrize("name", FILES)
def test_missing_file(copy: Path, name: str) -> None:
    """A backup without one of its files is refused."""
    (copy / name).unlink()
    refused(copy, re.escape(name))
    (copy / name).mkdir()  # or with a directory in its place
    refused(copy, re.escape(name))


@pytest.mark.parametrize(
    ("old", "new"),
    [(b'"documents": ', b'"documents": 1'), (b"1970", b"1971"), (b'"format": 2', b'"format":  2'), (b"\n}\n", b"\n}")],
)
def test_edited_manifest(copy: Path, old: bytes, new: bytes) -> None:
    """An edited manifest is refused, though it is still JSON with all fields."""
    path = copy / "manifest.json"
    text = path.read_bytes()
    assert old in text
    path.write_bytes(text.replace(old, new, 1))
    assert json.loads(path.read_bytes())
    refused(copy, "manifest.json: it was changed")


def rewritten(directory: Path, **changes: Any) -> None:
    """Give a backup another manifest, with its checksum."""
    old = manifest.decode((directory / "manifest.json").read_bytes())
    (directory / "manifest.json").write_bytes(manifest.encode(attrs.evolve(old, **changes)))


@pytest.mark.parametrize("name", ["9" * 5000, "9" * 5000 + "/x", "line\nfeed"])
def test_a_long_name(copy: Path, name: str) -> None:
    """What is said of a file with a very long or an odd name is one short line."""
    old = manifest.decode((copy / "manifest.json").read_bytes())
    rewritten(copy, state=attrs.evolve(old.state, name=name))
    with pytest.raises(BackupDamaged) as caught:
        verify(copy)
    assert len(str(caught.value)) < 300
    assert "\n" not in str(caught.value)


def entry_of(directory: Path, number: int, **changes: Any) -> tuple[FileEntry, ...]:
    """The entries of a backup's files, one of them changed."""
    files = list(manifest.decode((directory / "manifest.json").read_bytes()).files)
    files[number] = attrs.evolve(files[number], **changes)
    return tuple(files)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"documents": 5_000}, r"0-shard0\.records: found \d documents, expected 5,000"),
        ({"bytes": 1}, r"0-shard0\.records: it is shorter|has no room"),
        ({"bytes": 0}, r"0-shard0\.records: it is longer than 0 bytes"),
        ({"bytes": 1 << 40}, r"0-shard0\.records: it is shorter"),
        ({"sha256": "0" * 64}, r"0-shard0\.records: its SHA-256"),
        ({"name": "1-shard1.records"}, r"manifest\.json: found the file '1-shard1.records' twice"),
        ({"name": "cluster.json"}, r"manifest\.json: found the file 'cluster.json' twice"),
        ({"name": "../0-shard0.records"}, r"manifest\.json: found the file name '../0-shard0.records'"),
        ({"name": ".."}, r"manifest\.json: found the file name '..'"),
    ],
)
def test_manifest_of_other_files(copy: Path, changes: dict[str, Any], match: str) -> None:
    """A whole manifest that doesn't describe the files beside it is refused."""
    rewritten(copy, files=entry_of(copy, 0, **changes))
    refused(copy, match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": 1}, r"manifest\.json: the backup has format 1, and this version of pyshard knows format 2"),
        ({"cluster": "other"}, r"cluster\.json: its cluster and epoch"),
        ({"epoch": 1}, r"cluster\.json: its cluster and epoch"),
    ],
)
def test_other_manifest(copy: Path, changes: dict[str, Any], match: str) -> None:
    """A manifest of another format, or with another cluster state, is refused."""
    rewritten(copy, **changes)
    refused(copy, match)


def test_no_manifest_at_all(copy: Path) -> None:
    """JSON with a right checksum that is no manifest is refused."""
    body = b'{"format": 2, '
    (copy / "manifest.json").write_bytes(body + manifest._last_member(body))
    refused(copy, "this is no manifest")


def records(directory: Path, *blocks: bytes) -> None:
    """Give a backup another first file, with a manifest that fits it."""
    (directory / "0-shard0.records").unlink()
    file = RecordsFile(directory / "0-shard0.records", "shard0")
    for block in blocks:
        file.write(block)
    entry = file.finish()
    old = manifest.decode((directory / "manifest.json").read_bytes())
    rewritten(directory, files=(attrs.evolve(entry, documents=old.files[0].documents), *old.files[1:]))


@pytest.mark.parametrize(
    ("data", "match"),
    [
        (BLOCK.pack(1, 0) + b"\x90", "the checksum of a block"),
        (BLOCK.pack(1, 0xA505DF1B) + b"\x01", "a block holds no records"),
        (BLOCK.pack(0xFFFFFFFF, 0), "a block of 4,294,967,295 bytes"),
        (b"\x00", "shorter than|no room"),
    ],
)
def test_blocks_that_are_none(copy: Path, data: bytes, match: str) -> None:
    """Each block is checked: its length before it is read, its checksum and its rows."""
    records(copy, data)
    refused(copy, match)


def test_record_of_an_unknown_index(copy: Path) -> None:
    """A record of an index that the backup's cluster state doesn't have is refused."""
    (copy / "0-shard0.records").unlink()
    file = RecordsFile(copy / "0-shard0.records", "shard0")
    file.write_block(encode_rows([Row(9, b"a", 0, b"")]), 1)
    entry = file.finish()
    rewritten(copy, files=(entry, *entry_of(copy, 1)[1:]))
    refused(copy, "a record of index 9")


@pytest.mark.parametrize("what", ["pipe", "device"])
@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file(copy: Path, name: str, what: str) -> None:
    """A pipe in place of a file isn't waited for, and a device isn't read until the memory is full."""
    (copy / name).unlink()
    if what == "pipe":
        os.mkfifo(copy / name)
    else:
        (copy / name).symlink_to("/dev/zero")
    refused(copy, rf"{re.escape(name)}: it can't be read \(Found something else than a file\)")


@pytest.mark.parametrize("name", FILES)
def test_files_that_seem_endless(copy: Path, name: str) -> None:
    """Of a file with more bytes than the memory has, only as many are read as it may have."""
    with (copy / name).open("ab") as file:
        file.truncate(1 << 40)
    refused(copy, re.escape(name))


def test_unfinished_backup(copy: Path) -> None:
    """Without its last step, the manifest, a directory is no backup."""
    (copy / "manifest.json").rename(copy / "manifest.json.new")
    refused(copy, r"manifest\.json: there is no such file.*no finished backup")
    with cluster_of(1) as (cluster, client), pytest.raises(BackupFailed, match="expected a directory that is empty"):
        take(cluster, client, copy)
    refused(copy / "nowhere", "no finished backup")


def test_the_manifest_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the manifest names is synced before the manifest gets its name."""
    steps: list[str] = []
    finish, rename = RecordsFile.finish, os.rename

    def finished(self: RecordsFile) -> FileEntry:
        steps.append(self._path.name)
        return finish(self)

    def renamed(name: str, target: str, **directories: int) -> None:
        steps.append(f"{name} → {target}")
        rename(name, target, **directories)

    monkeypatch.setattr(RecordsFile, "finish", finished)
    monkeypatch.setattr(os, "rename", renamed)
    with cluster_of(2) as (cluster, client):
        take(cluster, client, tmp_path / "backup")
    assert sorted(steps[:3]) == ["0-shard0.records", "1-shard1.records", "cluster.json"]
    assert steps[3:] == ["manifest.json.new", "manifest.json.new → manifest.json"]
