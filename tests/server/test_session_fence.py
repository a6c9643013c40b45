"""Sessions: what a client sent over a connection that it lost never takes effect behind what it does later."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any, cast

import attrs
import pytest
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import ILogObserver, LogEvent, globalLogPublisher
from twisted.protocols import amp

from pyshard import Client
from pyshard.errors import BadRequest, IndexExists, IndexNotFound, OutcomeUnknown, PartialFailure, Unavailable
from pyshard.model.shard_map import ShardMap
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.apply_boxes import apply_box
from pyshard.protocol.batch_answers import Answer
from pyshard.protocol.batch_encoding import encode_runs
from pyshard.protocol.batch_operations import Has, Read, ReadItem, Write
from pyshard.protocol.boxes import serialize
from pyshard.server.factory import ServerFactory
from pyshard.shard.shard import Shard
from pyshard.storage import ITSELF, Sender, Task
from pyshard.testing import MemoryCluster

ADDRESS = ("127.0.0.1", 5050)  # of shard0, which has "test"
BOOTSTRAP = ("localhost", 9192)
SESSION = b"0123456789abcdef"


@pytest.fixture
def client(cluster: MemoryCluster) -> Client:
    """A client that is connected."""
    connected = cluster.connect()
    cluster.run(connected.has("test"))
    return connected


def outcome(cluster: MemoryCluster, work: Deferred[Any]) -> object:
    """What a call comes to."""
    try:
        return cluster.run(work)
    except Exception as error:  # noqa: BLE001  # it is compared
        return error


def stranded(cluster: MemoryCluster, address: tuple[str, int], call: Callable[[], Deferred[Any]]) -> None:
    """Make a call whose command stays under way, on a connection that its client gives up in the end."""
    cluster.network.strand(*address)
    assert isinstance(outcome(cluster, call()), OutcomeUnknown)


def factory_at(cluster: MemoryCluster, address: tuple[str, int]) -> ServerFactory:
    """What makes and knows a daemon's connections."""
    return cast("ServerFactory", cluster.network.listeners[address])


def newest(cluster: MemoryCluster, address: tuple[str, int] = ADDRESS) -> list[bytes]:
    """The sessions that a daemon knows."""
    return list(factory_at(cluster, address).sessions._newest)


# -- what clients see -----------------------------------------------------------------------------------------------


def test_a_lost_write_stays_behind(cluster: MemoryCluster, client: Client) -> None:
    """A write that is still under way when its client has written anew over another connection never happens."""
    stranded(cluster, ADDRESS, lambda: client.write("test", "old"))
    assert cluster.run(client.write("test", "new")) > 0
    cluster.network.unstrand(*ADDRESS)
    cluster.advance(60)
    assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": "new"}
    assert cluster.run(cluster.connect().read("test")) == {"hash_": 0.1671936, "record": "new"}


def test_a_lost_write_stays_behind_a_read(cluster: MemoryCluster, client: Client) -> None:
    """What a client has read after a lost write holds: the write doesn't happen later."""
    stranded(cluster, ADDRESS, lambda: client.write("test", "old"))
    assert cluster.run(client.read("test")) is None
    cluster.network.unstrand(*ADDRESS)
    cluster.advance(60)
    assert cluster.run(client.read("test")) is None


def test_a_lost_bulk_stays_behind(cluster: MemoryCluster, client: Client) -> None:
    """So do chunks of bulk verbs."""
    cluster.network.strand(*ADDRESS)
    with pytest.raises(PartialFailure):
        cluster.run(client.write_many({"test": "old"}))
    assert cluster.run(client.write_many({"test": "new"}))
    cluster.network.unstrand(*ADDRESS)
    cluster.advance(60)
    assert cluster.run(client.read_many(["test"])) == [{"hash_": 0.1671936, "record": "new"}]


def test_a_lost_write_may_happen_while_its_client_does_nothing(cluster: MemoryCluster, client: Client) -> None:
    """Until the client connects anew the write may happen, and other clients aren't held up."""
    stranded(cluster, ADDRESS, lambda: client.write("test", "old"))
    other = cluster.connect()
    assert cluster.run(other.read("test")) is None
    cluster.network.unstrand(*ADDRESS)
    cluster.advance(60)
    assert cluster.run(other.read("test")) == {"hash_": 0.1671936, "record": "old"}


@pytest.mark.parametrize("half_open", [True, False], ids=["half-open", "cut"])
def test_what_was_handed_over_comes_first(cluster: MemoryCluster, client: Client, half_open: bool) -> None:
    """A read over a new connection waits for what the old one handed to the store, whether that one is gone or not."""
    release = held_writes(cluster.services["shard0"].shard)
    lost = client.write("test", "old")
    cluster.advance(0.01)
    if half_open:
        cluster.network.strand(*ADDRESS)
    else:
        cluster.network.cut(*ADDRESS)
    assert isinstance(outcome(cluster, lost), OutcomeUnknown)
    began = cluster.clock.seconds()
    cluster.clock.callLater(1, release)
    assert cluster.run(client.read("test", deadline=4)) == {"hash_": 0.1671936, "record": "old"}
    assert cluster.clock.seconds() >= began + 1


