"""A shard that is stuck: what a client holds for it is bounded, and nothing that isn't its own has to wait."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from clusters import connected, keys_on
from deferreds import watch
from twisted.internet.defer import Deferred, fail

from pyshard import Client
from pyshard.client_core import operation_queue
from pyshard.errors import Overloaded, Unavailable
from pyshard.settings import settings
from pyshard.testing import MemoryCluster

STUCK = ("127.0.0.1", 5050)  # shard0


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client that is connected to both shards, of which the first one doesn't answer any more."""
    made = connected(cluster)
    cluster.network.silence(*STUCK)
    return made


def test_others_wait_for_nothing(cluster: MemoryCluster, client: Client) -> None:
    """While one shard is stuck, with all that may wait for it, the other's answers come without any time passing."""
    stuck = [watch(client.write(key, "x" * 1000)) for key in keys_on(cluster, "shard0", 5000)]
    bulk = watch(client.write_many((key, 1) for key in keys_on(cluster, "shard0", 100)))
    pages = watch(client.keys().next_page())
    cluster.network.settle()
    began = cluster.clock.seconds()
    found: list[list[Any]] = [watch(client.write(key, 1)) for key in keys_on(cluster, "shard1", 5000)]
    found.append(watch(client.read_many(keys_on(cluster, "shard1", 3000))))
    cluster.network.settle()
    assert all(found)
    assert found[0] == [28]
    assert cluster.clock.seconds() == began
    assert not any(stuck)
    assert (bulk, pages) == ([], [])
    cluster.advance(settings.DEADLINE + 1)
    assert all(stuck)


def test_a_full_queue_is_overloaded_at_once(
    cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What would wait past the limit fails in the call itself; the other shard isn't concerned."""
    monkeypatch.setattr(operation_queue, "settings", attrs.evolve(settings, MAX_WAITING=100, BOX_OPERATIONS=10))
    stuck = [watch(client.write(key, 1)) for key in keys_on(cluster, "shard0", 1000)]
    assert [type(one[0]) for one in stuck if one] == [Overloaded] * 900
    cluster.network.settle()  # four boxes of ten leave
    assert len([one for one in stuck if not one]) == 100
    mine = watch(client.write("test1", 1))
    cluster.network.settle()
    assert mine == [28]


def test_bytes_for_a_stuck_shard(cluster: MemoryCluster, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large documents count by their bytes: those in flight by their boxes, those that wait by the queue's limit."""
    monkeypatch.setattr(operation_queue, "settings", attrs.evolve(settings, MAX_WAITING_BYTES=10_000_000))
    document = b"x" * 1_000_000
    stuck = []
    for key in keys_on(cluster, "shard0", 100):
        stuck.append(watch(client.write(key, document)))
        cluster.network.settle()
    taken = [one for one in stuck if not one]
    assert len(taken) == settings.BOXES_IN_FLIGHT + 10
    assert {type(one[0]) for one in stuck if one} == {Overloaded}


def test_a_shard_that_is_overloaded(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an overloaded shard refuses, nothing of which was done, is sent again, with pauses, until the deadline."""
    client = cluster.connect()
    assert cluster.run(client.increment("test")) == 1
    shard, asked = cluster.services["shard0"].shard, []

    def refuse(*_: object) -> Deferred[Any]:
        asked.append(cluster.clock.seconds())
        return fail(Overloaded("changes of 256 bytes wait for this shard's disk already; try again later"))

    with monkeypatch.context() as patched:
        patched.setattr(shard, "apply", refuse)
        began = cluster.clock.seconds()
        failed = watch(client.increment("test"))
        cluster.advance(5)
        assert failed == []
        assert 5 <= len(asked) <= 20
        waiting = watch(client.increment("test", deadline=60))
        cluster.advance(5)
        assert type(failed[0]) is Unavailable
        assert "wait for this shard's disk already" in str(failed[0])
        assert cluster.clock.seconds() - began == 10
    cluster.advance(2)
    assert waiting == [2]
