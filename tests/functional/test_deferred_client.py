"""The Deferred client over real sockets: much at once, large documents, pages of keys, stat, full shards."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import pytest_twisted
from functional.cluster import HOST, Cluster, NewCluster
from twisted.internet.defer import Deferred, DeferredList, gatherResults
from twisted.internet.task import deferLater

from pyshard import Client, Document, connect
from pyshard.errors import DocumentTooLarge, OutcomeUnknown, ShardFull
from pyshard.model import document_encoding
from pyshard.model.key_slots import slot_of
from pyshard.settings import settings

pytestmark = pytest.mark.functional


@asynccontextmanager
async def connected(cluster: Cluster) -> AsyncIterator[Client]:
    """A client on the reactor that pytest-twisted runs."""
    from twisted.internet import reactor

    client = await connect(reactor, cluster.server)
    try:
        yield client
    finally:
        await client.close()


def stored(key: str, document: Document) -> int:
    """The bytes that a document counts for."""
    return len(key.encode()) + len(document_encoding.encode(document)[0]) + settings.ITEM_OVERHEAD


@pytest_twisted.ensureDeferred
async def test_many_at_once(shared: Cluster) -> None:
    """2,000 writes, then 2,000 reads, all in flight together: each Deferred gets its own answer."""
    async with connected(shared) as client:
        sizes = await gatherResults([client.write(f"many {number}", str(number)) for number in range(2000)])
        assert sizes == [49 + len(str(number)) for number in range(2000)]
        found = await gatherResults([client.read(f"many {number}") for number in range(2000)])
        assert [one and one["record"] for one in found] == [str(number) for number in range(2000)]


@pytest_twisted.ensureDeferred
async def test_order_on_one_key(shared: Cluster) -> None:
    """What is issued on one key without waiting takes effect in the order issued."""
    async with connected(shared) as client:
        outcomes: list[Deferred[Any]] = []
        for number in range(500):
            outcomes += [client.write("order", number), client.read("order"), client.pop("order"), client.has("order")]
        results = await gatherResults(outcomes)
        assert [result["record"] for result in results[1::4]] == list(range(500))
        assert [result["record"] for result in results[2::4]] == list(range(500))
        assert not any(results[3::4])


@pytest_twisted.ensureDeferred
async def test_large_document(shared: Cluster) -> None:
    """A document of 10 MiB comes back as it was, while small ones pass; one past the limit is never sent."""
    large: Document = {"pixels": bytes(range(256)) * 40_960, "text": "ä" * 1000}
    async with connected(shared) as client:
        writing = client.write("large", large)
        assert await client.write("small", 1) == 28
        assert await writing == 33 + 256 * 40_960 + 73 + 1000
        found = await client.read("large")
        assert found is not None
        assert found["record"] == large
        with pytest.raises(DocumentTooLarge):
            await client.write("large", b"x" * settings.MAX_DOCUMENT_BYTES)
        assert await client.remove("large") == 33 + 256 * 40_960 + 73 + 1000
        assert await client.read("large") is None


@pytest_twisted.ensureDeferred
async def test_keys(shared: Cluster) -> None:
    """All of 5,000 keys come, each once and in slot order, page by page over both shards."""
    async with connected(shared) as client:
        index = client.index("keys")
        await index.create()
        expected = [f"key {number} ü" for number in range(5000)]
        await gatherResults([index.write(key, None) for key in expected])
        found = [key async for key in client.keys("keys")]
        assert found == sorted(expected, key=lambda key: (slot_of(key.encode(), b"keys"), key.encode()))
        pages, page, scan = 0, ["?"], index.keys()
        while page:
            page = await scan.next_page()
            pages += bool(page)
        assert pages >= 5000 / settings.PAGE_KEYS
        await index.drop()
        assert "keys" not in await client.indexes()


@pytest_twisted.ensureDeferred
async def test_stat(cluster: Cluster) -> None:
    """Stat tells what the shards hold to the byte, and who is connected, by the ids that stand in the log."""
    written: dict[str, Document] = {f"stat {number}": {"number": number} for number in range(1000)}
    async with connected(cluster) as client:
        await client.create_index("pages")
        await gatherResults([client.write(key, document) for key, document in written.items()])
        await client.write("stat", b"in an index", "pages")
        stat = await client.stat()
        assert stat["indexes"] == ["pages"]
        shards: Any = stat["shards"]
        total = sum(stored(key, document) for key, document in written.items()) + stored("stat", b"in an index")
        assert sum(shard["bytes"] for shard in shards) == total
        assert sum(shard["documents"] for shard in shards) == 1001
        assert sum(shard["operations"] for shard in shards) == 1001
        for one, daemon, own in zip(shards, cluster.shards, cluster.config, strict=True):
            assert (one["name"], one["address"]) == (daemon.name, f"{HOST}:{daemon.port}")
            assert (one["ranges"], one["limit"]) == ([[own["start"], own["end"]]], own["size"])
            assert one["epoch"] == stat["epoch"]
            assert one["ephemeral"] is True
            assert 0 < one["uptime"] < 600
            assert len(one["histogram"]) == settings.HISTOGRAM_BARS
            assert sum(one["histogram"]) == one["documents"]
            assert min(one["histogram"]) > 0
            assert [each["operations"] for each in one["connections"]] == [0, one["operations"]]
            for each in one["connections"]:
                assert f"connection {each['id']} from {each['peer']}: opened" in daemon.log()
            assert len({each["id"] for each in one["connections"]}) == 2
        assert len({shard["id"] for shard in shards}) == 2


@pytest_twisted.ensureDeferred
async def test_full(new_cluster: NewCluster) -> None:
    """A full shard refuses what has no room and keeps what it has; what is removed is room again, to the byte."""
    cluster = new_cluster(2, 64 * 1024)
    cluster.start()
    keys = cluster.keys(0, 200)
    document = b"x" * 1000
    async with connected(cluster) as client:
        outcomes: list[tuple[bool, Any]] = await DeferredList(
            [client.write(key, document) for key in keys], consumeErrors=True
        )
        fit = [key for key, (ok, _) in zip(keys, outcomes, strict=True) if ok]
        assert all(failure.check(ShardFull) for ok, failure in outcomes if not ok)
        for key in keys:
            assert await client.has(key) == (key in fit)

        stat: Any = await client.stat()
        used = stat["shards"][0]["bytes"]
        assert used == sum(stored(key, document) for key in fit)
        room = 64 * 1024 - used
        assert room < stored(keys[-1], document)

        changed = bytes(1000 + room)
        assert await client.write(fit[0], changed) == 33 + len(changed)
        with pytest.raises(ShardFull):
            await client.write(fit[0], changed + b"x")
        found = await client.read(fit[0])
        assert found is not None
        assert found["record"] == changed
        with pytest.raises(ShardFull):
            await client.write(keys[-1], None)

        assert await client.remove(fit[0]) == 33 + len(changed)
        stat = await client.stat()
        assert stat["shards"][0]["bytes"] == used - stored(fit[0], document)
        assert await client.write(fit[0], changed) == 33 + len(changed)
        other = cluster.keys(1, 1)[0]
        assert await client.write(other, document) == 1033


@pytest_twisted.ensureDeferred
async def test_killed_under_load(cluster: Cluster) -> None:
    """When a shard is killed under load, only what was in flight is unknown; what follows waits for it and is done."""
    from twisted.internet import reactor

    async def write_on(key: str) -> int:
        """Write ever higher numbers; how often the outcome was unknown."""
        unknown = 0
        for number in range(100):
            if number == 20 and not stopped.called:
                cluster.shards[0].send(signal.SIGSTOP)  # from now on it answers nothing
                stopped.callback(None)
            try:
                assert await client.write(key, number) in (24, 28)
            except OutcomeUnknown:
                unknown += 1
        return unknown

    keys = cluster.keys(0, 50)
    stopped: Deferred[None] = Deferred()
    async with connected(cluster) as client:
        writers = gatherResults([Deferred.fromCoroutine(write_on(key)) for key in keys])
        await stopped
        await deferLater(reactor, 0.5)  # until what it answered before has come, and the next writes are in flight
        cluster.shards[0].kill()
        cluster.shards[0].start()
        unknown = await writers
        assert 0 < sum(unknown) <= len(keys)
        found = await gatherResults([client.read(key) for key in keys])
        assert [one and one["record"] for one in found] == [99] * len(keys)
