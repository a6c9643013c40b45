"""Restores that are refused, or stop on the way."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from backup_clusters import PLENTY, at_once, cluster_of, contents_of, fill, operations, put_back, stored_in, take
from twisted.internet.defer import Deferred, gatherResults

from pyshard.backup import Restored, restore
from pyshard.backup.verified_backup import VerifiedBackup, check
from pyshard.client.backup_client import BackupClient
from pyshard.client_core.bulk_input import BulkSlice
from pyshard.errors import NotEmpty, OutcomeUnknown, PartialFailure, RestoreIncomplete, ShardFull, Unavailable
from pyshard.model import document_encoding
from pyshard.model.document_encoding import HEAD
from pyshard.model.key_slots import slot_of
from pyshard.model.slot_ranges import in_ranges
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.pages import Row
from pyshard.settings import settings
from pyshard.storage import Task


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

        def slow(directory: Path) -> Generator[None, None, VerifiedBackup]:
            client.write("a", 1)
            for _ in range(50):
                yield
            return (yield from check(directory))

        monkeypatch.setattr("pyshard.backup.restoring.check", slow)
        with pytest.raises(NotEmpty):
            put_back(cluster, client, made)
        assert set(contents_of(cluster, client)) == {("", "a")}


def test_used_cluster_is_refused_at_once(made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cluster that isn't empty is refused before the backup is checked, which may take long."""
    monkeypatch.delattr("pyshard.backup.restoring.check")
    with cluster_of(2) as (cluster, client):
        cluster.run(client.write("a", 1))
        with pytest.raises(NotEmpty):
            put_back(cluster, client, made)


def test_unreachable_shard_of_the_target(made: Path) -> None:
    """While a shard can't be reached nothing is written, since it may not be empty."""
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
        with pytest.raises(
            RestoreIncomplete, match=r"after [\d,]+ of 5,0\d\d documents: .*: the shard holds"
        ) as caught:
            put_back(cluster, client, tmp_path / "backup")
        assert isinstance(caught.value.__cause__, ShardFull)
        (done,) = re.findall(r"after ([\d,]+) of", str(caught.value))
        assert 0 < int(done.replace(",", "")) == len(contents_of(cluster, client)) < 5000


def test_lost_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A broken connection doesn't end a restore: writes with an unknown outcome are repeated."""
    with cluster_of(1) as (cluster, client):
        expected = fill(cluster, client)
        take(cluster, client, tmp_path / "backup")
    unknown = 0
    original = BackupClient.bulk

    def counted(self: BackupClient, *given: Any) -> Deferred[list[object]]:
        def count(failure: Any) -> Any:
            nonlocal unknown
            unknown += sum(isinstance(error, OutcomeUnknown) for _, error in failure.value.failed)
            return failure

        return original(self, *given).addErrback(count)

    monkeypatch.setattr(BackupClient, "bulk", counted)
    with cluster_of(2) as (cluster, client):
        shard: Any = cluster.services["shard0"].shard
        apply = shard.apply

        def applied(*given: Any) -> Any:
            """The first batch is applied, but its answer is lost with the connection."""
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
    """A write whose repeats get no answer either ends the restore."""
    asked = Counter[bytes]()

    def lost(self: BackupClient, steps: Iterator[BulkSlice], *given: Any) -> Deferred[list[object]]:
        keys = [(row, row.key) for step in steps for row in step.keys if isinstance(row, Row)]
        asked.update(key for _, key in keys)
        failing: Deferred[list[object]] = Deferred()
        failure = PartialFailure("lost", [(row, OutcomeUnknown("lost")) for row, _ in keys])
        self.clock.callLater(1, failing.errback, failure)
        return failing

    monkeypatch.setattr(BackupClient, "bulk", lost)
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

            def early(epoch: int, runs: Any, sender: Any, shard: Any = shard, apply: Any = apply) -> Any:
                shard.apply = apply
                own = shard.configured().own
                for number in range(0, 12, 2):
                    if in_ranges(slot_of(b"%d" % number), own.ranges):
                        apply(epoch, [Write("", [b"%d" % number], [b"newer"])])
                return apply(epoch, runs, sender)

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
    original = BackupClient.bulk

    def counted(self: BackupClient, steps: Iterator[BulkSlice], *given: Any) -> Deferred[list[object]]:
        taken = list(steps)
        flying.append(sum(len(row.record) for step in taken for row in step.keys if isinstance(row, Row)))
        seen.append((len(flying), flying[0]))

        def landed(outcome: Any) -> Any:
            flying.pop()
            return outcome

        return original(self, iter(taken), *given).addBoth(landed)

    monkeypatch.setattr(BackupClient, "bulk", counted)
    with cluster_of(2) as (cluster, client):
        assert put_back(cluster, client, tmp_path / "backup") == Restored(5010, 0)
    assert {count for count, _ in seen} == {1}
    assert 500_000 < max(size for _, size in seen if size < 3_000_000) <= settings.SNAPSHOT_BYTES
    assert max(size for _, size in seen) < 3_000_000 + settings.SNAPSHOT_BYTES


def test_records_that_no_shard_takes(tmp_path: Path) -> None:
    """They are left out, counted and named; where only the size in the head is wrong it is put right."""
    good, text = document_encoding.encode({"a": 1})[0], document_encoding.encode("text")[0]
    given = {
        b"good": good,
        b"stamp": HEAD.pack(1, 24) + b"\x91\xd6\xff" + bytes(4),  # a shard doesn't look so deep
        b"unsized": HEAD.pack(1, 0) + text[5:],
        b"unsized stamp": HEAD.pack(1, 0) + b"\x92\xc0\xd6\xff" + bytes(4),
        **{b"junk%d" % number: b"\xff" * number for number in range(20)},
    }
    with cluster_of(1) as (cluster, client):
        task = Task(Write("", list(given), list(given.values())), 0, list(map(slot_of, given)))
        at_once(cluster.services["shard0"].shard.store.apply([task], PLENTY, PLENTY))
        assert take(cluster, client, tmp_path / "backup").documents == 24
    with cluster_of(1) as (cluster, client):
        progress: list[tuple[int, int]] = []
        restored = put_back(cluster, client, tmp_path / "backup", progress=lambda *done: progress.append(done))
        assert (restored.documents, restored.expired, restored.left_out) == (3, 0, 21)
        assert len(restored.unreadable) == 10
        left_out = r"key '(junk\d+|unsized stamp)': the record .*can't be read: "
        assert all(re.match(left_out, one) for one in restored.unreadable)
        assert progress[-1] == (24, 24)
        stored = {row.key: row.record for row in stored_in(cluster.services["shard0"].shard.store, {})}
        assert stored == {b"good": good, b"stamp": given[b"stamp"], b"unsized": text}
