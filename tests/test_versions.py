"""Versions as clients meet them: what `item` tells, and changes that are done only to the version that was seen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clusters import KINDS, all_keys, all_of, cluster_of, operations, outcome, restart, used, with_pages
from twisted.internet.defer import Deferred

from pyshard import Client, Item
from pyshard.errors import InvalidArgument
from pyshard.model.document_encoding import Document
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


def item(cluster: MemoryCluster, client: Client, key: str, index: str | None = None) -> Item:
    """The item of a key that exists."""
    found = cluster.run(client.item(key, index))
    assert found is not None
    return found


def test_an_item(cluster: MemoryCluster, client: Client) -> None:
    """An item is all that is known of a document: what `read` gives, and key, version, expiry and size."""
    assert cluster.run(client.item("test")) is None
    assert cluster.run(client.write("test", {"hello": "world"}, ttl=2.5)) == 54
    written = cluster.clock.seconds()
    cluster.advance(1)
    found: dict[str, Any] = {**item(cluster, client, "test")}
    assert found.pop("version") >= 1
    assert found.pop("expiry") == pytest.approx(written + 2.5, abs=0.002)
    assert found.pop("ttl") == pytest.approx(1.5, abs=0.002)
    assert found == {"key": "test", "hash_": 0.1671936, "record": {"hello": "world"}, "size": 54}


@pytest.mark.parametrize("document", [None, "", 0, 2**70, b"\x00", [], [1.5, {"a": None}], "x" * 100_000])
def test_an_item_of_any_document(cluster: MemoryCluster, client: Client, document: Document) -> None:
    """An item has the document and the size that `write` gave; without a time to live it has no expiry."""
    size = cluster.run(client.write(7, document, "pages"))
    found = item(cluster, client, "7", "pages")
    assert (found["key"], found["record"], found["size"]) == ("7", document, size)
    assert (found["expiry"], found["ttl"]) == (None, None)


def test_versions_rise(cluster: MemoryCluster, client: Client) -> None:
    """Each change of a document gives it a higher version, also when it was away in between; reading doesn't."""
    versions = []
    for _ in range(3):
        cluster.run(client.write("test", "same"))
        versions.append(item(cluster, client, "test")["version"])
        all_of(cluster, [client.read("test"), client.has("test"), client.touch("test", 100)])
        assert item(cluster, client, "test")["version"] == versions[-1]
        cluster.run(client.remove("test"))
    cluster.run(client.increment("test"))
    versions.append(item(cluster, client, "test")["version"])
    assert versions == sorted(set(versions))


def test_changes_of_the_version_that_was_seen(cluster: MemoryCluster, client: Client) -> None:
    """Write, remove and pop are done when the key has the version that they name."""
    cluster.run(client.write("test", "first"))
    version = item(cluster, client, "test")["version"]
    assert cluster.run(client.write("test", "hello world", if_version=version)) == 60
    version = item(cluster, client, "test")["version"]
    assert cluster.run(client.pop("test", if_version=version)) == {"hash_": 0.1671936, "record": "hello world"}
    cluster.run(client.write("test", {"hello": "world"}))
    version = item(cluster, client, "test")["version"]
    assert cluster.run(client.remove("test", if_version=version)) == 54
    assert cluster.run(client.has("test")) is False


def test_changes_of_another_version(cluster: MemoryCluster, client: Client) -> None:
    """When the key has another version, or doesn't exist, the answer is 0 or None, and nothing changes."""
    cluster.run(client.write("test", "old"))
    old = item(cluster, client, "test")["version"]
    cluster.run(client.write("test", "new", ttl=100))
    cluster.run(client.write("test", "elsewhere", "pages"))
    before = item(cluster, client, "test"), used(cluster)
    for version in (old, before[0]["version"] + 1, 1, 2**63 - 1):
        assert cluster.run(client.write("test", "x" * 100, if_version=version, ttl=1)) == 0
        assert cluster.run(client.remove("test", if_version=version)) == 0
        assert cluster.run(client.pop("test", if_version=version)) is None
    assert cluster.run(client.write("test", "newer", if_absent=True)) == 0
    for version in (1, before[0]["version"]):
        assert cluster.run(client.write("absent", "x", if_version=version)) == 0
        assert cluster.run(client.remove("absent", if_version=version)) == 0
        assert cluster.run(client.pop("absent", if_version=version)) is None
    assert (item(cluster, client, "test"), used(cluster)) == before
    assert all_keys(cluster, client) == ["test"]


