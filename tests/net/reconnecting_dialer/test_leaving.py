"""An orderly stop as its clients see it: what was asked before is answered, what comes after waits for the restart."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from net.reconnecting_dialer.dialed import Owner
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.task import deferLater

from pyshard.net.reconnecting_dialer import Dialer
from pyshard.protocol.batch_answers import Answer
from pyshard.storage import ITSELF, MemoryStore, Sender, Task
from pyshard.testing import MemoryCluster

SHARD = ("127.0.0.1", 5050)


class Slow(MemoryStore):
    """Takes a second for each batch, and stays as it is when it is closed."""

    cluster: MemoryCluster | None = None

    def apply(self, tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        assert self.cluster is not None
        later: Deferred[None] = deferLater(self.cluster.clock, 1)
        return later.addCallback(lambda _: MemoryStore.apply(self, tasks, limit, room, sender))

    def close(self) -> Deferred[None]:
        return succeed(None)


@pytest.fixture
def cluster() -> MemoryCluster:
    """One shard that takes its time, and keeps what it has over a restart."""
    store = Slow("1d" * 16, lambda: 0.0)
    made = MemoryCluster(1, store=lambda *_: store)
    store.cluster = made
    return made


def test_operations_pass_an_orderly_stop(cluster: MemoryCluster) -> None:
    """Of changes that were in flight or are made during a stop, each is done exactly once, and none is unknown."""
    client = cluster.connect(deadline=30)

    async def count() -> list[int]:
        return [await client.increment("count") for _ in range(10)]

    counting: Deferred[Any] = gatherResults(
        [Deferred.fromCoroutine(count()), *(client.increment("count") for _ in range(10))]
    )
    cluster.advance(1.5)
    watched = client._router.links[0].dialer.connection
    assert watched is not None
    stopping = maybeDeferred(cluster.services.pop("shard0").stopService)
    cluster.network.settle()
    assert watched.leaving
    connected = [watched.transport is not None]  # an answer is owed
    cluster.run(stopping)
    connected.append(watched.transport is not None)
    assert connected == [True, False]
    cluster.start_shard("shard0")
    one_by_one, *at_once = cluster.run(counting)
    assert sorted([*one_by_one, *at_once]) == list(range(1, 21))


def test_nothing_is_asked_of_a_peer_that_leaves(cluster: MemoryCluster) -> None:
    """A leaving connection isn't used any more, is closed when it owes nothing, and dialed anew; the reason is told."""
    owner = Owner()
    ups = owner.ups
    dialer = Dialer(cluster.clock, cluster.network.dial(*SHARD), owner, Random(0))
    dialer.dial()
    cluster.network.settle()
    assert dialer.acquire() is ups[0]
    ups[0].leave()
    assert dialer.acquire() is None
    cluster.advance(0.1)
    assert owner.downs == ["it shut down"]
    assert ups[0].transport is None
    assert len(ups) == 2
    now = dialer.acquire()
    assert now is ups[1]
    dialer.close()
