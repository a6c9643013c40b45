"""The cluster in memory: its promises about time, failures and chance, which users' tests rely on."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from deferreds import result
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater

from pyshard.bootstrap.bootstrap import Condition
from pyshard.client import Client
from pyshard.errors import ClientClosed, OutcomeUnknown, PyshardError, Unavailable
from pyshard.model.key_slots import SLOTS
from pyshard.testing import MemoryCluster

HIGH = ("127.0.0.1", 5051)  # where shard1 is

LOW_KEY, HIGH_KEY = "test", "test1"  # of shard0 and of shard1


def conditions(cluster: MemoryCluster) -> list[Condition]:
    """How ready each shard is, as the bootstrap sees it."""
    assert cluster.bootstrap is not None
    return [one.condition for one in cluster.bootstrap.bootstrap.readiness()]


# -- a cluster ------------------------------------------------------------------------------------------------------


def test_example() -> None:
    """The example of the documentation works."""
    with MemoryCluster() as cluster:
        client = cluster.connect()
        assert cluster.run(client.write("test", "hello world")) == 60
        assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": "hello world"}


@pytest.mark.parametrize("shards", [1, 2, 3, 7])
def test_ready_when_it_is_made(shards: int) -> None:
    """It has the shards asked for, with equal parts of the keyspace, all started and configured."""
    with MemoryCluster(shards) as cluster:
        assert cluster.names == [f"shard{number}" for number in range(shards)]
        assert cluster.map.starts == [SLOTS * number // shards for number in range(shards)]
        assert conditions(cluster) == [Condition.READY] * shards
        assert [service.shard.configured().name for service in cluster.services.values()] == cluster.names
        assert cluster.clock.seconds() == 1


def test_size() -> None:
    """Each shard may store the given number of bytes."""
    with MemoryCluster(size=1000) as cluster:
        client = cluster.connect()
        assert [shard.limit for shard in cluster.map.shards] == [1000, 1000]
        with pytest.raises(PyshardError, match=r"of 1,000 bytes"):
            cluster.run(client.write("test", "x" * 1000))


def test_keys_of_these_tests() -> None:
    """The keys of these tests are on the shards that their names say."""
    with MemoryCluster() as cluster:
        client = cluster.connect()
        cluster.run(client.write(LOW_KEY, 1))
        cluster.run(client.write(HIGH_KEY, 1))
        assert [service.shard.store.documents for service in cluster.services.values()] == [1, 1]


def _history(seed: int) -> tuple[list[str], str, list[object]]:
    """A record of what happens in a cluster whose shard ends and starts again."""
    with MemoryCluster(seed=seed) as cluster:
        client = cluster.connect()
        cluster.kill_shard("shard1")
        cluster.advance(3)
        cluster.start_shard("shard1")
        found: list[object] = [cluster.run(client.write(HIGH_KEY, 1)), cluster.clock.seconds()]
        return [shard.identity for shard in cluster.state.map.shards], cluster.state.cluster, found


def test_repeatable() -> None:
    """The same seed gives the same ids and the same times, another seed others."""
    assert _history(1) == _history(1)
    ids, cluster, times = _history(2)
    assert set(ids).isdisjoint(_history(1)[0])
    assert cluster != _history(1)[1]
    assert times != _history(1)[2]


def test_clients() -> None:
    """There may be several clients; each is closed with the cluster."""
    cluster = MemoryCluster()
    one, other = cluster.connect(), cluster.connect()
    cluster.run(one.write("test", 1))
    assert cluster.run(other.has("test"))
    cluster.close()
    for client in (one, other):
        with pytest.raises(ClientClosed):
            cluster.run(client.has("test"))


def test_nothing_is_left_when_it_is_closed() -> None:
    """A closed cluster leaves no delayed call, no listener and no connection, whatever was in flight."""
    with MemoryCluster() as cluster:
        client = cluster.connect()
        cluster.network.silence(*HIGH)
        client.write(HIGH_KEY, 1).addErrback(lambda _: None)
        client.create_index("pages").addErrback(lambda _: None)
        cluster.advance(0.1)
    cluster.advance(60)
    assert cluster.clock.getDelayedCalls() == []
    assert (cluster.network.listeners, cluster.services, cluster.bootstrap) == ({}, {}, None)


def test_closed_after_a_failure() -> None:
    """A test that fails inside gets its own error, and the cluster is closed."""
    cluster = MemoryCluster()
    with pytest.raises(ZeroDivisionError), cluster:
        raise ZeroDivisionError
    assert cluster.network.listeners == {}


# -- run and advance ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def cluster() -> MemoryCluster:
    """A cluster whose clock is all that the tests use."""
    return MemoryCluster()


def test_run_gives_the_result(cluster: MemoryCluster) -> None:
    """`run` lets as much time pass as the work takes, and no more."""
    before = cluster.clock.seconds()
    assert cluster.run(succeed(5)) == 5
    assert cluster.clock.seconds() == before
    assert cluster.run(deferLater(cluster.clock, 2.5, lambda: "late")) == "late"
    assert cluster.clock.seconds() == before + 2.5


def test_run_a_coroutine(cluster: MemoryCluster) -> None:
    """Coroutines run too."""

    async def work() -> list[float]:
        began = cluster.clock.seconds()
        await deferLater(cluster.clock, 1)
        await deferLater(cluster.clock, 2)
        return [cluster.clock.seconds() - began]

    assert cluster.run(work()) == [3]


async def _failing() -> None:
    raise KeyError("why")


@pytest.mark.parametrize("work", [lambda: fail(KeyError("why")), _failing])
def test_run_raises(cluster: MemoryCluster, work: Callable[[], Deferred[None] | Coroutine[Any, Any, None]]) -> None:
    """`run` raises the error of the work."""
    with pytest.raises(KeyError, match="why"):
        cluster.run(work())


def test_run_takes_its_time(cluster: MemoryCluster) -> None:
    """Work that isn't done within the seconds given fails the test."""
    assert cluster.run(deferLater(cluster.clock, 10, lambda: 1), seconds=10) == 1
    with pytest.raises(AssertionError, match=r"^not done within 10 s"):
        cluster.run(deferLater(cluster.clock, 11), seconds=10)


