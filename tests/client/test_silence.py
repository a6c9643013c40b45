"""What a client is promised when its connections are silent: no change is lost with one that is gone, no call hangs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.defer import Deferred, gatherResults

from pyshard import Client
from pyshard.errors import OutcomeUnknown, Unavailable
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

LOW, HIGH = ("127.0.0.1", 5050), ("127.0.0.1", 5051)  # of "test", of "test1"
BOOTSTRAP = ("localhost", 9192)


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client that is connected to all of it, and has counted to 1 on both shards."""
    connected = cluster.connect()
    assert cluster.run(gatherResults([connected.increment("test"), connected.increment("test1")])) == [1, 1]
    return connected


def outcome(cluster: MemoryCluster, work: Deferred[Any]) -> Any:
    """What a Deferred comes to, or the error that it fails with."""
    return cluster.run(work.addErrback(lambda failure: failure.value))


def stop(cluster: MemoryCluster, seconds: float) -> None:
    """Have time pass in which no reactor runs: as in a program that makes no blocking call, or was stopped."""
    cluster.clock.rightNow += seconds


def connections(cluster: MemoryCluster) -> list[int]:
    """How many connections each shard has."""
    listeners = [cluster.network.listeners[where] for where in (LOW, HIGH)]
    return [len(listener.connections) for listener in listeners]  # type: ignore[attr-defined]  # ours have it


def test_a_change_after_a_silence(cluster: MemoryCluster, client: Client) -> None:
    """A change on a connection that is gone without a word is done, once, on the next connection."""
    for where in (LOW, HIGH):
        cluster.network.strand(*where)
    stop(cluster, settings.HEARTBEAT)
    assert outcome(cluster, gatherResults([client.increment("test"), client.increment("test1")])) == [2, 2]
    assert outcome(cluster, client.increment("test")) == 3


def test_a_change_at_once(cluster: MemoryCluster, client: Client) -> None:
    """Where something was heard a moment ago, nothing could be known: the outcome is unknown, by the deadline."""
    cluster.network.strand(*LOW)
    began = cluster.clock.seconds()
    assert type(outcome(cluster, client.increment("test"))) is OutcomeUnknown
    assert cluster.clock.seconds() - began <= settings.DEADLINE
    assert outcome(cluster, client.increment("test")) == 2


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda client: client.read("test", deadline=3), Unavailable),
        (lambda client: client.increment("test", deadline=3), OutcomeUnknown),
        (lambda client: client.keys(deadline=3).next_page(), Unavailable),
    ],
    ids=["read", "increment", "keys"],
)
def test_calls_in_flight_end_by_their_deadline(
    cluster: MemoryCluster, client: Client, ask: Callable[[Client], Deferred[Any]], error: type[Exception]
) -> None:
    """A call that was sent on a connection that is gone by then fails by its deadline."""
    cluster.network.strand(*LOW)
    began = cluster.clock.seconds()
    assert type(outcome(cluster, ask(client))) is error
    assert cluster.clock.seconds() - began == pytest.approx(3, abs=0.1)


def test_short_deadlines_after_a_silence(cluster: MemoryCluster, client: Client) -> None:
    """While it isn't known whether the peer is there nothing is sent: what can't wait is `Unavailable`, undone."""
    cluster.network.strand(*LOW)
    stop(cluster, settings.HEARTBEAT)
    assert type(outcome(cluster, client.increment("test", deadline=1))) is Unavailable
    assert outcome(cluster, client.increment("test")) == 2


def test_an_idle_client_that_runs(cluster: MemoryCluster, client: Client) -> None:
    """A client whose reactor runs keeps its connections, however long it is idle, and finds out which are gone."""
    before = connections(cluster)
    cluster.advance(3600)
    assert connections(cluster) == before
    cluster.network.strand(*LOW)
    cluster.advance(settings.HEARTBEAT + settings.TIMEOUT + 1)
    cluster.network.silence(*LOW)
    began = cluster.clock.seconds()
    cluster.clock.callLater(1, cluster.network.unsilence, *LOW)
    assert outcome(cluster, client.increment("test")) == 2  # on a connection that had yet to be dialed
    assert cluster.clock.seconds() - began < settings.TIMEOUT


def test_indexes_after_a_silence(cluster: MemoryCluster, client: Client) -> None:
    """The same holds for the connection to the bootstrap."""
    cluster.network.strand(*BOOTSTRAP)
    stop(cluster, settings.HEARTBEAT)
    assert outcome(cluster, client.create_index("pages")) is None
    assert outcome(cluster, client.indexes()) == ["pages"]


def test_a_client_that_was_stopped_with_calls_in_flight(cluster: MemoryCluster, client: Client) -> None:
    """Calls that were in flight when a process was stopped for long end, and the next ones are done."""
    cluster.network.silence(*LOW)
    waiting: list[Deferred[Any]] = [client.increment("test"), client.read("test")]
    cluster.network.settle()
    stop(cluster, 3600)
    cluster.network.unsilence(*LOW)
    found = [outcome(cluster, one) for one in waiting]
    assert type(found[0]) in (OutcomeUnknown, int)
    assert outcome(cluster, client.increment("test")) == 3
