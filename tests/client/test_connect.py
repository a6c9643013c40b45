"""A client comes to be, and is closed."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from clusters import NO_DEADLINES, VERBS, keys_on, kinds
from deferreds import watch
from twisted.internet.task import Clock

from pyshard import Client, connect
from pyshard.errors import ClientClosed, ConfigError, InvalidArgument, OutcomeUnknown, Unavailable, shown_value
from pyshard.testing import MemoryCluster, MemoryNetwork


@pytest.mark.parametrize("server", ["", "nowhere", ["localhost"], ["localhost", 0], ["localhost", "9192"], 7])
def test_connect_refuses_what_is_no_address(server: Any) -> None:
    """An address that can't be used fails with `ConfigError`, in the Deferred."""
    outcome = watch(connect(Clock(), server))
    assert kinds([outcome]) == [[ConfigError]]


@pytest.mark.parametrize("deadline", NO_DEADLINES, ids=shown_value)
def test_connect_refuses_what_is_no_deadline(deadline: Any) -> None:
    """A deadline that can't be one fails with `InvalidArgument`, in the Deferred."""
    (error,) = watch(connect(Clock(), "localhost:9192", deadline=deadline))
    assert isinstance(error, InvalidArgument)
    assert str(error).startswith(f"deadline: found {shown_value(deadline)}, expected a number of seconds")


def test_connect_refuses_what_is_no_reactor() -> None:
    """Who forgets the reactor is told so, instead of something about the address."""
    connecting: Any = connect
    (error,) = watch(connecting("localhost:9192"))
    assert isinstance(error, InvalidArgument)
    assert str(error) == "reactor: found 'localhost:9192', expected a Twisted reactor, before the address"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"bootstrap_server": ["localhost", 10**5000]}, "bootstrap server: found ['localhost', <int of about 5,001"),
        ({"bootstrap_server": b"localhost:9192"}, "bootstrap server: found "),
        ({"tls": True}, "tls: found True, expected Tls("),
        ({"tls": "ca.pem"}, "tls: found 'ca.pem', expected Tls("),
        ({"token_file": 7}, "token file: found 7, expected a path"),
        ({"token_file": "a\0b"}, "token file 'a\\x00b': it can't be found: "),
        ({"token_file": "~nobody-of-that-name/token"}, "token file '~nobody-of-that-name/token': it can't be found: "),
    ],
    ids=shown_value,
)
def test_connect_refuses_other_wrong_arguments(given: dict[str, Any], message: str) -> None:
    """What can't be used for connecting is one `ConfigError`, whose message is short."""
    (error,) = watch(connect(Clock(), **given))
    assert isinstance(error, ConfigError)
    assert str(error).startswith(message)
    assert len(str(error)) < 500


def test_connect_needs_a_bootstrap_within_the_deadline() -> None:
    """Without a bootstrap `connect` fails with `Unavailable` at its deadline, says why, and leaves nothing behind."""
    clock = Clock()
    network = MemoryNetwork(clock)
    outcome = watch(connect(clock, ["nowhere", 1234], deadline=3, dial=network.dial))
    network.advance(2.999)
    assert outcome == []
    network.advance(0.001)
    assert kinds([outcome]) == [[Unavailable]]
    assert "nowhere:1234" in str(outcome[0])
    assert "connection refused" in str(outcome[0])
    network.advance(1)
    assert clock.getDelayedCalls() == []


def test_connect_by_a_url(cluster: MemoryCluster) -> None:
    """A URL says address, deadline and index; without ``index`` each verb means that index, and no other."""
    connecting = connect(cluster.clock, "pyshard://localhost/pages?deadline=3", dial=cluster.network.dial)
    client = cluster.run(connecting)
    cluster.run(client.create_index("pages"))
    cluster.run(client.write("one", 1))
    cluster.run(client.write_many({"two": 2}))
    other = cluster.connect()
    assert cluster.run(other.has_many(["one", "two"])) == [False, False]
    assert cluster.run(other.has_many(["one", "two"], "pages")) == [True, True]
    keys = cluster.run(client.keys().next_page())
    assert sorted(keys) == ["one", "two"]
    assert cluster.run(client.index("pages").read("one")) == cluster.run(client.read("one"))
    cluster.kill_shard("shard0")
    cluster.kill_shard("shard1")
    outcome = watch(client.read("one"))
    cluster.advance(2.9)
    assert outcome == []
    cluster.advance(0.1)
    assert kinds([outcome]) == [[Unavailable]]
    cluster.run(client.close())


