"""Counters as clients meet them: no increment is lost or done twice, and what is no int stays what it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from clusters import KINDS, all_of, cluster_of, operations, outcome, restart, with_pages
from twisted.internet.defer import Deferred

from pyshard import Client
from pyshard.errors import DocumentTooLarge, InvalidArgument, NotANumber, OutcomeUnknown
from pyshard.settings import settings
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


def test_counting(cluster: MemoryCluster, client: Client) -> None:
    """A counter begins with its initial value, is added to, and is an ordinary document."""

    async def work() -> None:
        assert await client.increment("test") == 1
        assert await client.increment("test", 10) == 11
        assert await client.increment("test", -20, 1000) == -9
        assert await client.increment("new", 5, 100) == 105
        assert await client.increment("new", by=0) == 105
        assert await client.increment("test", index="pages") == 1
        assert await client.index("pages").increment("test", 2, initial=7) == 3
        assert await client.read("test") == {"hash_": 0.1671936, "record": -9}
        assert await client.write("test", 41) == 28
        assert await client.increment("test") == 42

    cluster.run(work())


@pytest.mark.parametrize("start", [0, 2**31 - 1, 2**62, 2**63 - 1, 2**64 - 1, 10**100, -(2**63), -(10**100)])
@pytest.mark.parametrize("by", [1, -1, 2**64, -(10**99)])
def test_ints_of_any_size(cluster: MemoryCluster, client: Client, start: int, by: int) -> None:
    """Neither 64 bits nor any other number of them are a bound."""
    cluster.run(client.write("test", start))
    assert cluster.run(client.increment("test", by)) == start + by
    assert cluster.run(client.increment("new", by, start)) == start + by
    assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": start + by}


@pytest.mark.parametrize("document", [None, True, False, 1.5, "1", b"1", [], {"n": 1}])
def test_not_a_number(cluster: MemoryCluster, client: Client, document: Any) -> None:
    """On what is no int an increment fails, and says what it found; the document stays."""
    cluster.run(client.write("test", document))
    before = cluster.run(client.item("test"))
    error = outcome(cluster, client.increment("test", initial=5))
    assert isinstance(error, NotANumber)
    expected = f"the document is of type {type(document).__name__}; increment takes an int"
    assert str(error) == f"increment of key 'test': {expected}"
    assert cluster.run(client.item("test")) == before


@pytest.mark.parametrize(("by", "initial"), [(1.0, 0), ("1", 0), (True, 0), (None, 0), (1, 0.0), (1, False), (1, None)])
def test_what_is_no_int(cluster: MemoryCluster, client: Client, by: Any, initial: Any) -> None:
    """It is refused before anything is sent, in the Deferred."""
    before = operations(cluster)
    error = outcome(cluster, client.increment("test", by, initial))
    assert isinstance(error, InvalidArgument)
    name, value = ("by", by) if type(by) is not int else ("initial", initial)
    assert str(error) == f"{name}: found {value!r}, expected an int"
    assert operations(cluster) == before


@pytest.mark.parametrize("cluster", ["lmdb"], indirect=True)  # what it is about happens before the store
def test_ints_that_are_too_large(cluster: MemoryCluster, client: Client) -> None:
    """What is past the size of a document is refused before it is sent."""
    largest = (1 << (8 * (settings.MAX_DOCUMENT_BYTES - 6) - 1)) - 1  # 6 bytes say that it is an int, and its length
    for by, initial in ((largest + 1, 0), (1, largest + 1), (largest, largest)):
        before = operations(cluster)
        assert isinstance(outcome(cluster, client.increment("test", by, initial)), DocumentTooLarge)
        assert operations(cluster) == before


def test_the_largest_ints(cluster: MemoryCluster, client: Client) -> None:
    """What is past the size of an int that shards count with is refused by them, whether it is there or comes out."""
    largest = (1 << (8 * (settings.MAX_INT_BYTES - 9) - 1)) - 1  # 5 bytes are a record's head, 4 say that it is an int
    cluster.run(client.write("test", largest - 1))
    assert outcome(cluster, client.increment("test")) == largest
    error = outcome(cluster, client.increment("test"))
    assert isinstance(error, DocumentTooLarge)
    assert str(error).startswith("increment of key 'test': the sum: the int has 65,537 bytes as stored;")
    assert outcome(cluster, client.increment("test", -1)) == largest - 1
    cluster.run(client.write("test", largest + 1))
    assert isinstance(outcome(cluster, client.increment("test", -1)), DocumentTooLarge)
    assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": largest + 1}


def test_many_count_at_once(cluster: MemoryCluster) -> None:
    """Increments of many clients are all done, each once: every value between is somebody's answer."""
    clients = [cluster.connect() for _ in range(10)]
    counting = [client.increment("test") for _ in range(50) for client in clients]
    assert sorted(all_of(cluster, counting)) == list(range(1, 501))
    assert cluster.run(clients[0].read("test")) == {"hash_": 0.1671936, "record": 500}


def test_one_client_counts_in_order(cluster: MemoryCluster, client: Client) -> None:
    """Increments of one client take effect in the order in which they were called, also among other verbs."""
    work: list[Deferred[Any]] = [
        client.increment("test", 1),
        client.increment("test", 10),
        client.write("test", 5),
        client.increment("test", 1),
        client.pop("test"),
        client.increment("test", 1, 100),
    ]
    assert all_of(cluster, work) == [1, 11, 28, 6, {"hash_": 0.1671936, "record": 6}, 101]


def test_an_answer_that_is_lost(cluster: MemoryCluster, client: Client) -> None:
    """An increment whose answer is lost isn't repeated: its caller is told that it may have happened."""
    cluster.run(client.increment("test"))
    own = cluster.state.map.lookup(1671936)
    cluster.network.silence(own.host, own.port)
    counting = client.increment("test")
    cluster.network.settle()
    cluster.network.cut(own.host, own.port)
    cluster.network.unsilence(own.host, own.port)
    assert isinstance(outcome(cluster, counting), OutcomeUnknown)
    assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": 2}


def test_a_counter_keeps_its_time_to_live(cluster: MemoryCluster, client: Client) -> None:
    """An increment doesn't make a counter live longer; a counter that begins has no time to live."""
    cluster.run(client.write("test", 1, ttl=2))
    cluster.advance(1)
    assert cluster.run(client.increment("test")) == 2
    cluster.advance(1)
    assert cluster.run(client.increment("test")) == 1
    cluster.advance(100)
    assert cluster.run(client.increment("test")) == 2


def test_counters_over_a_restart() -> None:
    """A durable shard goes on counting where it was."""
    with cluster_of("lmdb") as cluster:
        client = cluster.connect()
        assert cluster.run(client.increment("test", 2**80)) == 2**80
        restart(cluster)
        assert cluster.run(client.increment("test")) == 2**80 + 1
