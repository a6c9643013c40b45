"""The cluster in memory, which users' tests stand on too: what it promises about time, failures and chance."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from deferreds import result
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import Clock, deferLater
from twisted.python.failure import Failure

from pyshard.bootstrap.bootstrap import Condition
from pyshard.client import Client
from pyshard.errors import ClientClosed, OutcomeUnknown, PyshardError, Unavailable
from pyshard.hashing import SLOTS
from pyshard.testing import MemoryCluster, MemoryNetwork

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
        assert [one.start for one in cluster.map.ranges] == [SLOTS * number // shards for number in range(shards)]
        assert conditions(cluster) == [Condition.READY] * shards
        assert [service.shard.configured().name for service in cluster.services.values()] == cluster.names
        assert cluster.clock.seconds() == 1


def test_size() -> None:
    """Each shard may store as many bytes as were given."""
    with MemoryCluster(size=1000) as cluster:
        client = cluster.connect()
        assert [one.limit for one in cluster.map.ranges] == [1000, 1000]
        with pytest.raises(PyshardError, match=r"of 1,000 bytes"):
            cluster.run(client.write("test", "x" * 1000))


def test_keys_of_these_tests() -> None:
    """The keys that tests here use are where they say."""
    with MemoryCluster() as cluster:
        client = cluster.connect()
        cluster.run(client.write(LOW_KEY, 1))
        cluster.run(client.write(HIGH_KEY, 1))
        assert [service.shard.store.documents for service in cluster.services.values()] == [1, 1]


def _history(seed: int) -> tuple[list[str], str, list[object]]:
    """What happens in a cluster in which a shard dies and comes back."""
    with MemoryCluster(seed=seed) as cluster:
        client = cluster.connect()
        cluster.kill_shard("shard1")
        cluster.advance(3)
        cluster.start_shard("shard1")
        found: list[object] = [cluster.run(client.write(HIGH_KEY, 1)), cluster.clock.seconds()]
        return [one.identity for one in cluster.state.map.ranges], cluster.state.cluster, found


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
    """A closed cluster has no delayed call, no listener and no connection, whatever was under way."""
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
    """What the work fails with is raised."""
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
    """A killed shard answers nothing more, its documents are gone, and what was under way is lost."""
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
    """Connections that are cut break on both sides; new ones can be had."""
    cluster, client = pair
    before = [one.id for one in cluster.network.listeners[HIGH].connections]  # type: ignore[attr-defined]
    cluster.network.cut(*HIGH)
    cluster.network.settle()
    assert cluster.network.listeners[HIGH].connections == []  # type: ignore[attr-defined]
    assert cluster.run(client.has(HIGH_KEY))
    after = [one.id for one in cluster.network.listeners[HIGH].connections]  # type: ignore[attr-defined]
    assert set(before).isdisjoint(after)
    cluster.close()


def test_silence(pair: tuple[MemoryCluster, Client]) -> None:
    """What is sent to a silent shard arrives and is done; its answers arrive when the silence ends."""
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
    """A bootstrap can be stopped and started again; clients go on meanwhile, and its state is the one it had."""
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


# -- the network ----------------------------------------------------------------------------------------------------


class Peer(Protocol):
    """Keeps what it receives."""

    def __init__(self) -> None:
        self.received: list[bytes] = []
        self.lost: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.received.append(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost.append(reason)

    def send(self, data: bytes) -> None:
        """Write to the other side."""
        assert self.transport is not None
        self.transport.write(data)


class Link:
    """A network with one listener, and a connection to it."""

    def __init__(self) -> None:
        self.network = MemoryNetwork(Clock())
        self.servers: list[Peer] = []
        self.port: IListeningPort = result(self.network.listen("here", 1).listen(Factory.forProtocol(self._server)))
        self.client = self.connect()
        self.server = self.servers[0]

    def _server(self) -> Peer:
        self.servers.append(Peer())
        return self.servers[-1]

    def connect(self) -> Peer:
        """One more connection."""
        peer = result(self.network.dial("here", 1).connect(Factory.forProtocol(Peer)))
        assert isinstance(peer, Peer)
        return peer


def test_bytes_arrive_in_order() -> None:
    """What is written arrives on the other side, in order, when the network is told to carry."""
    link = Link()
    for number in range(3):
        link.client.send(b"%d" % number)
        link.server.send(b"%d" % -number)
    assert (link.server.received, link.client.received) == ([], [])
    link.network.settle()
    assert (b"".join(link.server.received), b"".join(link.client.received)) == (b"012", b"0-1-2")


def test_addresses() -> None:
    """Both sides know who the other one is; each connection has a port of its own."""
    link = Link()
    other = link.connect()
    for client, server in zip((link.client, other), link.servers, strict=True):
        assert client.transport is not None
        assert server.transport is not None
        assert client.transport.getPeer() == server.transport.getHost() == link.port.getHost()
        assert client.transport.getHost() == server.transport.getPeer()
    assert link.servers[0].transport is not None
    assert other.transport is not None
    assert link.servers[0].transport.getPeer() != other.transport.getHost()


def test_nobody_listens() -> None:
    """Where nobody listens, or not any more, a connection is refused; those that there are go on."""
    link = Link()
    link.port.stopListening()
    for where in (("here", 1), ("here", 2), ("there", 1)):
        with pytest.raises(ConnectionRefusedError):
            result(link.network.dial(*where).connect(Factory.forProtocol(Peer)))
    link.client.send(b"still")
    link.network.settle()
    assert link.server.received == [b"still"]


def test_listener_that_takes_nobody() -> None:
    """A listener, or a client, that makes no protocol refuses the connection."""

    class Nobody(Factory):
        def buildProtocol(self, addr: object) -> None:
            return None

    link = Link()
    result(link.network.listen("here", 2).listen(Nobody()))
    for port, factory in ((2, Factory.forProtocol(Peer)), (1, Nobody())):
        with pytest.raises(ConnectionRefusedError):
            result(link.network.dial("here", port).connect(factory))


@pytest.mark.parametrize("end", ["client", "server"])
def test_closing_delivers_what_was_written(end: str) -> None:
    """A side that closes gets rid of its bytes first; both learn of the end."""
    link = Link()
    closing, other = (link.client, link.server) if end == "client" else (link.server, link.client)
    closing.send(b"last words")
    assert closing.transport is not None
    closing.transport.loseConnection()
    link.network.settle()
    assert other.received == [b"last words"]
    assert [len(peer.lost) for peer in (closing, other)] == [1, 1]
    assert other.lost[0].check(ConnectionDone)


def test_cutting_loses_what_was_written() -> None:
    """A cut breaks every connection to the address, and what was under way is lost."""
    link = Link()
    other = link.connect()
    link.client.send(b"lost")
    link.server.send(b"lost")
    link.network.cut("here", 2)
    link.network.cut("there", 1)
    assert link.client.lost == []
    link.network.cut("here", 1)
    link.network.settle()
    peers = [link.client, other, *link.servers]
    assert [len(peer.lost) for peer in peers] == [1, 1, 1, 1]
    assert [peer.received for peer in peers] == [[], [], [], []]


def test_silent_listener() -> None:
    """A silent listener hears and isn't heard, on connections old and new, until the silence ends."""
    link = Link()
    link.network.silence("here", 1)
    other = link.connect()
    for peer in (link.client, other, *link.servers):
        peer.send(b"hm")
    link.network.settle()
    assert [peer.received for peer in (link.client, other, *link.servers)] == [[], [], [b"hm"], [b"hm"]]
    link.network.unsilence("here", 1)
    link.network.settle()
    assert [peer.received for peer in (link.client, other)] == [[b"hm"], [b"hm"]]


