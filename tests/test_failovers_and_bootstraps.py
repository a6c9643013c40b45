"""Failovers of which one of two bootstraps knows nothing, as it is cut off from the cluster's state."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from other_answers import answer_with
from test_failovers import LEASE, SOON, primary, wait_whole

from pyshard import connect
from pyshard.blocking.connector import Connector
from pyshard.blocking.pyshard import over
from pyshard.bootstrap.protocol import BootstrapProtocol
from pyshard.net.connection_parameters import connection_parameters
from pyshard.protocol.chunked_arguments import Arguments
from pyshard.settings import settings
from pyshard.testing import MemoryCluster
from pyshard.testing.memory_sockets import MemorySockets

HOST, PORT = str(settings.BOOTSTRAP_SERVER[0]), int(settings.BOOTSTRAP_SERVER[1])
CUT_OFF = "cut-off"
SERVERS = [f"{CUT_OFF}:{PORT}", f"{HOST}:{PORT}"]


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryCluster]:
    """A shard with two replicas, and a further bootstrap, which goes on to give the map that there is now."""
    with MemoryCluster(1, replicas=2, lease=LEASE) as made:
        wait_whole(made)
        made.network.listeners[CUT_OFF, PORT] = made.network.listeners[HOST, PORT]
        newest, old = BootstrapProtocol.get_map, list[Arguments]()

        def get_map(self: BootstrapProtocol) -> Arguments:
            assert self.transport is not None
            if self.transport.getHost().host != CUT_OFF:
                return newest(self)
            old.append(old[0] if old else newest(self))
            return old[0]

        answer_with(monkeypatch, BootstrapProtocol, b"GetMap", get_map)
        yield made
        assert len(old) > 1, "the further bootstrap was asked for nothing"


def test_deferred_client_asks_the_other_bootstrap(cluster: MemoryCluster) -> None:
    """A client that one bootstrap gives nothing newer finds the next primary by the other one, just as soon."""
    client = cluster.run(
        connect(cluster.clock, SERVERS, token_file="", dial=cluster.network.dial, random=Random(1), addresses={})
    )
    cluster.run(client.write("key", 1))
    cluster.kill_shard(primary(cluster))
    began = cluster.clock.seconds()
    assert cluster.run(client.get("key", deadline=20)) == 1
    assert cluster.clock.seconds() - began < SOON
    cluster.run(client.close())


def test_blocking_client_asks_the_other_bootstrap(cluster: MemoryCluster) -> None:
    """The same of the blocking client."""
    parameters = connection_parameters(SERVERS, token_file="", tls=False, addresses={})
    sockets = MemorySockets(cluster.network, cluster.advance)
    with over(Connector(parameters, lambda: sockets, Random(1))) as app:
        app.write("key", 1)
        cluster.kill_shard(primary(cluster))
        began = cluster.clock.seconds()
        assert app.get("key", deadline=20) == 1
        assert cluster.clock.seconds() - began < SOON
