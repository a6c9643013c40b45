"""Restoring: a backup that isn't what was written is refused before anything is done, and so is a cluster in use."""

from __future__ import annotations

import json
import re
import shutil
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from backups import (
    cluster_of,
    contents_of,
    fill,
    operations,
    put_back,
    stored_in,
    take,
)
from twisted.internet.defer import Deferred, gatherResults

from pyshard.backup import Restored, manifest, restore, verify
from pyshard.backup.manifest import FileEntry
from pyshard.backup.reading import Contents, check
from pyshard.backup.writing import BLOCK, RecordsFile
from pyshard.batch import Row, Write, encode_rows
from pyshard.client.bulk import Step
from pyshard.client.raw import RawClient
from pyshard.errors import (
    BackupDamaged,
    BackupFailed,
    NotEmpty,
    OutcomeUnknown,
    PartialFailure,
    RestoreIncomplete,
    ShardFull,
    Unavailable,
)
from pyshard.hashing import slot_of
from pyshard.settings import settings

# -- damaged backups ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small backup, which no test may change."""
    directory = tmp_path_factory.mktemp("made") / "backup"
    with cluster_of(2) as (cluster, client):
        for name in ("pages", "links"):
            cluster.run(client.create_index(name))
        for number in range(12):
            cluster.run(client.write(number, number, (None, "pages")[number % 2], ttl=(None, 100.0)[number % 2]))
        take(cluster, client, directory)
    return directory


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoiled."""
    return Path(shutil.copytree(made, tmp_path / "copy"))


FILES = ["0-shard0.records", "1-shard1.records", "cluster.json", "manifest.json"]


def refused(directory: Path, match: str) -> None:
    """Have a backup refused, by `verify` and by `restore` before anything was written."""
    with pytest.raises(BackupDamaged, match=match):
        verify(directory)
    with cluster_of(2) as (cluster, client):
        with pytest.raises(BackupDamaged, match=match):
            put_back(cluster, client, directory)
        assert operations(cluster) == 0
        assert cluster.run(client.indexes()) == []


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit(copy: Path, name: str) -> None:
    """A backup in which any bit of any byte is another one is refused."""
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
    [(b'"documents": ', b'"documents": 1'), (b"1970", b"1971"), (b'"format": 1', b'"format":  1'), (b"\n}\n", b"\n}")],
)
def test_edited_manifest(copy: Path, old: bytes, new: bytes) -> None:
    """A manifest that was edited is refused, though it still is JSON with all that a manifest has."""
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
        ({"name": "1-shard1.records"}, r"1-shard1\.records: "),
        ({"name": "../0-shard0.records"}, r"manifest\.json: found the file name '../0-shard0.records'"),
        ({"name": ".."}, r"manifest\.json: found the file name '..'"),
    ],
)
def test_manifest_of_other_files(copy: Path, changes: dict[str, Any], match: str) -> None:
    """A manifest that is whole, and doesn't describe the files beside it, is refused."""
    rewritten(copy, files=entry_of(copy, 0, **changes))
    refused(copy, match)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"format": 2}, r"manifest\.json: the backup has format 2, and this version of pyshard knows format 1"),
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
    body = b'{"format": 1, '
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
    """Blocks are checked for themselves: their length before any room is made for them, checksum and rows."""
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


def test_unfinished_backup(copy: Path) -> None:
    """Before its very last step a backup is none."""
    (copy / "manifest.json").rename(copy / "manifest.json.new")
    refused(copy, r"manifest\.json: there is no such file.*no finished backup")
    with cluster_of(1) as (cluster, client), pytest.raises(BackupFailed, match="expected a directory that is empty"):
        take(cluster, client, copy)
    refused(copy / "nowhere", "no finished backup")