@pytest.mark.parametrize("more", [{"deadline": 4}, {"index": "books"}])
def test_connect_refuses_contradictions(more: dict[str, Any]) -> None:
    """What the URL says otherwise than an argument fails with `ConfigError`, in the Deferred."""
    outcome = watch(connect(Clock(), "pyshard://localhost/pages?deadline=3", **more))
    assert kinds([outcome]) == [[ConfigError]]


def test_connect_waits_for_a_bootstrap_that_comes_late(cluster: MemoryCluster) -> None:
    """A bootstrap that starts within the deadline is found soon after."""
    cluster.stop_bootstrap()
    outcome = watch(connect(cluster.clock, dial=cluster.network.dial, random=Random(1)))
    cluster.advance(5)
    assert outcome == []
    cluster.start_bootstrap()
    cluster.advance(1.5)
    assert kinds([outcome]) == [[Client]]
    assert isinstance(outcome[0], Client)
    outcome[0].close()
    cluster.advance(1)


def test_close_ends_every_operation(cluster: MemoryCluster, client: Client) -> None:
    """On close what waits and what reads fails with `ClientClosed`; a change that was sent is `OutcomeUnknown`."""
    cluster.run(client.has("test"))
    cluster.network.silence("127.0.0.1", 5050)
    cluster.kill_shard("shard1")
    first, second = keys_on(cluster, "shard0", 2)
    read, write = watch(client.read(first)), watch(client.write(second, 1))
    cluster.advance(0)
    blocked, away = watch(client.write(first, 1)), watch(client.write("test1", 1))
    scan, ready = watch(client.keys().next_page()), watch(client.readiness())
    cluster.advance(0.5)
    assert kinds([read, write, blocked, away, scan, ready]) == [[], [], [], [], [], [list]]
    closed = watch(client.close())
    assert kinds([read, blocked, away, scan]) == [[ClientClosed]] * 4
    assert kinds([write]) == [[OutcomeUnknown]]
    cluster.advance(1)
    assert closed == [None]
    cluster.run(client.close())


def test_a_closed_client_says_so(cluster: MemoryCluster, client: Client) -> None:
    """After close every verb fails with `ClientClosed`."""
    cluster.run(client.close())
    outcomes: list[list[Any]] = [watch(verb(client, "k", None)) for verb in VERBS]
    outcomes += [
        watch(client.create_index("a")),
        watch(client.drop_index("a")),
        watch(client.indexes()),
        watch(client.stat()),
        watch(client.readiness()),
        watch(client.keys().next_page()),
    ]
    cluster.advance(1)
    assert kinds(outcomes) == [[ClientClosed]] * len(outcomes)


def test_a_closed_client_leaves_nothing_behind() -> None:
    """No timer and no connection outlives close, even after failures; neither at the client nor at the shards."""
    with MemoryCluster() as cluster:
        before = len(cluster.clock.getDelayedCalls())
        client = cluster.connect()
        cluster.kill_shard("shard1")
        outcomes = [watch(client.write(key, 1)) for key in range(20)]
        cluster.advance(0.5)
        cluster.run(client.close())
        assert {type(outcome[0]) for outcome in outcomes} == {int, ClientClosed}
        assert cluster.services["shard0"].shard.store.documents == kinds(outcomes).count([int])
        cluster.start_shard("shard1")
        cluster.advance(2)
        assert len(cluster.clock.getDelayedCalls()) == before


@pytest.mark.parametrize("again", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_client_is_not_pickled(client: Client, again: Callable[[object], object]) -> None:
    """A client belongs to its reactor; who pickles or copies it is told, in one line, what to pickle instead."""
    with pytest.raises(TypeError) as refused:
        again(client)
    assert str(refused.value) == (
        "Client can't be pickled or copied: it is connected, and belongs to its reactor; pickle its address, such as "
        "'pyshard://host:9192/index?deadline=5', and connect with that"
    )
    with pytest.raises(TypeError, match="Client can't be pickled"):
        pickle.dumps(client.index("pages"))
