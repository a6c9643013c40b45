"""A client has so many connections to shards, whatever the map names; those that it uses least give way to others."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import pytest
from clusters import keys_on
from deferreds import watch
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock

from pyshard.client.backup_client import BackupClient
from pyshard.client.connection_places import ConnectionPlaces, PlacedEndpoint
from pyshard.errors import SnapshotEnded, Unavailable
from pyshard.net.dialed_connection import DialedConnection
from pyshard.protocol import commands
from pyshard.testing import MemoryCluster

SHARDS = 8
MOST = 3


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryCluster]:
    """A cluster of more shards than a client may have connections."""
    for module in ("client.connect", "blocking.connector"):
        monkeypatch.setattr(import_module(f"pyshard.{module}"), "most_connections", lambda _: MOST)
    with MemoryCluster(SHARDS) as cluster:
        yield cluster


def of_clients(cluster: MemoryCluster) -> int:
    """How many connections clients have to shards; the bootstrap has one to each."""
    shards = cluster.state.map.shards
    return sum(not one.ended for own in shards for one in cluster.network._to(own.host, own.port)) - len(shards)


def test_one_shard_after_the_other(cluster: MemoryCluster) -> None:
    """The connection that was heard of the longest time ago is given up for a new one; nothing fails, or waits."""
    client = cluster.connect()
    keys = [keys_on(cluster, name, 1)[0] for name in cluster.names]
    began = cluster.clock.seconds()
    for _ in range(3):
        for key in keys:
            cluster.run(client.write(key, 1))
            assert of_clients(cluster) <= MOST
    assert cluster.clock.seconds() < began + 1
    before = client._router.link_for(0).dialer.connection
    cluster.run(client.read(keys[-1]))
    assert client._router.link_for(0).dialer.connection is before


def test_all_shards_at_once(cluster: MemoryCluster) -> None:
    """What is asked of more shards than there are places waits for its turn."""
    client = cluster.connect()
    keys = [keys_on(cluster, name, 20) for name in cluster.names]
    for name in cluster.names:
        own = cluster.state.map.named(name)
        assert own is not None
        cluster.network.delay(own.host, own.port, 0.1)
    done = gatherResults([client.write(key, 1) for some in keys for key in some])
    watched = watch(done)
    dialers = [link.dialer for link in client._router.links]
    while not watched:
        cluster.advance(0.01)
        assert sum((dialer.connection or dialer._greeted) is not None for dialer in dialers) <= MOST
    assert watched[0] == [28] * 20 * SHARDS
    assert len(cluster.run(client.stat())["shards"]) == SHARDS  # type: ignore[arg-type]  # a list
    assert all("error" not in shard for shard in cluster.run(client.stat())["shards"])  # type: ignore[attr-defined]  # a list


def test_silent_shards_keep_no_places(cluster: MemoryCluster) -> None:
    """As many silent shards as there are places keep others waiting for some seconds, not for good."""
    client = cluster.connect()
    names = cluster.names
    cluster.run(gatherResults([client.has(keys_on(cluster, name, 1)[0]) for name in names[:MOST]]))
    for own in cluster.state.map.shards[:MOST]:
        cluster.network.silence(own.host, own.port)
    asked = [watch(client.has(keys_on(cluster, name, 1)[0])) for name in names[:MOST]]
    began = cluster.clock.seconds()
    assert cluster.run(client.has(keys_on(cluster, names[-1], 1)[0])) is False
    assert cluster.clock.seconds() <= began + 6
    cluster.advance(10)
    assert [type(outcome) for (outcome,) in asked] == [Unavailable] * MOST


def test_the_blocking_client(cluster: MemoryCluster) -> None:
    """Connections that nobody uses are closed for new ones, however many shards are asked."""
    with cluster.blocking() as app:
        for _ in range(2):
            for name in cluster.names:
                app.write(keys_on(cluster, name, 1)[0], 1)
                cluster.network.settle()
                assert of_clients(cluster) <= MOST
        keys = [key for name in cluster.names for key in keys_on(cluster, name, 20)]
        app.write_many((key, 2) for key in keys)
        assert app.get_many(keys) == [2] * len(keys)
        cluster.network.settle()
        assert of_clients(cluster) <= MOST
        assert all("error" not in shard for shard in app.stat()["shards"])  # type: ignore[attr-defined]  # a list


def test_a_connection_that_is_kept(cluster: MemoryCluster) -> None:
    """It gives way to none, however long it was idle, as a snapshot ends with it; later it does as all others."""
    raw = BackupClient(cluster.connect())
    kept, *others = raw.shards
    opened = cluster.run(kept.call(commands.OpenSnapshot, 10))
    kept.keep_connection(True)
    for _ in range(2):
        for shard in others:
            cluster.run(shard.call(commands.Stat, 10))
    assert cluster.run(kept.call(commands.ReadSnapshot, 10, snapshot=opened["snapshot"]))
    kept.keep_connection(False)
    for shard in others:
        cluster.run(shard.call(commands.Stat, 10))
    with pytest.raises(SnapshotEnded):
        cluster.run(kept.call(commands.ReadSnapshot, 10, snapshot=opened["snapshot"]))


def test_statistics_some_shards_at_a_time(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are silent have a part of the time, so that all others are asked, too."""
    for module in ("client.cluster_verbs", "blocking.cluster_calls", "client_core.cluster_answers"):
        monkeypatch.setattr(import_module(f"pyshard.{module}"), "ASKED_AT_ONCE", 2)
    for own in cluster.state.map.shards[1:6]:
        cluster.network.silence(own.host, own.port)
    expected = [False, *[True] * 5, False, False]
    client, began = cluster.connect(), cluster.clock.seconds()
    found: Any = cluster.run(client.stat(deadline=8))["shards"]
    assert ["error" in shard for shard in found] == expected
    assert cluster.clock.seconds() <= began + 8
    with cluster.blocking() as app:
        began = cluster.clock.seconds()
        found = app.stat(deadline=8)["shards"]
        assert ["error" in shard for shard in found] == expected
        assert cluster.clock.seconds() <= began + 8


class Attempts:
    """An endpoint whose attempts the test ends."""

    def __init__(self) -> None:
        self.made: list[Deferred[Any]] = []

    def connect(self, factory: object) -> Deferred[Any]:
        """See `IStreamClientEndpoint`."""
        self.made.append(Deferred())
        return self.made[-1]


def test_attempts_take_places() -> None:
    """An attempt that fails or is canceled gives its place to the next one; one that waits can be canceled, too."""
    attempts, clock = Attempts(), Clock()
    places = ConnectionPlaces(clock, 2)
    endpoint: Any = PlacedEndpoint(attempts, places)  # type: ignore[arg-type]  # as much of one as it needs
    asked = [endpoint.connect(None) for _ in range(5)]
    failed = [watch(one) for one in asked]
    assert len(attempts.made) == 2
    asked[2].cancel()
    attempts.made[0].errback(ConnectionRefusedError())
    assert len(attempts.made) == 3
    asked[1].cancel()
    assert len(attempts.made) == 4
    assert [bool(one) for one in failed] == [True, True, True, False, False]
    ended = DialedConnection(clock)
    attempts.made[2].callback(ended)  # it was lost meanwhile
    attempts.made[3].errback(ConnectionRefusedError())
    endpoint.connect(None), endpoint.connect(None), endpoint.connect(None)
    assert len(attempts.made) == 6
    clock.pump([1.0] * 3)
    assert len(attempts.made) == 6