def test_run_notices_the_end() -> None:
    """Work that nothing can ever finish fails the test at once."""
    with MemoryCluster() as cluster:
        pass
    assert cluster.clock.getDelayedCalls() == []
    with pytest.raises(AssertionError, match=r"^nothing is left that could finish this"):
        cluster.run(Deferred())


def test_advance(cluster: MemoryCluster) -> None:
    """`advance` makes each call that is due at its own time, also those that other calls make."""
    clock, began = cluster.clock, cluster.clock.seconds()
    times: list[float] = []

    def call() -> None:
        times.append(clock.seconds() - began)
        if len(times) < 3:
            clock.callLater(0.25, call)

    clock.callLater(0.25, call)
    cluster.advance(0.5)
    assert times == [0.25, 0.5]
    assert clock.seconds() == began + 0.5
    cluster.advance(1)
    assert times == [0.25, 0.5, 0.75]


# -- failures -------------------------------------------------------------------------------------------------------


@pytest.fixture
def pair() -> tuple[MemoryCluster, Client]:
    """A cluster with a client that is connected to both shards."""
    cluster = MemoryCluster()
    client = cluster.connect()
    cluster.run(client.write(LOW_KEY, 1))
    cluster.run(client.write(HIGH_KEY, 1))
    return cluster, client


def test_kill_shard(pair: tuple[MemoryCluster, Client]) -> None:
    """A killed shard answers nothing more; its documents and the bytes on their way are lost."""
    cluster, client = pair
    cluster.network.silence(*HIGH)
    writing = client.write(HIGH_KEY, 2)
    cluster.network.settle()
    cluster.network.unsilence(*HIGH)
    cluster.kill_shard("shard1")
    with pytest.raises(OutcomeUnknown):
        cluster.run(writing)
    assert conditions(cluster) == [Condition.READY, Condition.UNREACHABLE]
    with pytest.raises(Unavailable):
        cluster.run(client.read(HIGH_KEY, deadline=2))
    assert cluster.run(client.has(LOW_KEY))
    cluster.start_shard("shard1")
    assert cluster.run(client.read(HIGH_KEY)) is None
    cluster.close()


