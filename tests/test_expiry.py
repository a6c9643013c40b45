"""Times to live as clients meet them: gone at the very moment, for every verb; and room that comes back."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from clusters import KINDS, all_keys, cluster_of, operations, outcome, restart, used, with_pages
from twisted.internet.defer import Deferred, fail, gatherResults

from pyshard import Client
from pyshard.errors import InvalidArgument, ShardFull, StorageFailed
from pyshard.testing import MemoryCluster


@pytest.fixture(params=KINDS)
def cluster(request: pytest.FixtureRequest) -> Iterator[MemoryCluster]:
    """A cluster of two shards with each kind of store."""
    with cluster_of(request.param) as made:
        yield made


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client of `cluster`, which has the index "pages"."""
    return with_pages(cluster)


def advance_to(cluster: MemoryCluster, moment: float) -> None:
    """Let time pass until a moment."""
    cluster.advance(moment - cluster.clock.seconds())


@pytest.mark.parametrize("index", [None, "pages"])
def test_gone_at_the_very_moment(cluster: MemoryCluster, client: Client, index: str | None) -> None:
    """A millisecond before its expiry every verb sees a document, from its expiry on none does."""
    expiry = cluster.clock.seconds() + 2

    async def seen(key: str) -> list[bool]:
        return [
            await client.read(key, index) is not None,
            await client.has(key, index),
            await client.item(key, index) is not None,
            await client.touch(key, expiry - cluster.clock.seconds() or 1, index),
            key in [one async for one in client.keys(index)],
            await client.write(key, 1, index, if_absent=True) == 0,
        ]

    for key in ("test", "test1"):
        cluster.run(client.write(key, 1, index, ttl=2))
    advance_to(cluster, expiry - 0.25)
    assert cluster.run(seen("test")) == [True] * 6
    advance_to(cluster, expiry)
    assert cluster.run(seen("test1")) == [False] * 6


@pytest.mark.parametrize("verb", ["pop", "remove"])
def test_what_is_gone_cannot_be_taken(cluster: MemoryCluster, client: Client, verb: str) -> None:
    """Nobody gets a document after its expiry, nor its size."""
    cluster.run(client.write("test", "hello world", ttl=1))
    cluster.run(client.write("test1", "hello world", ttl=1))
    assert cluster.run(getattr(client, verb)("test"))
    cluster.advance(1)
    assert not cluster.run(getattr(client, verb)("test1"))


def test_to_the_millisecond(cluster: MemoryCluster, client: Client) -> None:
    """A time to live counts in milliseconds, and is one at the least."""
    for ttl, expected in ((0.0015, 0.002), (0.25, 0.25), (1e-9, 0.001), (1, 1.0)):
        cluster.run(client.write("test", 1, ttl=ttl))
        item = cluster.run(client.item("test"))
        assert item is not None
        assert item["ttl"] == expected


def test_the_last_word_counts(cluster: MemoryCluster, client: Client) -> None:
    """A write sets the time to live anew, or ends it; so does `touch`, which leaves the document alone."""

    async def work() -> None:
        await gatherResults([client.write(key, key, ttl=10) for key in "abcde"])
        await client.write("a", "new")
        await client.write("b", "new", ttl=2)
        assert await client.touch("c", None) is True
        assert await client.touch("d", 2) is True
        assert await client.touch("x", 2) is False
        assert await client.write("e", "new", if_absent=True, ttl=2) == 0

    cluster.run(work())
    cluster.advance(2)
    assert all_keys(cluster, client) == ["a", "c", "e"]
    cluster.advance(8)
    assert all_keys(cluster, client) == ["a", "c"]
    assert cluster.run(client.read("c")) == {"hash_": pytest.approx(0.5, abs=0.5), "record": "c"}


def test_a_key_begins_anew(cluster: MemoryCluster, client: Client) -> None:
    """After its expiry a key is as one that never was: it can be added, and has no version to be met."""
    cluster.run(client.write("test", "old", ttl=1))
    item = cluster.run(client.item("test"))
    assert item is not None
    cluster.advance(1)
    assert cluster.run(client.write("test", "x", if_version=item["version"])) == 0
    assert cluster.run(client.increment("test", initial=5)) == 6
    cluster.advance(100)
    assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": 6}


@pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), True, "1", b"1", [], 101 * 366 * 86400])
def test_what_is_no_time_to_live(cluster: MemoryCluster, client: Client, ttl: Any) -> None:
    """It is refused before anything is sent, in the Deferred."""
    before = operations(cluster)
    refused: list[Deferred[Any]] = [client.write("test", 1, ttl=ttl), client.touch("test", ttl)]
    for work in refused:
        error = outcome(cluster, work)
        assert isinstance(error, InvalidArgument)
        assert str(error).startswith(f"ttl: found {ttl!r}, expected a number of seconds")
    assert operations(cluster) == before


