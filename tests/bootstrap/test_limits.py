"""A bootstrap with much to do at once: what waits is bounded, and ends, whatever a shard does."""

from __future__ import annotations

from typing import Any

import pytest
from deferreds import watch
from twisted.internet.defer import Deferred

from pyshard import Client
from pyshard.errors import IndexExists, InvalidIndexName
from pyshard.protocol import commands
from pyshard.settings import settings
from pyshard.shard.shard import Shard
from pyshard.testing import MemoryCluster

LOW = ("127.0.0.1", 5050)


def waiting(cluster: MemoryCluster) -> int:
    """How many callers wait in the bootstrap for shards to be told."""
    assert cluster.bootstrap is not None
    return sum(len(watch._waiters) for watch in cluster.bootstrap.reconcilers)


@pytest.mark.parametrize("clients", [1, 10])
def test_many_indexes_at_once(cluster: MemoryCluster, clients: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Indexes that are created together are told to the shards together, and each caller gets his answer."""
    told: list[str] = []
    configure = Shard.configure

    def counting(self: Shard, name: str, state: Any) -> Deferred[None]:
        told.append(name)
        return configure(self, name, state)

    monkeypatch.setattr(Shard, "configure", counting)
    connected = [cluster.connect() for _ in range(clients)]
    found = [watch(connected[number % clients].create_index(f"i{number}")) for number in range(500)]
    again = watch(connected[0].create_index("i7"))
    cluster.advance(2)
    assert found == [[None]] * 500
    assert type(again[0]) is IndexExists
    assert cluster.state.epoch >= 501
    assert len(cluster.run(connected[0].indexes())) == 500
    assert len(told) <= 2 * 500 / settings.BOXES_UNDER_WAY * 4
    assert waiting(cluster) == 0


def test_a_stuck_shard(cluster: MemoryCluster) -> None:
    """A shard that doesn't answer delays who creates indexes by one timeout, all of them together."""
    client = cluster.connect()
    cluster.network.silence(*LOW)
    found = [watch(client.create_index(f"i{number}")) for number in range(100)]
    cluster.network.settle()
    assert waiting(cluster) <= 2 * settings.BOXES_UNDER_WAY
    cluster.advance(settings.TIMEOUT + 1)
    assert found == [[None]] * 100
    assert waiting(cluster) == 0
    cluster.network.unsilence(*LOW)
    cluster.advance(5)
    assert cluster.run(client.write("test", 1, "i99")) == 28


def test_as_many_indexes_as_there_may_be(cluster: MemoryCluster) -> None:
    """One index over the limit is refused, however many ask for it at once; a dropped one makes room."""
    client = cluster.connect()
    found = [watch(client.create_index(f"i{number}")) for number in range(settings.MAX_INDEXES)]
    cluster.advance(3)
    assert found == [[None]] * settings.MAX_INDEXES
    more = [watch(client.create_index(f"more{number}")) for number in range(50)]
    cluster.advance(1)
    assert [type(one[0]) for one in more] == [InvalidIndexName] * 50
    with pytest.raises(InvalidIndexName, match="the most it may have"):
        cluster.run(client.create_index("one-too-many"))
    cluster.run(client.drop_index("i5"))
    assert cluster.run(client.create_index("fits-again")) is None


def test_questions_do_not_wait_for_changes(cluster: MemoryCluster) -> None:
    """While a stuck shard has changes wait, others get the map at once."""
    changing, asking = cluster.connect(), cluster.connect()
    cluster.network.silence(*LOW)
    stuck = [watch(changing.create_index(f"i{number}")) for number in range(200)]
    cluster.network.settle()
    found: list[Any] = watch(asking.indexes())
    cluster.network.settle()
    assert len(found[0]) == settings.BOXES_UNDER_WAY
    assert not any(stuck)
    cluster.advance(settings.TIMEOUT * 3)
    assert all(stuck)


def test_clients_of_the_state(cluster: MemoryCluster) -> None:
    """The map with as many indexes as there may be crosses in one box, far below its limit."""
    client: Client = cluster.connect()
    for number in range(0, settings.MAX_INDEXES, 100):
        work = [watch(client.create_index(f"{n:_>{settings.MAX_NAME}}")) for n in range(number, number + 100)]
        cluster.advance(1)
        assert work == [[None]] * 100
    answer = cluster.run(client._router.bootstrap.call(commands.GetMap, 5))
    assert len(answer["state"]) < settings.MAX_STATE_BYTES / 10
