"""How a shard hands snapshots out and takes them back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from deferreds import result
from shard.reactor_turns import TurningClock
from stores import PLENTY
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import connectProtocol
from twisted.internet.task import deferLater

from pyshard.errors import BadRequest, NotConfigured, ShardBehind, SnapshotEnded, TooManySnapshots
from pyshard.model import document_encoding
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.net.command_connection import BoundedAMP
from pyshard.protocol import commands
from pyshard.protocol.batch_operations import Write
from pyshard.protocol.command_boxes import Command
from pyshard.protocol.pages import Row, decode_rows, encode_rows
from pyshard.settings import settings
from pyshard.shard.open_snapshots import OpenSnapshots
from pyshard.shard.shard import Shard
from pyshard.shard.snapshot_limits import SnapshotPeer
from pyshard.storage import DataDirectory, Durability, IStore, LmdbStore, MemoryStore
from pyshard.testing import MemoryCluster

_T = TypeVar("_T")

ONE = document_encoding.encode(1)[0]

# -- rows on the wire -----------------------------------------------------------------------------------------------


def test_rows_on_the_wire() -> None:
    """A page is a MessagePack array of arrays: index, key, expiry, record."""
    rows = [Row(0, b"a", 0, b"\x01"), Row(300, b"", 1_700_000_000_000, b"")]
    expected = (
        b"\x92\x94\x00\xc4\x01a\x00\xc4\x01\x01\x94\xcd\x01\x2c\xc4\x00\xcf\x00\x00\x01\x8b\xcf\xe5\x68\x00\xc4\x00"
    )
    assert encode_rows(rows) == expected
    assert decode_rows(expected) == rows


@pytest.mark.parametrize("data", [b"", b"\xc0", b"\x91\x93\x00\xc4\x00\x00", b"\x91\x94\xa1a\xc4\x00\x00\xc4\x00"])
def test_garbage_is_no_page(data: bytes) -> None:
    """Anything else is refused."""
    with pytest.raises(BadRequest, match="page can't be read"):
        decode_rows(data)


# -- many records to be looked at ----------------------------------------------------------------------------------


EXPIRED = 5 * settings.SNAPSHOT_STEPS
READER = SnapshotPeer("203.0.113.9", admin=False)


class Crowd:
    """A shard with one document beside thousands that have expired, and its snapshots."""

    def __init__(self, store: IStore, clock: TurningClock) -> None:
        self.clock = clock
        self.shard = Shard(store, clock.seconds)
        own = MapShard("only", ((0, SLOTS),), PLENTY, "host", 1, store.identity, not store.ephemeral)
        result(self.shard.configure("only", ClusterState("c", 1, ShardMap([own]))))
        keys = [b"%d" % number for number in range(EXPIRED)]
        most = settings.BATCH_ONE_BY_ONE // 2  # with times to live
        for begin in range(0, EXPIRED, most):
            some = keys[begin : begin + most]
            result(self.shard.apply(1, [Write("", some, [ONE] * len(some), None, [1000] * len(some))]))
        result(self.shard.apply(1, [Write("", [b"stays"], [ONE])]))
        clock.advance(2)
        self.snapshots = OpenSnapshots(self.shard, clock)

    def until(self, work: Deferred[_T]) -> tuple[_T, int]:
        """What some work comes to, and how many turns of the reactor it takes."""
        for turns in range(100):
            if work.called:
                return result(work), turns
            self.clock.turn()
        raise AssertionError("it has no end")


@pytest.fixture(params=["memory", "durable"])
def crowd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Crowd]:
    """It, with either store."""
    clock = TurningClock()
    clock.advance(1_000_000)
    store: IStore = MemoryStore("1d", clock.seconds)
    if request.param == "durable":
        store = LmdbStore(DataDirectory(tmp_path / "data"), clock.seconds, None, Durability.NONE)
    made = Crowd(store, clock)
    yield made
    result(store.close())


def test_others_are_served_meanwhile(crowd: Crowd) -> None:
    """To open, and to pass over what has expired, takes several turns of the reactor, none of which is long."""
    ticket, turns = crowd.until(crowd.snapshots.open("peer", READER))
    assert (ticket.documents, turns) == (1, 5)
    page, turns = crowd.until(crowd.snapshots.read("peer", ticket.id))
    assert ([row.key for row in page], turns) in (([b"stays"], 0), ([b"stays"], 5))
    end, more_turns = crowd.until(crowd.snapshots.read("peer", ticket.id))
    assert end == []
    in_memory = isinstance(crowd.shard.store, MemoryStore)  # it has removed what it counted, and keeps nothing of that
    assert turns + more_turns in ((0,) if in_memory else (4, 5))
    assert len(crowd.snapshots) == 0


def test_one_question_at_a_time(crowd: Crowd) -> None:
    """While a page is looked for, another one is refused, so that few bytes can't ask for many pages at once."""
    first = crowd.snapshots.open("peer", READER)
    assert not first.called
    (number,) = [number for number, found in crowd.snapshots._open.items() if found.busy]
    with pytest.raises(BadRequest, match="ask one at a time"):
        result(crowd.snapshots.read("peer", number))
    assert crowd.until(first)[0].id == number


