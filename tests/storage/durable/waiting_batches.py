"""A program that measures what batches take while they wait for the disk of a durable shard, and what is counted."""

from __future__ import annotations

from functools import partial
from typing import Any

from resident import Made, report
from stores import folder
from twisted.internet.defer import Deferred

from pyshard.model import document_encoding
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.protocol.batch_encoding import decode_runs, encode_runs
from pyshard.protocol.batch_operations import Increment, Remove, Run, Touch, Write
from pyshard.shard.shard import Shard
from pyshard.storage import DataDirectory, LmdbStore

BATCH = 10_000
ONE = document_encoding.encode(1)[0]
OF_OTHER_SHARDS = "of other shards"
LARGE = 10**10  # no int that Python has already


def record(size: int) -> bytes:
    """A record of so many bytes, more or less."""
    return document_encoding.encode("x" * size)[0]


def keys(count: int, length: int) -> list[bytes]:
    """So many keys of so many bytes."""
    return [(b"%d" % number).zfill(length) for number in range(count)]


def writes(count: int, length: int, size: int, conditions: list[int] | None = None, ttl: bool = False) -> list[Run]:
    """A run of writes."""
    ttls = [LARGE + number for number in range(count)] if ttl else None
    return [Write("", keys(count, length), [record(size)] * count, conditions, ttls)]


#: How many batches there are of each shape, and their runs.
SHAPES: dict[str, tuple[int, list[Run]]] = {
    "tiny documents": (12, writes(BATCH, 8, 1)),
    "with times to live": (10, writes(BATCH, 8, 1, ttl=True)),
    "with versions": (10, writes(BATCH, 8, 1, [LARGE + number for number in range(BATCH)], ttl=True)),
    "that add": (12, writes(BATCH, 8, 1, [0] * BATCH)),
    "removals": (15, [Remove("", keys(BATCH, 8))]),
    "touches": (12, [Touch("", keys(BATCH, 8), [LARGE + number for number in range(BATCH)])]),
    "increments": (12, [Increment("", keys(BATCH, 8), [ONE] * BATCH, [ONE] * BATCH)]),
    "long keys": (10, writes(100, 20_000, 1)),
    "documents of 1 kB": (20, writes(1000, 20, 1000)),
    "documents of 100 kB": (20, writes(10, 20, 100_000)),
    "one by one": (15_000, writes(1, 8, 1)),
    "runs of one": (30, writes(1, 8, 1) * 1000),
    "of an unknown index": (40, [Remove("nowhere", keys(BATCH - 1, 8)), Remove("", [b"key"])]),
    OF_OTHER_SHARDS: (40, [Remove("", keys(BATCH, 8))]),
}


class NoWriter:
    """Stands in for the writer thread, which never comes to what waits.

    :ivar counted: bytes that are counted for it.
    """

    def __init__(self) -> None:
        self.waiting: list[tuple[object, Deferred[Any]]] = []
        self.counted = 0

    def submit(self, update: object, weight: int, *_: int) -> Deferred[Any]:
        """Have it wait."""
        answered: Deferred[Any] = Deferred()
        self.waiting.append((update, answered))
        self.counted += weight
        return answered


def waiting(shard: Shard, writer: NoWriter, count: int, data: bytes) -> tuple[object, int]:
    """Have batches wait."""
    before = writer.counted
    answers = [shard.apply(1, decode_runs(data)) for _ in range(count)]
    return answers, writer.counted - before


def shapes(shard: Shard, elsewhere: Shard, writer: NoWriter) -> dict[str, Made]:
    """The shapes, ready to be measured."""
    return {
        name: partial(waiting, elsewhere if name == OF_OTHER_SHARDS else shard, writer, count, encode_runs(runs))
        for name, (count, runs) in SHAPES.items()
    }


def configured(store: LmdbStore, end: int) -> Shard:
    """A shard of the slots up to `end`."""
    shard = Shard(store, lambda: 0.0)
    ranges = [MapShard("low", ((0, end),), 1 << 40, "host", 1, store.identity, True)]
    if end < SLOTS:
        ranges.append(MapShard("high", ((end, SLOTS),), 1 << 40, "host", 2, "", True))
    shard.configure("low", ClusterState("c", 1, ShardMap(ranges)))
    return shard


def main() -> None:
    """Measure all shapes."""
    with folder() as path:
        store = LmdbStore(DataDirectory(path / "data"), lambda: 1.7e9)
        small = LmdbStore(DataDirectory(path / "small"), lambda: 1.7e9)
        shard, elsewhere, writer = configured(store, SLOTS), configured(small, SLOTS // 500), NoWriter()
        store._writer = small._writer = writer  # type: ignore[assignment]  # as much of one as is used here
        for asked in (shard, elsewhere):
            waiting(asked, writer, 10, encode_runs(writes(BATCH, 8, 1)))  # makes what is made once for all
        report(shapes(shard, elsewhere, writer))


if __name__ == "__main__":
    main()
