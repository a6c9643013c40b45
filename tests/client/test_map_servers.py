"""A client with several addresses, of bootstraps and of shards: who is asked, and what is said when nobody answers."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from clusters import outcome
from twisted.internet.defer import Deferred

from pyshard.client import Client, connect
from pyshard.errors import ClientClosed, ConfigError, IndexExists, NotAuthenticated, Unavailable
from pyshard.security.tokens_and_roles import Role, Token, Tokens
from pyshard.testing import MemoryCluster

BOOTSTRAP, SHARDS = "localhost:9192", ("127.0.0.1:5050", "127.0.0.1:5051")
NOBODY, NEITHER = "127.0.0.1:1", "127.0.0.1:2"


def connecting(cluster: MemoryCluster, *servers: str, deadline: float = 10) -> Deferred[Client]:
    """A client of some addresses."""
    return connect(
        cluster.clock, servers, deadline=deadline, token_file="", dial=cluster.network.dial, random=Random(0)
    )


def connected(cluster: MemoryCluster, *servers: str, deadline: float = 10) -> Client:
    """A client of some addresses, with its map."""
    return cluster.run(connecting(cluster, *servers, deadline=deadline))


@pytest.mark.parametrize("servers", [[SHARDS[0]], [SHARDS[1]], [NOBODY, SHARDS[1]], [NOBODY, NEITHER, BOOTSTRAP]])
def test_the_map_comes_from_whom_there_is(cluster: MemoryCluster, servers: list[str]) -> None:
    """Any address of the cluster will do, wherever it stands among others at which nobody is; it takes no time."""
    if BOOTSTRAP not in servers:
        cluster.stop_bootstrap()
    began = cluster.clock.seconds()
    client = connected(cluster, *servers)
    for key in ("test", "test1"):
        assert cluster.run(client.write(key, key)) > 0
    assert cluster.clock.seconds() < began + 0.5
    cluster.run(client.close())
    cluster.advance(1)
    left = len(cluster.clock.getDelayedCalls())
    other = connected(cluster, *servers)
    cluster.run(other.close())
    cluster.advance(1)
    assert len(cluster.clock.getDelayedCalls()) == left


def test_silence_holds_up_the_next_for_a_moment_only(cluster: MemoryCluster) -> None:
    """An address that accepts and never answers costs a client a tenth of a second."""
    cluster.network.silence("localhost", 9192)
    began = cluster.clock.seconds()
    client = connected(cluster, BOOTSTRAP, SHARDS[0])
    assert cluster.clock.seconds() < began + 0.2
    assert cluster.run(client.write("test", 1)) == 28


def test_nobody(cluster: MemoryCluster) -> None:
    """Without an answer from any address the error tells of each why, at the deadline."""
    began = cluster.clock.seconds()
    failed = outcome(cluster, connecting(cluster, NOBODY, NEITHER, deadline=2))
    assert isinstance(failed, Unavailable)
    assert str(failed).startswith("127.0.0.1:1 gave no answer within 2 s: ")
    assert "; 127.0.0.1:2 gave no answer within " in str(failed)
    assert str(failed).count("connection refused") == 2
    assert str(failed).endswith("? 'twistd pyshard-bootstrap --config FILE' starts a bootstrap")
    assert str(failed).count("is it running") == 1
    assert cluster.clock.seconds() == pytest.approx(began + 2, abs=0.2)


def test_a_shard_that_waits_for_its_bootstrap(cluster: MemoryCluster) -> None:
    """A shard without a map is asked again until it has one."""
    cluster.stop_bootstrap()
    cluster.kill_shard("shard0")
    cluster.start_shard("shard0")
    early = connecting(cluster, SHARDS[0])
    cluster.advance(2)
    assert not early.called
    cluster.start_bootstrap()
    client = cluster.run(early)
    assert cluster.run(client.write("test", 1)) == 28


@pytest.mark.parametrize("servers", [[BOOTSTRAP, *SHARDS], [SHARDS[0], BOOTSTRAP], [SHARDS[0], NOBODY, BOOTSTRAP]])
def test_what_only_the_bootstrap_can_do(cluster: MemoryCluster, servers: list[str]) -> None:
    """Whatever stands around it, the bootstrap is found for its own work, which is done once."""
    client = connected(cluster, *servers)
    cluster.run(client.create_index("pages"))
    assert cluster.run(client.indexes()) == ["pages"]
    assert isinstance(outcome(cluster, client.create_index("pages")), IndexExists)
    assert len(cluster.run(client.readiness())) == 2


@pytest.mark.parametrize("servers", [SHARDS[:1], SHARDS])
def test_no_bootstrap_among_the_addresses(cluster: MemoryCluster, servers: list[str]) -> None:
    """Where only shards were given, the bootstrap's work fails at once, with what to do."""
    client, began = connected(cluster, *servers), cluster.clock.seconds()
    for work in (client.create_index("pages"), client.drop_index("pages"), client.readiness()):
        failed = outcome(cluster, work)
        assert isinstance(failed, ConfigError)
        assert "127.0.0.1:5050 is a shard's address, and only the bootstrap can do this" in str(failed)
    assert cluster.clock.seconds() < began + 1


def test_a_shard_keeps_no_second_connection(cluster: MemoryCluster) -> None:
    """The connection to a shard's address, by which the map came, is closed; operations have one of their own."""
    client = connected(cluster, SHARDS[0])
    cluster.run(client.write("test", 1))
    cluster.advance(1)
    stat: Any = cluster.run(client.stat())
    assert [len(one["connections"]) for one in stat["shards"]] == [2, 2]  # the bootstrap's, and the client's


def test_refresh_does_not_wait_for_a_bootstrap_that_is_away(cluster: MemoryCluster) -> None:
    """While the bootstrap is away, or silent without a connection, a newer map comes from a shard at once."""
    client = connected(cluster, BOOTSTRAP)
    cluster.run(client.write("test", 1))
    for go in (cluster.stop_bootstrap, lambda: None):
        go()
        began = cluster.clock.seconds()
        cluster.run(client._router.refresh())
        assert client._router.fetched >= began
        assert cluster.clock.seconds() < began + 0.2


def test_closed_while_it_searches(cluster: MemoryCluster) -> None:
    """A client that is closed while it looks for the bootstrap says so to whoever waits, and leaves nothing behind."""
    client = connected(cluster, SHARDS[0], NOBODY)
    work = client.create_index("pages")
    cluster.advance(0.5)
    cluster.run(client.close())
    assert isinstance(outcome(cluster, work), ClientClosed | Unavailable)


def test_strangers_are_told_so() -> None:
    """A client without the token that every address wants is told so at once, not at its deadline."""
    with MemoryCluster(tokens=Tokens((Token(Role.ADMIN, b"x" * 20),))) as guarded:
        began = guarded.clock.seconds()
        assert isinstance(outcome(guarded, connecting(guarded, BOOTSTRAP, SHARDS[0])), NotAuthenticated)
        assert guarded.clock.seconds() < began + 1
