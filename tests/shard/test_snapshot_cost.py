"""What an open snapshot may cost a shard while all documents are overwritten: the disk, or its writers' time."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from deferreds import result
from stores import PLENTY, folder
from twisted.internet.task import Clock

from pyshard.errors import SnapshotEnded, TooManySnapshots
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.pages import Row
from pyshard.settings import settings
from pyshard.shard.open_snapshots import OpenSnapshots
from pyshard.shard.shard import Shard
from pyshard.shard.snapshot_limits import SnapshotLimits, SnapshotPeer
from pyshard.storage import DataDirectory, Durability, LmdbStore, MemoryStore

MIB = 1024 * 1024
DOCUMENTS, STEP = 4000, 500
READER = SnapshotPeer("203.0.113.9", admin=False)
ADMIN = SnapshotPeer("203.0.113.9", admin=True)


class Bench:
    """A durable shard with 8 MiB of documents, and its snapshots."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self._file = path / "data/records/data.mdb"
        self.store = LmdbStore(
            DataDirectory(path / "data"), self.clock.seconds, durability=Durability.NONE, most_changed=STEP
        )
        self.shard = Shard(self.store, self.clock.seconds)
        own = MapShard("only", ((0, SLOTS),), PLENTY, "host", 1, self.store.identity, True)
        result(self.shard.configure("only", ClusterState("c", 1, ShardMap([own]))))
        self.snapshots = OpenSnapshots(self.shard, self.clock, SnapshotLimits(pins=MIB))
        self._generations = count(1)
        for _ in range(3):  # the first ones give the file the size that it has without snapshots
            self.overwrite()

    def overwrite(self, seconds: float = 0, documents: int = DOCUMENTS) -> None:
        """Write so many documents anew, in a random order of pages, in so many seconds."""
        generation = next(self._generations)
        first = generation * documents % DOCUMENTS
        for start in range(first, first + documents, STEP):
            keys = [b"%d" % number for number in range(start, start + STEP)]
            record = b"\x01" + (2000).to_bytes(4, "big") + b"\xc5\x07\xcd" + bytes([generation]) * 1997
            result(self.shard.apply(1, [Write("", keys, [record] * STEP)]))
            for _ in range(4):  # so that looks are made
                self.clock.advance(seconds * STEP / documents / 4)

    @property
    def disk(self) -> int:
        """Bytes of LMDB's file."""
        return self._file.stat().st_size


@pytest.fixture
def bench() -> Iterator[Bench]:
    """The shard."""
    with folder() as path:
        made = Bench(path)
        yield made
        result(made.store.close())


def read_slowly(bench: Bench, ticket: str, most: int) -> SnapshotEnded:
    """Read a page each 45 s, under overwriting, until the snapshot has ended; that must be soon."""
    for _ in range(most):
        bench.overwrite(45)
        try:
            result(bench.snapshots.read("peer", ticket))
        except SnapshotEnded as error:
            return error
    raise AssertionError("it never ends")


def test_a_snapshot_that_pins_much(bench: Bench) -> None:
    """What it keeps on the disk is bounded by what the shard has in use; who reads on is told what to do."""
    before, used = bench.disk, bench.store.used
    ticket = result(bench.snapshots.open("peer", READER)).id
    error = read_slowly(bench, ticket, 5)
    assert "more than" in str(error)
    assert "of old documents for it and others; take the backup when less is written, or with a token of" in str(error)
    for _ in range(5):
        bench.overwrite()
    assert bench.disk <= before + used + 5 * MIB


def test_again_and_again(bench: Bench) -> None:
    """Who opens the next one when one has ended costs no more."""
    before, used = bench.disk, bench.store.used
    for _ in range(8):
        read_slowly(bench, result(bench.snapshots.open("peer", READER)).id, 5)
    assert bench.disk <= before + used + 5 * MIB


def test_a_slow_reader(bench: Bench) -> None:
    """One that reads a little now and then has its time, however little is written."""
    ticket = result(bench.snapshots.open("peer", READER)).id
    for _ in range(3):
        for _ in range(400):
            bench.clock.advance(0.1)
        if len(bench.snapshots):
            result(bench.snapshots.read("peer", ticket))
    assert len(bench.snapshots) == 0
    with pytest.raises(SnapshotEnded, match=r"read too slowly, \S+ bytes in \S+ s, expected at least 262,144 a second"):
        result(bench.snapshots.read("peer", ticket))


def test_an_admins_backup(bench: Bench) -> None:
    """It has a place though others took all that they may, and gets every document while all are overwritten."""
    for address in ("a", "a", "b"):
        result(bench.snapshots.open(address, SnapshotPeer(address, admin=False)))
    with pytest.raises(TooManySnapshots, match="3 snapshots open, the most it may have for other roles than admin"):
        result(bench.snapshots.open("c", SnapshotPeer("c", admin=False)))
    ticket = result(bench.snapshots.open("admin", ADMIN))
    rows: list[Row] = []
    while page := result(bench.snapshots.read("admin", ticket.id)):
        rows += page
        bench.overwrite(0.1, STEP)
    assert ticket.documents == len(rows) == DOCUMENTS
    assert len({row.key for row in rows}) == DOCUMENTS
    assert {row.record[-1] for row in rows} == {3}
    assert bench.disk < 100 * MIB


def overwrites_that_keep(role: SnapshotPeer) -> tuple[int, int]:
    """Of a hundred overwrites of a shard in memory, how many came upon a new snapshot of a peer that opens all it can.

    Each one takes as long as a bulk load beside a snapshot. With it how many there are in all.
    """
    clock = Clock()
    store = MemoryStore("1d" * 16, clock.seconds)
    shard = Shard(store, clock.seconds)
    own = MapShard("only", ((0, SLOTS),), PLENTY, "host", 1, store.identity, False)
    result(shard.configure("only", ClusterState("c", 1, ShardMap([own]))))
    snapshots = OpenSnapshots(shard, clock)
    keys = [b"%d" % number for number in range(10_000)]
    opened = 0
    for _ in range(300):
        try:
            result(snapshots.open("peer", role))
            opened += 1
        except TooManySnapshots as error:
            assert "the next one can be had in" in str(error)  # noqa: PT017
        result(shard.apply(1, [Write("", keys, [b"\x01" + b"\0\0\0\0" + b"\xc0"] * len(keys))]))
        clock.advance(len(keys) * 0.5e-6)
        snapshots.close_all("peer")
    return opened, 300


def test_snapshots_that_follow_each_other() -> None:
    """Who opens one after the other, each when the last one has cost what it can, has few in the long run."""
    opened, of = overwrites_that_keep(READER)
    assert opened * 10_000 * settings.SNAPSHOT_REST <= of * 10_000 * 0.5e-6 + settings.SNAPSHOT_REST_OWED + 0.1
    assert overwrites_that_keep(ADMIN) == (of, of)