def test_the_connection_is_lost_meanwhile(crowd: Crowd) -> None:
    """Nothing more is looked at for a peer that is gone, and its place is free."""
    opening = crowd.snapshots.open("peer", READER)
    crowd.snapshots.close_all("peer")
    assert len(crowd.snapshots) == 0
    with pytest.raises(SnapshotEnded):
        crowd.until(opening)
    assert [call for call in crowd.clock.getDelayedCalls() if call.active()] == []


def test_the_shards_time_is_not_the_readers(crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
    """A snapshot doesn't end for the time in which the shard itself looks for an answer."""
    monkeypatch.setattr(crowd.snapshots._turns, "next", lambda: deferLater(crowd.clock, 100))
    opening = crowd.snapshots.open("peer", READER)
    for _ in range(6000):  # in short steps, so that there are looks
        if not opening.called:
            crowd.clock.advance(0.1)
    assert crowd.clock.seconds() > 1_000_500
    ticket = result(opening)
    crowd.clock.advance(59)
    assert len(crowd.snapshots) == 1
    crowd.clock.advance(2)
    with pytest.raises(SnapshotEnded, match="nothing was read from it for 60 s"):
        result(crowd.snapshots.read("peer", ticket.id))


# -- a shard's snapshots --------------------------------------------------------------------------------------------


class Caller:
    """A connection to the only shard of a cluster."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.connection: BoundedAMP = cluster.run(
            connectProtocol(cluster.network.dial("127.0.0.1", 5050), BoundedAMP(cluster.clock))
        )

    def ask(self, command: type[Command], **arguments: object) -> dict[str, Any]:
        """Ask the shard."""
        answer: dict[str, Any] = self.cluster.run(self.connection.callRemote(command, **arguments))
        return answer

    def open(self) -> str:
        """Open a snapshot; its id."""
        return str(self.ask(commands.OpenSnapshot)["snapshot"])

    def read(self, snapshot: str) -> list[Row]:
        """One page."""
        return decode_rows(self.ask(commands.ReadSnapshot, snapshot=snapshot)["rows"])


@pytest.fixture
def cluster() -> Iterator[MemoryCluster]:
    """A cluster of one shard that holds two documents."""
    with MemoryCluster(shards=1) as cluster:
        client = cluster.connect()
        cluster.run(client.write("a", 1))
        cluster.run(client.create_index("pages"))
        cluster.run(client.write("b", 2, "pages", ttl=100))
        yield cluster


def open_in(cluster: MemoryCluster) -> int:
    """How many snapshots the shard has open."""
    return len(cluster.services["shard0"].snapshots)


def test_open_read_close(cluster: MemoryCluster) -> None:
    """A snapshot says what it has, gives it, and is closed when it is asked to be."""
    caller = Caller(cluster)
    answer = caller.ask(commands.OpenSnapshot)
    assert (answer["documents"], answer["epoch"]) == (2, cluster.state.epoch)
    rows = caller.read(answer["snapshot"])
    assert [(row.index, row.key, row.expires > 0) for row in rows] == [(0, b"a", False), (1, b"b", True)]
    assert caller.read(answer["snapshot"]) == []
    assert caller.ask(commands.CloseSnapshot, snapshot=answer["snapshot"]) == {}
    assert open_in(cluster) == 0
    with pytest.raises(SnapshotEnded, match="start the backup again"):
        caller.read(answer["snapshot"])
    assert caller.ask(commands.CloseSnapshot, snapshot=answer["snapshot"]) == {}


def test_not_configured() -> None:
    """A shard without a place in a cluster has nothing to keep."""
    with MemoryCluster(shards=1) as cluster:
        cluster.stop_bootstrap()
        cluster.stop_shard("shard0")
        cluster.start_shard("shard0")
        with pytest.raises(NotConfigured):
            Caller(cluster).open()


def test_not_counted(cluster: MemoryCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that doesn't know how many documents it has gives no snapshot: it would have fewer than it says."""
    monkeypatch.setattr(MemoryStore, "all_counted", False)
    with pytest.raises(ShardBehind, match="still counts what it has given up; ask again soon"):
        Caller(cluster).open()
    monkeypatch.setattr(MemoryStore, "all_counted", True)
    assert Caller(cluster).open()


def test_a_few_at_a_time(cluster: MemoryCluster) -> None:
    """A shard keeps so many snapshots, of all connections together, and takes the next when one is closed."""
    one, other = Caller(cluster), Caller(cluster)
    opened = [one.open(), other.open(), one.open(), one.open()]
    assert len(set(opened)) == settings.MAX_SNAPSHOTS == 4
    with pytest.raises(TooManySnapshots, match="4 snapshots open"):
        other.open()
    one.ask(commands.CloseSnapshot, snapshot=opened[0])
    assert other.open()


def test_ends_with_its_connection(cluster: MemoryCluster) -> None:
    """The snapshots of a lost connection are closed; those of others stay."""
    one, other = Caller(cluster), Caller(cluster)
    one.open()
    one.open()
    kept = other.open()
    one.connection.abort()
    cluster.advance(0.1)
    assert open_in(cluster) == 1
    assert len(other.read(kept)) == 2


def test_belongs_to_its_connection(cluster: MemoryCluster) -> None:
    """Nobody reads or closes a snapshot of another connection."""
    one, other = Caller(cluster), Caller(cluster)
    opened = one.open()
    with pytest.raises(SnapshotEnded):
        other.read(opened)
    other.ask(commands.CloseSnapshot, snapshot=opened)
    assert len(one.read(opened)) == 2


def test_idle(cluster: MemoryCluster) -> None:
    """A snapshot that nobody reads from is closed after a minute."""
    caller = Caller(cluster)
    read, idle = caller.open(), caller.open()
    cluster.advance(59)
    assert open_in(cluster) == 2
    caller.read(read)
    cluster.advance(1.1)
    assert open_in(cluster) == 1
    with pytest.raises(SnapshotEnded, match="60 s"):
        caller.read(idle)
    assert caller.read(read) == []
    assert open_in(cluster) == 0


def test_stopping_shard(cluster: MemoryCluster) -> None:
    """A shard that stops closes its snapshots, and leaves no timer."""
    Caller(cluster).open()
    snapshots = cluster.services["shard0"].snapshots
    cluster.stop_shard("shard0")
    assert len(snapshots) == 0


def test_ended_by_its_store(tmp_path: Path) -> None:
    """A snapshot that its store ended is an error to who reads it, and gives its place to the next."""

    def small(name: str, seconds: Callable[[], float]) -> LmdbStore:
        return LmdbStore(DataDirectory(tmp_path / name), seconds, None, Durability.NONE, 256 * 1024, most_changed=10)

    with MemoryCluster(shards=1, store=small) as cluster:
        client = cluster.connect()
        caller = Caller(cluster)
        opened = [caller.open() for _ in range(settings.MAX_SNAPSHOTS)]
        for number in range(100):
            cluster.run(client.write(number, "x" * 10_000))
        for one in opened:
            with pytest.raises(SnapshotEnded, match="outgrew its map"):
                caller.read(one)
        assert open_in(cluster) == 0
        assert caller.ask(commands.OpenSnapshot)["documents"] == 100
