"""Backups that somebody made to do harm: each file and checksum is right, and what is in them is refused or bounded."""

from __future__ import annotations

import os
import tracemalloc
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any

import attrs
import pytest
from backup_clusters import NOW, cluster_of, contents_of, open_snapshots, operations, put_back, take
from twisted.internet.defer import succeed

from pyshard.backup import manifest, verified_backup, verify
from pyshard.backup.new_backup import RecordsFile
from pyshard.backup.verified_backup import VerifiedBackup, check
from pyshard.errors import BackupDamaged, BackupFailed
from pyshard.model import document_encoding
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.regular_file import open_regular
from pyshard.protocol.batch_operations import HEAD_BYTES, LONGEST_TTL
from pyshard.protocol.pages import Row, encode_rows
from pyshard.settings import settings

RECORD = document_encoding.encode(1)[0]

#: Keys of the first and of the second half of the slots, of the default index and of "pages".
ITS_OWN = next(b"k%d" % number for number in range(100) if slot_of(b"k%d" % number) < SLOTS // 2)
OTHERS = next(b"k%d" % number for number in range(100) if slot_of(b"k%d" % number) >= SLOTS // 2)
OTHERS_PAGE = next(b"k%d" % number for number in range(100) if slot_of(b"k%d" % number, b"pages") >= SLOTS // 2)

#: Gives a backup these rows, each sequence of them in a block, in so many files.
Make = Callable[..., Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a backup of one shard, with rows of one's own."""

    def made(*blocks: Sequence[Row], files: int = 1) -> Path:
        directory = tmp_path / "backup"
        with cluster_of(1) as (cluster, client):
            take(cluster, client, directory)
        old = manifest.decode((directory / "manifest.json").read_bytes())
        (directory / old.files[0].name).unlink()
        file = RecordsFile(directory / "0.records", "shard0")
        for rows in blocks:
            file.write_block(encode_rows(list(rows)), len(rows))
        entry = file.finish()
        entries = [attrs.evolve(entry, name=f"{number}.records") for number in range(files)]
        for other in entries[1:]:
            os.link(directory / entry.name, directory / other.name)  # so that many take no more of the disk than one
        (directory / "manifest.json").write_bytes(manifest.encode(attrs.evolve(old, files=tuple(entries))))
        return directory

    return made


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (Row(0, b"\xff", 0, RECORD), "found a key that is not UTF-8, at byte 0"),
        (
            Row(0, b"k" * (settings.MAX_KEY_BYTES + 1), 0, RECORD),
            "found a key of 65,537 bytes, expected 65,536 at the most",
        ),
        (Row(0, b"a", -1, RECORD), "found a record that expires at -1 ms"),
        (Row(-1, b"a", 0, RECORD), "found a record of index -1"),
        (Row(2**64 - 1, b"a", 0, RECORD), "found a record of index 18446744073709551615"),
        (
            Row(0, b"a", 0, bytes(settings.MAX_DOCUMENT_BYTES + HEAD_BYTES + 1)),
            "found a record of 16,777,222 bytes, expected 16,777,221 at the most",
        ),
    ],
)
def test_rows_that_no_shard_would_take(make: Make, row: Row, why: str) -> None:
    """They are refused before anything is written, not in the middle; the message is one line."""
    directory = make([Row(0, b"good", 0, RECORD)], [row])
    with cluster_of(1) as (cluster, client):
        with pytest.raises(BackupDamaged) as caught:
            put_back(cluster, client, directory)
        assert operations(cluster) == 0
    message = str(caught.value)
    assert message.startswith(f"0.records: {why}")
    assert message.endswith("; use another copy of the backup")
    assert "\n" not in message


#: Rows that a shard with the first half of the slots can't have, and why not.
CANNOT_HAVE = [
    (Row(0, b"\xff", 0, RECORD), "found a key that is not UTF-8, at byte 0"),
    (Row(0, b"a", -1, RECORD), "found a record that expires at -1 ms"),
    (Row(7, b"a", 0, RECORD), "found a record of index 7, which isn't in cluster.json"),
    (Row(0, OTHERS, 0, RECORD), f"found a key of slot {slot_of(OTHERS):,}, outside of the shard's ranges: [0.0, 0.5)"),
    (Row(1, OTHERS_PAGE, 0, RECORD), f"found a key of slot {slot_of(OTHERS_PAGE, b'pages'):,}, outside of the shard's"),
]


@pytest.mark.parametrize(("row", "why"), CANNOT_HAVE)
def test_rows_that_a_shard_cannot_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, row: Row, why: str) -> None:
    """A backup fails at the first one, and names the shard: no backup is made that can't be restored."""
    with cluster_of(2) as (cluster, client):
        cluster.run(client.create_index("pages"))
        cluster.run(client.write(ITS_OWN.decode(), 1))
        snapshots: Any = cluster.services["shard0"].snapshots
        pages = [[], [Row(0, ITS_OWN, 0, RECORD), row]]
        monkeypatch.setattr(snapshots, "read", lambda *_: succeed(pages.pop()))
        with pytest.raises(BackupFailed) as caught:
            take(cluster, client, tmp_path / "backup")
        assert str(caught.value).startswith(f"shard 'shard0' gives what no shard can have: {why}")
        assert open_snapshots(cluster) == [0, 0]
    assert not (tmp_path / "backup").exists()


def test_a_backup_with_rows_of_another_shard(tmp_path: Path) -> None:
    """It isn't restored: they would take the places of that shard's documents."""
    with cluster_of(2) as (cluster, client):
        cluster.run(client.write(OTHERS.decode(), 1))
        take(cluster, client, tmp_path / "backup")
        old = manifest.decode((tmp_path / "backup/manifest.json").read_bytes())
        first, second = old.files
        swapped = (attrs.evolve(first, shard=second.shard), attrs.evolve(second, shard=first.shard))
        (tmp_path / "backup/manifest.json").write_bytes(manifest.encode(attrs.evolve(old, files=swapped)))
    with pytest.raises(BackupDamaged, match="outside of the shard's ranges"):
        verify(tmp_path / "backup")


@pytest.mark.parametrize("expires", [2**62, 2**64 - 1])
def test_times_to_live_of_many_years(make: Make, expires: int) -> None:
    """A record that expires in millions of years gets the longest time to live that there is."""
    directory = make([Row(0, b"a", expires, RECORD)])
    with cluster_of(1) as (cluster, client):
        put_back(cluster, client, directory)
        assert contents_of(cluster, client) == {("", "a"): (1, int(NOW * 1000) + LONGEST_TTL)}


def checked(directory: Path) -> VerifiedBackup:
    """A backup, once each of its bytes was checked."""
    checking = check(directory)
    while True:
        try:
            next(checking)
        except StopIteration as finished:
            found: VerifiedBackup = finished.value
            return found


def test_memory_for_many_files(make: Make) -> None:
    """One block is in memory, however many files there are: it was one of each."""
    directory = make([Row(0, b"a", 0, bytes(4_000_000))], files=40)
    tracemalloc.start()
    try:
        for _ in checked(directory).blocks():
            pass
        assert tracemalloc.get_traced_memory()[1] < 40_000_000
    finally:
        tracemalloc.stop()


def test_open_files(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A few files are open, however many there are; none at the end, nor when somebody stops halfway."""
    opened: list[IO[bytes]] = []

    def noted(path: Path) -> IO[bytes]:
        opened.append(open_regular(path))
        return opened[-1]

    monkeypatch.setattr(verified_backup, "open_regular", noted)
    directory = make(*[[Row(0, b"a", 0, RECORD)]] * 3, files=100)
    assert verify(directory).documents == 300
    verified = checked(directory)
    assert all(file.closed for file in opened)
    assert max(sum(not file.closed for file in opened) for _ in verified.blocks()) == 16
    assert all(file.closed for file in opened)
    for halfway in (verified.blocks(), check(directory)):
        next(halfway)
        halfway.close()
    assert all(file.closed for file in opened)


def test_a_file_that_is_changed_while_it_is_restored(make: Make) -> None:
    """What is read again is checked again, rows included."""
    directory = make([Row(0, b"a", 0, RECORD)])
    verified = checked(directory)
    (directory / "0.records").unlink()
    file = RecordsFile(directory / "0.records", "shard0")
    file.write_block(encode_rows([Row(7, b"a", 0, RECORD)]), 1)
    file.finish()
    with pytest.raises(BackupDamaged, match=r"0\.records: found a record of index 7"):
        list(verified.blocks())


def test_files_without_end(make: Make) -> None:
    """A manifest names no more files than there can be shards."""
    directory = make([Row(0, b"a", 0, RECORD)])
    old = manifest.decode((directory / "manifest.json").read_bytes())
    files = tuple(attrs.evolve(old.files[0], name=f"{number}") for number in range(settings.MAX_SHARDS + 1))
    (directory / "manifest.json").write_bytes(manifest.encode(attrs.evolve(old, files=files)))
    with pytest.raises(BackupDamaged, match=r"manifest\.json: .*Expected `array` of length <= 5000"):
        verify(directory)