def test_stop_shard(pair: tuple[MemoryCluster, Client]) -> None:
    """A shard that is stopped answers what it was asked before."""
    cluster, client = pair
    asked = client.read(HIGH_KEY)
    cluster.advance(0)
    cluster.stop_shard("shard1")
    assert result(asked) == {"hash_": 0.8204544, "record": 1}
    assert "shard1" not in cluster.services
    cluster.start_shard("shard1")
    cluster.close()


def test_shards_that_run_and_that_do_not(pair: tuple[MemoryCluster, Client]) -> None:
    """A shard runs once, and there are no others."""
    cluster, _ = pair
    with pytest.raises(AssertionError, match="shard1 runs already"):
        cluster.start_shard("shard1")
    with pytest.raises(AssertionError, match="there is no shard9"):
        cluster.start_shard("shard9")
    cluster.close()


def test_cut(pair: tuple[MemoryCluster, Client]) -> None:
    """A cut breaks existing connections on both sides; new ones work."""
    cluster, client = pair
    before = [connection.id for connection in cluster.network.listeners[HIGH].connections]  # type: ignore[attr-defined]
    cluster.network.cut(*HIGH)
    cluster.network.settle()
    assert cluster.network.listeners[HIGH].connections == {}  # type: ignore[attr-defined]
    assert cluster.run(client.has(HIGH_KEY))
    after = [connection.id for connection in cluster.network.listeners[HIGH].connections]  # type: ignore[attr-defined]
    assert set(before).isdisjoint(after)
    cluster.close()


def test_silence(pair: tuple[MemoryCluster, Client]) -> None:
    """A silent shard receives and does what is sent to it; its answers arrive when the silence ends."""
    cluster, client = pair
    cluster.network.silence(*HIGH)
    writing = client.write(HIGH_KEY, "two")
    cluster.advance(1)
    assert not writing.called
    assert cluster.services["shard1"].shard.operations == 2
    assert cluster.run(client.has(LOW_KEY))
    cluster.network.unsilence(*HIGH)
    assert cluster.run(writing) == 52
    cluster.close()


def test_bootstrap_that_is_away(pair: tuple[MemoryCluster, Client]) -> None:
    """A bootstrap can be stopped and started again; it keeps its state, and clients work meanwhile."""
    cluster, client = pair
    cluster.run(client.create_index("pages"))
    cluster.stop_bootstrap()
    assert cluster.bootstrap is None
    with pytest.raises(AssertionError, match="isn't running"):
        cluster.stop_bootstrap()
    assert cluster.run(client.has(LOW_KEY))
    with pytest.raises(Unavailable):
        cluster.run(client.create_index("links", deadline=1))
    cluster.start_bootstrap()
    with pytest.raises(AssertionError, match="runs already"):
        cluster.start_bootstrap()
    assert cluster.run(client.indexes()) == ["pages"]
    cluster.advance(1)
    assert conditions(cluster) == [Condition.READY, Condition.READY]
    cluster.close()


@pytest.mark.parametrize("silent", [True, False])
def test_create_index_without_a_shard(pair: tuple[MemoryCluster, Client], silent: bool) -> None:
    """An index can be created although a shard is down or silent; that shard has it when it is back."""
    cluster, client = pair
    if silent:
        cluster.network.silence(*HIGH)
    else:
        cluster.kill_shard("shard1")
    cluster.run(client.create_index("pages"))
    assert cluster.services["shard0"].shard.configured().state.indexes == {"pages": 1}
    if silent:
        cluster.network.unsilence(*HIGH)
    else:
        cluster.start_shard("shard1")
    cluster.advance(2)
    assert cluster.services["shard1"].shard.configured().state.indexes == {"pages": 1}
    cluster.close()
