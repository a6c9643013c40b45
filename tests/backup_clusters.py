"""What the tests of backups and of restoring share: clusters with something in them, and ways to look into both."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from twisted.internet.defer import Deferred, gatherResults

from pyshard.backup import Manifest, Restored, backup, restore
from pyshard.backup.new_backup import BLOCK
from pyshard.client import Client
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.protocol.batch_answers import ITEM
from pyshard.protocol.batch_operations import ReadItem
from pyshard.protocol.pages import Row, decode_rows
from pyshard.storage import IStore, PageBounds, Task
from pyshard.testing import MemoryCluster

#: Opens a store, given the shard's name and the time.
OpenStore: TypeAlias = Callable[[str, Callable[[], float]], IStore]

#: The ranges of each shard of a cluster.
Layout: TypeAlias = Sequence[Sequence[tuple[int, int]]]

#: Two shards that lie between each other, and one that owns nothing.
INTERLEAVED: Layout = [
    [(0, 1_000_000), (4_000_000, 6_000_000), (9_999_999, SLOTS)],
    [(1_000_000, 4_000_000), (6_000_000, 9_999_999)],
    [],
]

#: (index name, key) → (document, expiry in milliseconds since 1970 or 0).
Contents: TypeAlias = dict[tuple[str, str], tuple[object, int]]

#: One document of each kind, and one that takes more than a page.
DOCUMENTS = [None, True, 7, 2**80, 1.5, "text", b"\x00\xff", [1, [2]], {"a": {"b": None}}, "x" * 1_500_000]

PLENTY = 1 << 40
NOW = 1_000_000.0


@contextmanager
def cluster_of(
    shards: int | Layout, store: OpenStore | None = None, size: int = 1024**3, now: float = NOW
) -> Iterator[tuple[MemoryCluster, Client]]:
    """A cluster and a client of it, at a time."""
    with MemoryCluster(shards, store=store, size=size) as cluster:
        cluster.clock.rightNow = now  # to let it pass would mean a look at each shard for every second
        yield cluster, cluster.connect()


def fill(cluster: MemoryCluster, client: Client, count: int = 300) -> Contents:
    """Put documents into a cluster: three indexes, every kind of document, every fourth one with a time to live."""
    contents: Contents = {}

    async def work() -> None:
        for name in ("pages", "no-documents", "links"):
            await client.create_index(name)
        writing = []
        for number in range(count):
            index = ("", "pages", "links")[number % 3]
            document = DOCUMENTS[number % len(DOCUMENTS)] if 10 <= number < 20 else f"document {number}"
            ttl = 3600.0 + number if number % 4 == 0 else None
            expiry = int((cluster.clock.seconds() + ttl) * 1000) if ttl else 0
            writing.append(client.write(number, document, index or None, ttl=ttl))
            contents[index, str(number)] = (document, expiry)
        await gatherResults(writing)

    cluster.run(work())
    return contents


def contents_of(cluster: MemoryCluster, client: Client) -> Contents:
    """All that a cluster holds, asked for verb by verb."""

    async def look() -> Contents:
        found: Contents = {}
        for name in ["", *await client.indexes()]:
            keys = [key async for key in client.keys(name or None)]
            for item in await gatherResults([client.item(key, name or None) for key in keys]):
                assert item is not None
                expiry = round(item["expiry"] * 1000) if item["expiry"] else 0
                found[name, item["key"]] = (item["record"], expiry)
        return found

    return cluster.run(look())


def take(cluster: MemoryCluster, client: Client, directory: Path, **options: Any) -> Manifest:
    """Take a backup."""
    return cluster.run(backup(client, directory, seconds=cluster.clock.seconds, **options), seconds=600)


def put_back(cluster: MemoryCluster, client: Client, directory: Path, **options: Any) -> Restored:
    """Restore a backup."""
    return cluster.run(restore(client, directory, seconds=cluster.clock.seconds, **options), seconds=600)


def rows_in(path: Path) -> list[Row]:
    """The rows of a file, by index and key."""
    data, rows = path.read_bytes(), []
    while data:
        length, _ = BLOCK.unpack_from(data)
        rows += decode_rows(data[BLOCK.size : BLOCK.size + length])
        data = data[BLOCK.size + length :]
    return sorted(rows, key=lambda row: (row.index, row.key))


def stored_in(store: IStore, indexes: Mapping[str, int]) -> list[Row]:
    """The rows that a store has now, by its pages and `ReadItem`, in the order of `rows_in`."""
    rows = []
    for name, number in sorted({"": 0, **indexes}.items(), key=lambda pair: pair[1]):
        keys = sorted(at_once(store.page(number, 0, None, SLOTS, PageBounds(1 << 30, PLENTY, 1 << 30))).keys)
        task = Task(ReadItem(name, keys), number, [slot_of(key, name.encode()) for key in keys])
        for key, found in zip(keys, at_once(store.apply([task], PLENTY, PLENTY))[0].results, strict=True):
            assert isinstance(found, bytes)
            rows.append(Row(number, key, ITEM.unpack_from(found)[1], found[ITEM.size :]))
    return rows


def at_once(deferred: Deferred[Any]) -> Any:
    """What a Deferred that has fired came to."""
    found: list[Any] = []
    deferred.addCallback(found.append)
    return found[0]


def operations(cluster: MemoryCluster) -> int:
    """How many operations the shards have served."""
    return sum(service.shard.operations for service in cluster.services.values())


def open_snapshots(cluster: MemoryCluster) -> list[int]:
    """How many snapshots each shard has open."""
    return [len(service.snapshots) for service in cluster.services.values()]