def test_the_manifest_comes_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything that the manifest names is synced before the manifest gets its name."""
    steps: list[str] = []
    finish, rename = RecordsFile.finish, Path.rename

    def finished(self: RecordsFile) -> FileEntry:
        steps.append(self._path.name)
        return finish(self)

    def renamed(self: Path, target: Path) -> Path:
        steps.append(f"{self.name} → {target.name}")
        return rename(self, target)

    monkeypatch.setattr(RecordsFile, "finish", finished)
    monkeypatch.setattr(Path, "rename", renamed)
    with cluster_of(2) as (cluster, client):
        take(cluster, client, tmp_path / "backup")
    assert sorted(steps[:3]) == ["0-shard0.records", "1-shard1.records", "cluster.json"]
    assert steps[3:] == ["manifest.json.new", "manifest.json.new → manifest.json"]


# -- restores that are refused, or stop -----------------------------------------------------------------------------


@pytest.mark.parametrize("index", [None, "pages"])
def test_cluster_that_is_not_empty(made: Path, index: str | None) -> None:
    """A cluster with a document anywhere, or with a named index, is refused and left as it is."""
    with cluster_of(3) as (cluster, client):
        if index is not None:
            cluster.run(client.create_index(index))
        else:
            cluster.run(client.write("a", 1))
        before, served = contents_of(cluster, client), operations(cluster)
        with pytest.raises(NotEmpty, match="index 'pages'" if index else r"'shard\d' has 1 documents"):
            put_back(cluster, client, made)
        assert operations(cluster) == served
        assert contents_of(cluster, client) == before


def test_cluster_that_fills_while_the_backup_is_checked(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster has to be empty when the first record is to be written, not only when the restore is called."""
    with cluster_of(2) as (cluster, client):

        def slow(directory: Path) -> Generator[None, None, Contents]:
            client.write("a", 1)
            for _ in range(50):
                yield
            return (yield from check(directory))

        monkeypatch.setattr("pyshard.backup.restoring.check", slow)
        with pytest.raises(NotEmpty):
            put_back(cluster, client, made)
        assert set(contents_of(cluster, client)) == {("", "a")}


def test_used_cluster_is_refused_at_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a large backup to be checked, only to hear that the cluster isn't empty."""
    monkeypatch.delattr("pyshard.backup.restoring.check")
    with cluster_of(2) as (cluster, client):
        cluster.run(client.write("a", 1))
        with pytest.raises(NotEmpty):
            put_back(cluster, client, made)


def test_unreachable_shard_of_the_target(made: Path) -> None:
    """Whether a shard that can't be reached is empty isn't known: nothing is written."""
    with cluster_of(2) as (cluster, client):
        cluster.kill_shard("shard1")
        with pytest.raises(Unavailable, match="'shard1' has to be empty"):
            put_back(cluster, client, made)
        assert operations(cluster) == 0
        assert cluster.state.indexes == {}


def test_target_that_is_too_small(tmp_path: Path) -> None:
    """A restore into a cluster without the room for it stops; the error says why, and how far it came."""
    with cluster_of(1) as (cluster, client):
        fill(cluster, client, 10)
        cluster.run(gatherResults([client.write(number, "x" * 900) for number in range(5000)]))
        take(cluster, client, tmp_path / "backup")
    with cluster_of(2, size=1_000_000) as (cluster, client):
        with pytest.raises(RestoreIncomplete, match=r"after [\d,]+ of 5,0\d\d documents: the shard holds") as caught:
            put_back(cluster, client, tmp_path / "backup")
        assert isinstance(caught.value.__cause__, ShardFull)
        (done,) = re.findall(r"after ([\d,]+) of", str(caught.value))
        assert 0 < int(done.replace(",", "")) == len(contents_of(cluster, client)) < 5000


def test_lost_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Connections that break on the way don't end a restore: what may or may not have been written is written again."""
    with cluster_of(1) as (cluster, client):
        expected = fill(cluster, client)
        take(cluster, client, tmp_path / "backup")
    unknown = 0
    original = RawClient.bulk

    def counted(self: RawClient, *given: Any) -> Deferred[list[object]]:
        def count(failure: Any) -> Any:
            nonlocal unknown
            unknown += sum(isinstance(error, OutcomeUnknown) for _, error in failure.value.failed)
            return failure

        return original(self, *given).addErrback(count)

    monkeypatch.setattr(RawClient, "bulk", counted)
    with cluster_of(2) as (cluster, client):
        shard: Any = cluster.services["shard0"].shard
        apply = shard.apply

        def applied(*given: Any) -> Any:
            """The first batch is applied, and what the shard says from then on is lost with the connection."""
            shard.apply = apply
            cluster.network.silence("127.0.0.1", 5050)
            cluster.clock.callLater(5, cluster.network.cut, "127.0.0.1", 5050)
            cluster.clock.callLater(5, cluster.network.unsilence, "127.0.0.1", 5050)
            return apply(*given)

        shard.apply = applied
        restoring = restore(client, tmp_path / "backup", seconds=cluster.clock.seconds)
        assert cluster.run(restoring, seconds=600) == Restored(300, 0)
        assert unknown > 0
        assert contents_of(cluster, client) == expected