def test_a_store_that_hangs(cluster: MemoryCluster, client: Client) -> None:
    """While the store doesn't finish what it was handed the client can't be served; then everything is well."""
    release = held_writes(cluster.services["shard0"].shard)
    lost = client.write("test", "old")
    cluster.advance(0.01)
    cluster.network.cut(*ADDRESS)
    assert isinstance(outcome(cluster, lost), OutcomeUnknown)
    assert isinstance(outcome(cluster, client.read("test", deadline=20)), Unavailable)  # several times connected anew
    assert cluster.run(cluster.connect().read("test")) is None
    release()
    assert cluster.run(client.read("test")) == {"hash_": 0.1671936, "record": "old"}
    cluster.network.cut(*ADDRESS)
    cluster.advance(60)
    assert len(factory_at(cluster, ADDRESS).sessions) == 0


def held_writes(shard: Shard) -> Callable[[], None]:
    """Have a store do changes only when the function is called that this gives, as a slow disk would; reads go on."""
    apply, waiting = shard.store.apply, list[Callable[[], object]]()

    def slow(tasks: Sequence[Task], limit: int, room: int, sender: Sender = ITSELF) -> Deferred[list[Answer]]:
        if all(isinstance(task.run, Read | Has | ReadItem) for task in tasks):
            return apply(tasks, limit, room, sender)
        done: Deferred[list[Answer]] = Deferred()
        waiting.append(lambda: apply(tasks, limit, room, sender).chainDeferred(done))
        return done

    def release() -> None:
        shard.store.apply = apply  # type: ignore[method-assign]
        for job in waiting:
            job()

    shard.store.apply = slow  # type: ignore[method-assign]
    return release


def test_a_lost_drop_stays_behind(cluster: MemoryCluster, client: Client) -> None:
    """An index whose drop was lost isn't dropped under documents that its client has written since."""
    cluster.run(client.create_index("pages"))
    stranded(cluster, BOOTSTRAP, lambda: client.drop_index("pages"))
    assert isinstance(outcome(cluster, client.create_index("pages")), IndexExists)
    assert cluster.run(client.write("test", "kept", "pages")) > 0
    cluster.network.unstrand(*BOOTSTRAP)
    cluster.advance(60)
    assert cluster.run(client.read("test", "pages")) is not None


def test_a_lost_creation_stays_behind(cluster: MemoryCluster, client: Client) -> None:
    """An index that its client has found missing doesn't come up later."""
    stranded(cluster, BOOTSTRAP, lambda: client.create_index("pages"))
    assert isinstance(outcome(cluster, client.drop_index("pages")), IndexNotFound)
    cluster.network.unstrand(*BOOTSTRAP)
    cluster.advance(60)
    assert cluster.run(client.indexes()) == []


def test_the_bootstrap_answers_while_a_shard_is_silent(cluster: MemoryCluster, client: Client) -> None:
    """A client that connects anew isn't held up by an index of which a shard can't be told."""
    cluster.network.silence(*ADDRESS)
    lost = client.create_index("pages")
    cluster.advance(0.01)
    cluster.network.cut(*BOOTSTRAP)
    assert isinstance(outcome(cluster, lost), OutcomeUnknown)
    began = cluster.clock.seconds()
    assert cluster.run(client.indexes()) == ["pages"]
    assert cluster.clock.seconds() - began < 1


def test_ids(cluster: MemoryCluster, client: Client) -> None:
    """Each client has a session of its own with each daemon, and keeps it over its connections."""
    cluster.run(client.has("test1"))
    (first,) = newest(cluster)
    assert len(first) == 16
    other = cluster.connect()
    cluster.run(other.has("test"))
    ids = [*newest(cluster), *newest(cluster, ("127.0.0.1", 5051)), *newest(cluster, BOOTSTRAP)]
    assert len(set(ids)) == len(ids) == 5
    cluster.network.cut(*ADDRESS)
    cluster.run(client.has("test"))
    assert newest(cluster) == [first]


def test_a_shard_that_left_the_map_and_came_back(cluster: MemoryCluster, client: Client) -> None:
    """A link that is made anew goes on with the session of the one before."""
    cluster.run(client.has("test1"))
    where = ("127.0.0.1", 5051)
    before = newest(cluster, where)
    state = cluster.state
    low = attrs.evolve(state.map.shards[0], ranges=((0, 10_000_000),))
    client._router.adopt(attrs.evolve(state, epoch=state.epoch + 1, map=ShardMap([low])))
    cluster.advance(1)
    assert newest(cluster, where) == []
    client._router.adopt(attrs.evolve(state, epoch=state.epoch + 2))
    outcome(cluster, client.has("test1", deadline=1))
    assert newest(cluster, where) == before


# -- what a daemon does ---------------------------------------------------------------------------------------------