def test_the_longest_time_to_live(cluster: MemoryCluster, client: Client) -> None:
    """A hundred years are stored and told."""
    years = 100 * 366 * 86400
    assert cluster.run(client.write("test", 1, ttl=years)) == 28
    item = cluster.run(client.item("test"))
    assert item is not None
    assert item["ttl"] == years


# -- room -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_room_comes_back(kind: str) -> None:
    """What has expired fills the shard until it is swept away, which happens by itself, soon."""
    with cluster_of(kind, shards=1, size=100_000) as cluster:
        client = cluster.connect()
        cluster.run(gatherResults([client.write(number, "x" * 1000, ttl=60) for number in range(80)]))
        documents, full = used(cluster)
        with pytest.raises(ShardFull):
            cluster.run(client.write("more", "x" * 10_000))
        cluster.advance(60)
        cluster.advance(1)
        assert used(cluster) == (0, 0)
        assert (documents, full > 80_000) == (80, True)
        assert cluster.run(client.write("more", "x" * 10_000)) == 10_049


@pytest.mark.parametrize("kind", KINDS)
def test_room_comes_back_in_small_steps(kind: str) -> None:
    """However much expires at one moment, no step of sweeping removes more than 500 documents; others come between."""
    with cluster_of(kind, shards=1) as cluster:
        client = cluster.connect()
        cluster.run(client.create_index("pages"))
        cluster.run(gatherResults([client.write(number, 1, "pages", ttl=100) for number in range(1500)]))
        cluster.run(gatherResults([client.write(number, 1) for number in range(700)]))
        cluster.run(client.drop_index("pages"))
        cluster.run(client.create_index("pages"))
        cluster.run(gatherResults([client.write(number, 1, "pages", ttl=10) for number in range(1200)]))
        sizes = [used(cluster)[1]]
        for _ in range(3000):
            cluster.advance(0.005)
            sizes.append(used(cluster)[1])
        steps = [before - after for before, after in pairwise(sizes) if before != after]
        one = max(steps) / 500
        assert one < 128 + 112 + 10 + 8
        assert len(steps) >= 3 + 3  # what was dropped, and what expired
        assert used(cluster)[0] == 700
        assert len(all_keys(cluster, client)) == 700


def test_sweeping_goes_on_after_a_failure(
    cluster: MemoryCluster, client: Client, log_lines: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that takes no change for a while only puts sweeping off."""
    cluster.run(gatherResults([client.write(number, 1, ttl=1) for number in range(50)]))
    with monkeypatch.context() as broken:

        def failing(most: int) -> Deferred[bool]:
            return fail(StorageFailed("no room"))

        def raising(most: int) -> Deferred[bool]:
            raise StorageFailed("no room")

        for name, sweep in zip(cluster.names, (failing, raising), strict=True):
            broken.setattr(cluster.services[name].shard.store, "sweep", sweep)
        cluster.advance(3)
        assert used(cluster)[0] == 50
        assert all_keys(cluster, client) == []
        assert "warn: the room of expired records could not be given back: no room" in log_lines
    cluster.advance(12)
    assert used(cluster) == (0, 0)


def test_nothing_sweeps_a_stopped_shard(cluster: MemoryCluster, client: Client) -> None:
    """A shard that has stopped does nothing any more."""
    cluster.run(client.write("test", 1, ttl=1))
    cluster.close()
    assert cluster.clock.getDelayedCalls() == []


# -- restarts -------------------------------------------------------------------------------------------------------


def test_expiry_over_a_restart() -> None:
    """What expires while its shard is down is gone when it is back, and what lives longer keeps its time."""
    with cluster_of("lmdb") as cluster:
        client = cluster.connect()
        keys = [f"key{number}" for number in range(20)]
        cluster.run(gatherResults([client.write(key, 1, ttl=5) for key in keys[:10]]))
        cluster.run(gatherResults([client.write(key, 1, ttl=50) for key in keys[10:]]))
        before = cluster.run(client.item(keys[10]))
        restart(cluster, 10)
        after = cluster.run(client.item(keys[10]))
        assert before is not None
        assert after is not None
        assert (after["expiry"], after["version"]) == (before["expiry"], before["version"])
        assert all_keys(cluster, client) == sorted(keys[10:])
        assert [cluster.run(client.has(key)) for key in keys[:10]] == [False] * 10
        cluster.advance(50)
        assert all_keys(cluster, client) == []
        cluster.advance(1)
        assert used(cluster) == (0, 0)