def test_answers_that_never_come(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that is repeated in vain ends the restore."""
    asked = Counter[bytes]()

    def lost(self: RawClient, steps: Iterator[Step], *given: Any) -> Deferred[list[object]]:
        keys = [(row, row.key) for step in steps for row in step.keys if isinstance(row, Row)]
        asked.update(key for _, key in keys)
        failing: Deferred[list[object]] = Deferred()
        failure = PartialFailure("lost", [(row, OutcomeUnknown("lost")) for row, _ in keys])
        self.clock.callLater(1, failing.errback, failure)
        return failing

    monkeypatch.setattr(RawClient, "bulk", lost)
    with cluster_of(2) as (cluster, client):
        with pytest.raises(RestoreIncomplete, match="after 0 of 12 documents: lost") as caught:
            put_back(cluster, client, made)
        assert isinstance(caught.value.__cause__, OutcomeUnknown)
        assert set(asked.values()) == {4}
        assert 0 < len(asked) < 12  # the blocks behind the one that failed are not begun


def test_what_others_write_stays(made: Path) -> None:
    """A key that a client writes while a restore is under way keeps what the client wrote."""
    with cluster_of(2) as (cluster, client):
        for service in cluster.services.values():
            shard: Any = service.shard
            apply = shard.apply

            def early(epoch: int, runs: Any, shard: Any = shard, apply: Any = apply) -> Any:
                shard.apply = apply
                own = shard.configured().range
                for number in range(0, 12, 2):
                    if own.owns(slot_of(b"%d" % number)):
                        apply(epoch, [Write("", [b"%d" % number], [b"newer"])])
                return apply(epoch, runs)

            shard.apply = early
        assert put_back(cluster, client, made) == Restored(12, 0)
        rows = [row for one in cluster.services.values() for row in stored_in(one.shard.store, cluster.state.indexes)]
    assert {row.record == b"newer" for row in rows if row.index == 0} == {True}
    assert {row.record == b"newer" for row in rows if row.index != 0} == {False}


def test_few_are_in_flight(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A restore has one block's records in flight: a block's bytes, or a single record that is larger."""
    with cluster_of(1) as (cluster, client):
        cluster.run(gatherResults([client.write(number, b"x" * 1000) for number in range(5000)]))
        cluster.run(gatherResults([client.write(f"large {number}", b"x" * 3_000_000) for number in range(10)]))
        take(cluster, client, tmp_path / "backup")
    flying: list[int] = []
    seen: list[tuple[int, int]] = []
    original = RawClient.bulk

    def counted(self: RawClient, steps: Iterator[Step], *given: Any) -> Deferred[list[object]]:
        taken = list(steps)
        flying.append(sum(len(row.record) for step in taken for row in step.keys if isinstance(row, Row)))
        seen.append((len(flying), flying[0]))

        def landed(outcome: Any) -> Any:
            flying.pop()
            return outcome

        return original(self, iter(taken), *given).addBoth(landed)

    monkeypatch.setattr(RawClient, "bulk", counted)
    with cluster_of(2) as (cluster, client):
        assert put_back(cluster, client, tmp_path / "backup") == Restored(5010, 0)
    assert {count for count, _ in seen} == {1}
    assert 500_000 < max(size for _, size in seen if size < 3_000_000) <= settings.SNAPSHOT_BYTES
    assert max(size for _, size in seen) < 3_000_000 + settings.SNAPSHOT_BYTES