class Daemon:
    """A daemon of a cluster, and peers of it."""

    def __init__(self, cluster: MemoryCluster, address: tuple[str, int]) -> None:
        self.cluster = cluster
        self.address = address

    @property
    def factory(self) -> ServerFactory:
        """What makes and knows its connections."""
        return factory_at(self.cluster, self.address)

    def connect(self) -> BoundedAMP:
        """A new peer."""
        peer = BoundedAMP(self.cluster.clock)
        self.cluster.run(connectProtocol(self.cluster.network.dial(*self.address), peer))
        return peer

    def hello(self, peer: BoundedAMP, session: bytes | None = SESSION) -> object:
        """What Hello comes to."""
        return outcome(self.cluster, peer.call(commands.Hello, 5, protocol=2, session=session))

    def alive(self, peer: BoundedAMP) -> bool:
        """Whether a peer is answered."""
        found = outcome(self.cluster, peer.call(commands.Ping, 5))
        assert found == {} or isinstance(found, ConnectionDone | ConnectionLost)
        return found == {}


@pytest.fixture(params=[ADDRESS, BOOTSTRAP], ids=["shard", "bootstrap"])
def daemon(cluster: MemoryCluster, request: pytest.FixtureRequest) -> Daemon:
    """A daemon of each kind."""
    return Daemon(cluster, request.param)


def test_the_newest_connection_stays(daemon: Daemon) -> None:
    """Hello with a session ends the older connection that has it, and no other one."""
    peers = [daemon.connect() for _ in range(4)]
    sessions = [SESSION, None, b"another session!", SESSION]
    for peer, session in zip(peers, sessions, strict=True):
        assert isinstance(daemon.hello(peer, session), dict)
    assert [daemon.alive(peer) for peer in peers] == [False, True, True, True]


def test_hello_again(daemon: Daemon) -> None:
    """A connection may say Hello again in its session, and not in another one."""
    peer = daemon.connect()
    assert daemon.hello(peer) == daemon.hello(peer)
    assert str(daemon.hello(peer, SESSION + b"!")) == "this connection belongs to another session already; connect anew"
    assert daemon.alive(peer)


@pytest.mark.parametrize("length", [0, 1, 15, 65, 1000])
def test_ids_that_are_none(daemon: Daemon, length: int) -> None:
    """An id that is short enough to be guessed, or long enough to fill memory, is refused, and isn't shown."""
    peer = daemon.connect()
    found = daemon.hello(peer, b"x" * length)
    assert isinstance(found, BadRequest)
    assert str(found) == f"session: found {length:,} bytes, expected 16 to 64 bytes"
    assert len(daemon.factory.sessions) == 0
    assert daemon.alive(peer)


def test_sessions_end_with_their_connections(daemon: Daemon) -> None:
    """A daemon that has seen many sessions doesn't grow; an older connection's end leaves the newer its session."""
    random = Random(0)
    for _ in range(20):
        peer = daemon.connect()
        daemon.hello(peer, random.randbytes(16))
        peer.abort()
    older, newer = daemon.connect(), daemon.connect()
    daemon.hello(older)
    daemon.hello(newer)
    daemon.cluster.advance(1)
    assert newest(daemon.cluster, daemon.address) == [SESSION]
    newer.abort()
    daemon.cluster.advance(1)
    assert len(daemon.factory.sessions) == 0


def test_nothing_more_is_taken_up(cluster: MemoryCluster) -> None:
    """What arrives at a finished connection, or waits in it because it was paused, isn't even parsed."""
    daemon = Daemon(cluster, ADDRESS)
    shard = cluster.services["shard0"].shard
    for paused in (False, True):
        daemon.connect()
        connection = [*daemon.factory.connections][-1]
        box = apply_box(shard.configured().state.epoch, encode_runs([Write("", [b"test"], [b"old"])]))
        data = serialize({amp.COMMAND: b"Apply", amp.ASK: b"1", **box})
        if paused:
            connection.pauseProducing()
            connection.dataReceived(data)
        assert connection.fence().called
        if paused:
            connection.resumeProducing()
        else:
            connection.dataReceived(data)
        assert shard.store.documents == 0
        cluster.advance(1)
        assert connection not in daemon.factory.connections


def test_ids_are_not_shown(cluster: MemoryCluster) -> None:
    """Neither the log nor stat nor an answer has a session's id."""
    events: list[LogEvent] = []
    note = cast("ILogObserver", events.append)
    globalLogPublisher.addObserver(note)
    try:
        daemon = Daemon(cluster, ADDRESS)
        older, newer = daemon.connect(), daemon.connect()
        said = [daemon.hello(older), daemon.hello(newer)]
        said.append(json.loads(cluster.run(newer.call(commands.Stat, 5))["stat"]))
        newer.abort()
        cluster.advance(1)
    finally:
        globalLogPublisher.removeObserver(note)
    assert any("ended for a newer one" in str(event) for event in events)
    for shown in (said, events):
        assert SESSION.decode() not in str(shown)
        assert SESSION.hex() not in str(shown)