def test_an_index_has_the_same(cluster: MemoryCluster, client: Client) -> None:
    """The handle of an index takes the same conditions."""
    pages = client.index("pages")
    cluster.run(pages.write("a", 1))
    found = cluster.run(pages.item("a"))
    assert found is not None
    assert cluster.run(pages.write("a", 2, if_version=found["version"] + 1)) == 0
    assert cluster.run(pages.write("a", 2, if_version=found["version"])) == 28
    assert cluster.run(pages.remove("a", if_version=found["version"])) == 0
    assert cluster.run(pages.pop("a", if_version=found["version"])) is None
    assert cluster.run(pages.read("a")) == {"hash_": found["hash_"], "record": 2}


@pytest.mark.parametrize("version", [0, -1, 2**63, True, 1.0, "1", b"1"])
def test_what_is_no_version(cluster: MemoryCluster, client: Client, version: Any) -> None:
    """It is refused before anything is sent, in the Deferred."""
    before = operations(cluster)
    refused: list[Deferred[Any]] = [
        client.write("test", 1, if_version=version),
        client.pop("test", if_version=version),
        client.remove("test", if_version=version),
    ]
    for work in refused:
        error = outcome(cluster, work)
        assert isinstance(error, InvalidArgument)
        assert str(error) == f"if_version: found {version!r}, expected a version as item() gives it"
    assert operations(cluster) == before


def test_both_conditions(cluster: MemoryCluster, client: Client) -> None:
    """A key can't be absent and have a version."""
    error = outcome(cluster, client.write("test", 1, if_absent=True, if_version=1))
    assert isinstance(error, InvalidArgument)
    assert str(error) == "if_absent and if_version: found both, expected one of them"


@pytest.mark.parametrize("verb", ["write", "pop", "remove"])
def test_of_many_one_wins(cluster: MemoryCluster, verb: str) -> None:
    """Of many clients that change one version at the same time exactly one does, round for round."""
    clients = [cluster.connect() for _ in range(20)]
    for each in range(5):
        cluster.run(clients[0].write("test", f"round {each}"))
        version = item(cluster, clients[0], "test")["version"]
        if verb == "write":
            tries = [client.write("test", number, if_version=version) for number, client in enumerate(clients)]
        else:
            tries = [getattr(client, verb)("test", if_version=version) for client in clients]
        won = [number for number, answer in enumerate(all_of(cluster, tries)) if answer]
        assert len(won) == 1
        after = cluster.run(clients[0].read("test"))
        assert (after and after["record"]) == (won[0] if verb == "write" else None)


def test_of_many_one_is_first(cluster: MemoryCluster) -> None:
    """Of many clients that write what must be absent exactly one does."""
    clients = [cluster.connect() for _ in range(20)]
    tries = [client.write("test", str(number), if_absent=True) for number, client in enumerate(clients)]
    won = [number for number, answer in enumerate(all_of(cluster, tries)) if answer]
    assert len(won) == 1
    assert item(cluster, clients[0], "test")["record"] == str(won[0])


def test_read_change_write(cluster: MemoryCluster) -> None:
    """Clients that read, change and write back only what they have read lose no change of another."""
    clients = [cluster.connect() for _ in range(10)]
    cluster.run(clients[0].write("test", []))

    async def append(client: Client, name: int) -> int:
        tries = 0
        for number in range(5):
            while True:
                tries += 1
                found = await client.item("test")
                assert found is not None
                assert isinstance(found["record"], list)
                if await client.write("test", [*found["record"], [name, number]], if_version=found["version"]):
                    break
        return tries

    tries = all_of(cluster, [Deferred.fromCoroutine(append(client, name)) for name, client in enumerate(clients)])
    assert sum(tries) > 50  # some did lose, and tried again
    record = item(cluster, clients[0], "test")["record"]
    assert isinstance(record, list)
    assert sorted(record) == [[name, number] for name in range(10) for number in range(5)]  # type: ignore[type-var]
    assert [one for one in record if one[0] == 3] == [[3, number] for number in range(5)]  # type: ignore[index]


def test_versions_over_a_restart() -> None:
    """A durable shard keeps its versions: what was seen before the restart can be changed after it, once."""
    with cluster_of("lmdb") as cluster:
        client = cluster.connect()
        cluster.run(client.write("test", "before"))
        before = item(cluster, client, "test")
        restart(cluster)
        assert item(cluster, client, "test") == before
        assert cluster.run(client.write("test", "after", if_version=before["version"])) == 54
        assert cluster.run(client.write("test", "again", if_version=before["version"])) == 0
        assert item(cluster, client, "test")["version"] > before["version"]


def test_versions_of_a_memory_shard_that_was_restarted() -> None:
    """A shard that came back empty gives no version that was seen before."""
    with cluster_of("memory") as cluster:
        client = cluster.connect()
        for number in range(100):
            cluster.run(client.write("test", number))
        before = item(cluster, client, "test")["version"]
        restart(cluster)
        cluster.run(client.write("test", "after"))
        assert item(cluster, client, "test")["version"] > before
        assert cluster.run(client.write("test", "again", if_version=before)) == 0