def test_silence_hides_the_end() -> None:
    """That a silent side closed doesn't arrive either; a client that gives up is free of it."""
    link = Link()
    link.network.silence("here", 1)
    assert link.server.transport is not None
    link.server.send(b"unheard")
    link.server.transport.loseConnection()
    link.network.advance(60)
    assert link.client.lost == []
    assert link.client.transport is not None
    link.client.transport.loseConnection()
    link.network.settle()
    assert (len(link.client.lost), link.client.received) == (1, [])


def test_stranded_connections() -> None:
    """Nothing crosses them, either way, not even the end of the other side; connections made later are fine."""
    link = Link()
    link.network.strand("here", 1)
    for peer in (link.client, link.server):
        peer.send(b"hm")
    link.network.advance(60)
    assert link.client.transport is not None
    link.client.transport.abortConnection()  # type: ignore[attr-defined]  # every transport here has it
    link.network.settle()
    assert (len(link.client.lost), link.client.received) == (1, [])
    assert (link.server.lost, link.server.received) == ([], [])
    link.connect().send(b"hello")
    link.network.settle()
    assert link.servers[1].received == [b"hello"]
    assert link.server.transport is not None
    link.server.transport.loseConnection()
    link.network.settle()
    assert (len(link.client.lost), len(link.server.lost), len(link.network._wires)) == (1, 1, 1)


def test_ended_connections_are_forgotten() -> None:
    """A network in which connections come and go doesn't grow."""
    link = Link()
    for _ in range(10):
        link.connect()
    link.network.cut("here", 1)
    link.network.settle()
    assert link.network._wires == []


def test_network_that_never_rests() -> None:
    """Two sides that answer each other for ever are noticed."""

    class Echo(Peer):
        def dataReceived(self, data: bytes) -> None:
            self.send(data)

    network = MemoryNetwork(Clock())
    result(network.listen("here", 1).listen(Factory.forProtocol(Echo)))
    peer = result(network.dial("here", 1).connect(Factory.forProtocol(Echo)))
    assert isinstance(peer, Echo)
    peer.send(b"!")
    with pytest.raises(AssertionError, match="never comes to rest"):
        network.settle()


@given(st.lists(st.floats(0, 10), max_size=10), st.floats(0, 12))
def test_advance_makes_what_is_due(delays: list[float], seconds: float) -> None:
    """Calls are made at their own times, up to the end of the time that passes, which it ends at exactly."""
    network = MemoryNetwork(Clock())
    made: list[float] = []
    for delay in delays:
        network.clock.callLater(delay, lambda: made.append(network.clock.seconds()))
    network.advance(seconds)
    assert made == pytest.approx(sorted(delay for delay in delays if delay <= seconds))
    assert network.clock.seconds() == pytest.approx(seconds)
    later = [delay for delay in delays if delay > seconds]
    assert network.next_call() == (min(later) if later else None)
