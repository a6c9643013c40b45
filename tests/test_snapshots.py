"""Snapshots: what each store keeps of one moment, and how a shard hands them out and takes them back."""

from __future__ import annotations

import gc
import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from deferreds import result
from twisted.internet.endpoints import connectProtocol
from twisted.internet.task import Clock
from twisted.protocols import amp

from pyshard import commands
from pyshard.batch import Remove, Row, Run, Touch, Write, decode_rows, encode_rows
from pyshard.errors import BadRequest, NotConfigured, SnapshotEnded, TooManySnapshots
from pyshard.hashing import slot_of
from pyshard.settings import settings
from pyshard.storage import DataDirectory, Durability, ISnapshot, IStore, LmdbStore, MemoryStore, Task
from pyshard.storage.durable import Commit
from pyshard.storage.transaction import Writing
from pyshard.testing import MemoryCluster
from pyshard.wire.connection import BoundedAMP

PLENTY = 1 << 40
INDEXES = {"": 0, "pages": 1, "links": 2}
NAMED = {"pages": 1, "links": 2}


class Bench:
    """A store with the indexes `NAMED`, and what it is thought to hold.

    :ivar rows: (index id, key) → row.
    """

    def __init__(self, store: IStore, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.rows: dict[tuple[int, bytes], Row] = {}
        result(store.set_indexes(NAMED))

    def apply(self, run: Run) -> list[Any]:
        """Apply one run."""
        slots = [slot_of(key, run.index.encode()) for key in run.keys]
        (answer,) = result(self.store.apply([Task(run, INDEXES[run.index], slots)], PLENTY, PLENTY))
        assert answer.errors == {}
        return answer.results

    def write(self, key: bytes, record: bytes, index: str = "", ttl: int = 0) -> None:
        """Write one record."""
        self.apply(Write(index, [key], [record], None, [ttl]))
        expires = int(self.clock.seconds() * 1000) + ttl if ttl else 0
        self.rows[INDEXES[index], key] = Row(INDEXES[index], key, expires, record)

    def remove(self, key: bytes, index: str = "") -> None:
        """Remove one record."""
        self.apply(Remove(index, [key]))
        self.rows.pop((INDEXES[index], key), None)

    def live(self) -> list[Row]:
        """What it is thought to hold now."""
        now = int(self.clock.seconds() * 1000)
        return in_order(row for row in self.rows.values() if not 0 < row.expires <= now)


def in_order(rows: Iterator[Row] | list[Row]) -> list[Row]:
    """Rows by index and key."""
    return sorted(rows, key=lambda row: (row.index, row.key))


def all_of(snapshot: ISnapshot, most_bytes: int = PLENTY) -> list[Row]:
    """All rows of a snapshot, in order."""
    rows: list[Row] = []
    while page := snapshot.page(most_bytes):
        rows += page
    return in_order(rows)


@pytest.fixture
def clock() -> Clock:
    """A time that isn't 0."""
    clock = Clock()
    clock.advance(1_000_000)
    return clock


@pytest.fixture(params=["memory", "lmdb"])
def bench(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Bench]:
    """A bench with each kind of store."""
    store: IStore
    if request.param == "memory":
        store = MemoryStore("1d", clock.seconds)
    else:
        store = LmdbStore(DataDirectory(tmp_path / "data"), clock.seconds, None, Durability.NONE)
    yield Bench(store, clock)
    result(store.close())


# -- stores ---------------------------------------------------------------------------------------------------------


def test_empty_store(bench: Bench) -> None:
    """The snapshot of an empty store is empty, and stays at its end."""
    snapshot = bench.store.snapshot()
    assert (snapshot.documents, snapshot.page(PLENTY), snapshot.page(PLENTY)) == (0, [], [])
    snapshot.close()


def test_rows(bench: Bench) -> None:
    """A snapshot has every record of every index with its id, key and expiry, whatever bytes and length they have."""
    bench.write(b"a", b"one")
    bench.write(b"a", b"two", "pages")
    bench.write(b"b", b"", "links", ttl=5000)
    bench.write(b"", b"\x00")
    for length in (501, 502, 503, 65_536):
        bench.write(b"k" * length, b"r" * length, ttl=length)
    snapshot = bench.store.snapshot()
    assert snapshot.documents == 8
    assert all_of(snapshot) == bench.live()
    snapshot.close()


def test_expired_are_left_out(bench: Bench) -> None:
    """What has expired when the snapshot is taken is neither in it nor counted; what expires later is both."""
    bench.write(b"gone", b"1", ttl=1000)
    bench.write(b"gone too", b"1", "pages", ttl=500)
    bench.write(b"late", b"1", ttl=1001)
    bench.write(b"stays", b"1", ttl=1000)
    bench.apply(Touch("", [b"stays"], [0]))
    bench.rows[0, b"stays"] = Row(0, b"stays", 0, b"1")
    bench.clock.advance(1)
    snapshot = bench.store.snapshot()
    expected = bench.live()
    assert [row.key for row in expected] == [b"late", b"stays"]
    bench.clock.advance(10)
    result(bench.store.sweep(100))
    assert snapshot.documents == 2
    assert all_of(snapshot) == expected
    snapshot.close()


@pytest.mark.parametrize("most_bytes", [0, 1, 500, 5000, PLENTY])
def test_pages(bench: Bench, most_bytes: int) -> None:
    """Pages have at least one row and no more than the bytes asked for, and together all rows once."""
    for number in range(100):
        bench.write(b"%d" % number, b"x" * (number * 3), "pages" if number % 3 else "")
    snapshot = bench.store.snapshot()
    pages = []
    while page := snapshot.page(most_bytes):
        pages.append(page)
    assert all(len(page) == 1 or len(encode_rows(page)) <= most_bytes for page in pages)
    assert in_order([row for page in pages for row in page]) == bench.live()
    assert len(pages) == {0: 100, 1: 100, PLENTY: 1}.get(most_bytes, len(pages))
    snapshot.close()


def test_a_large_record_has_its_own_page(bench: Bench) -> None:
    """A record of the largest size crosses, and takes nothing along that could make its page too large for a box."""
    large = b"x" * (settings.MAX_DOCUMENT_BYTES + 5)
    for key in (b"a", b"b", b"c"):
        bench.write(key, b"small" * 1000)
        bench.write(key * 50_000, large)
    snapshot = bench.store.snapshot()
    pages = []
    while page := snapshot.page(settings.SNAPSHOT_BYTES):
        assert len(encode_rows(page)) < settings.MAX_BOX_BYTES * 0.98
        pages.append([len(row.record) for row in page])
    assert all(len(page) == 1 for page in pages if len(large) in page)
    assert sum(map(len, pages)) == 6
    snapshot.close()


def test_writes_go_on(bench: Bench) -> None:
    """Whatever is done to the store while a snapshot is read, it gives what was there when it was taken."""
    chance = random.Random(1)
    indexes = list(INDEXES)
    keys = [b"%d" % number for number in range(300)]
    for key in keys:
        bench.write(key, b"first", chance.choice(["", "pages"]), chance.choice([0, 0, 5_000]))
    snapshots: list[tuple[ISnapshot, list[Row], list[Row]]] = []
    for step in range(400):
        if step % 100 == 0:
            snapshots.append((bench.store.snapshot(), bench.live(), []))
        index = chance.choice(indexes)
        if chance.random() < 0.5:
            bench.write(chance.choice(keys), b"%d" % step, index, chance.choice([0, 0, 5_000]))
        else:
            bench.remove(chance.choice(keys), index)
        if step == 250:
            result(bench.store.set_indexes({"links": 2}))
            indexes.remove("pages")
            bench.rows = {place: row for place, row in bench.rows.items() if place[0] != INDEXES["pages"]}
        if step % 50 == 49:
            bench.clock.advance(0.5)
            result(bench.store.sweep(40))
        for snapshot, _, found in snapshots:
            found += snapshot.page(chance.choice([1, 100, 300]))
    assert len(snapshots) == 4
    for snapshot, expected, found in snapshots:
        found += all_of(snapshot)
        assert in_order(found) == expected
        assert snapshot.documents == len(expected)
        snapshot.close()


def test_dropped_index(bench: Bench) -> None:
    """An index that is dropped stays in a snapshot, also when it is swept away, and isn't in later ones."""
    for number in range(20):
        bench.write(b"%d" % number, b"1", "pages", ttl=1000)
        bench.write(b"%d" % number, b"1", "links")
    before, expected = bench.store.snapshot(), bench.live()
    result(bench.store.set_indexes({"links": 2}))
    between = bench.store.snapshot()
    bench.clock.advance(2)
    late = bench.store.snapshot()  # of 20 expired records none is in an index that there is
    while result(bench.store.sweep(7)):
        pass
    after = bench.store.snapshot()
    assert (before.documents, all_of(before)) == (40, expected)
    links = [row for row in expected if row.index == 2]
    for snapshot in (between, late, after):
        assert (snapshot.documents, all_of(snapshot)) == (20, links)
    for snapshot in (before, between, late, after):
        snapshot.close()


def test_closed_snapshot(bench: Bench) -> None:
    """A closed snapshot gives nothing any more, and may be closed again."""
    bench.write(b"a", b"1")
    snapshot = bench.store.snapshot()
    snapshot.close()
    snapshot.close()
    with pytest.raises(SnapshotEnded, match="closed"):
        snapshot.page(PLENTY)


def test_closing_gives_everything_back(bench: Bench) -> None:
    """Any number of snapshots can be taken one after another, without waiting for the garbage collector."""
    bench.write(b"a", b"1")
    gc.disable()
    try:
        for number in range(300):  # LMDB has places for 126 readers
            snapshot = bench.store.snapshot()
            assert len(snapshot.page(PLENTY)) == 1
            assert number % 2 or snapshot.page(PLENTY) == []
            snapshot.close()
    finally:
        gc.enable()


def test_no_snapshot_in_the_middle_of_a_commit(tmp_path: Path, clock: Clock) -> None:
    """While a commit is done, of which the counters here know later than LMDB, a snapshot waits."""
    store = LmdbStore(DataDirectory(tmp_path / "data"), clock.seconds, None, Durability.NONE)
    bench, data = Bench(store, clock), store._data
    bench.write(b"a", b"1")
    bench.write(b"b", b"1", ttl=1000)
    clock.advance(1)
    opened: list[ISnapshot] = []
    waiting = threading.Thread(target=lambda: opened.append(store.snapshot()))

    def swept(writing: Writing) -> None:
        writing.sweep(int(clock.seconds() * 1000), 10)
        waiting.start()
        waiting.join(0.05)
        assert not opened

    assert data.do([Commit(swept)]) == [None]
    waiting.join()
    assert (opened[0].documents, all_of(opened[0])) == (1, bench.live())
    result(store.close())


def test_changes_over_what_is_in_lmdb(tmp_path: Path, clock: Clock) -> None:
    """Changes that aren't in LMDB are in a snapshot as those that are, and later ones aren't."""
    store = LmdbStore(DataDirectory(tmp_path / "data"), clock.seconds, None, Durability.NONE)
    bench = Bench(store, clock)
    for key in (b"kept", b"changed", b"gone", b"expired", b"forever"):
        bench.write(key, b"1", ttl=1000 if key in (b"expired", b"forever") else 0)
    store._data.settle()
    bench.write(b"changed", b"2")
    bench.write(b"new", b"1", ttl=5000)
    bench.write(b"over", b"1", ttl=1000)
    bench.write(b"forever", b"1")
    bench.remove(b"gone")
    clock.advance(2)
    snapshot, live = bench.store.snapshot(), bench.live()
    bench.write(b"later", b"1")
    bench.write(b"new", b"later")
    bench.remove(b"kept")
    store._data.settle()
    assert (snapshot.documents, all_of(snapshot)) == (4, live)
    result(store.close())


#: Calls that a store with a thread wants made in this one.
Calls: TypeAlias = list[tuple[Callable[..., object], tuple[object, ...]]]


def _answer(answered: Calls) -> None:
    """Make the calls."""
    while answered:
        function, arguments = answered.pop(0)
        function(*arguments)


def _end(store: LmdbStore, answered: Calls) -> None:
    """Close a store with a thread."""
    closed: list[object] = []
    store.close().addCallback(closed.append)
    while not closed:
        _answer(answered)


# -- the map of LMDB grows ------------------------------------------------------------------------------------------


def test_map_growth(tmp_path: Path, clock: Clock) -> None:
    """When the map must grow, open snapshots end, say so, and a new one has everything."""
    directory = DataDirectory(tmp_path / "data")
    bench = Bench(LmdbStore(directory, clock.seconds, None, Durability.NONE, 256 * 1024, most_changed=10), clock)
    bench.write(b"a", b"1")
    bench.write(b"b", b"1")
    open_ones = [bench.store.snapshot() for _ in range(3)]
    assert len(open_ones[0].page(1)) == 1
    for number in range(200):
        bench.write(b"%d" % number, b"x" * 10_000)
    for snapshot in open_ones:
        with pytest.raises(SnapshotEnded, match=r"outgrew its map.*start the backup again"):
            snapshot.page(PLENTY)
        snapshot.close()
    again = bench.store.snapshot()
    assert (again.documents, all_of(again)) == (202, bench.live())
    again.close()
    result(bench.store.close())


def test_map_growth_in_the_writers_thread(tmp_path: Path, clock: Clock) -> None:
    """The writer's thread ends snapshots while they are read here; a page is whole or it is the error."""
    answered: Calls = []
    store = LmdbStore(
        DataDirectory(tmp_path / "data"),
        clock.seconds,
        lambda *call: answered.append((call[0], call[1:])),
        first_map=1 << 18,
        most_changed=10,
    )
    keys = [b"%d" % number for number in range(400)]
    snapshot = store.snapshot()
    ended = 0
    for begin in range(0, len(keys), 50):
        writing = [
            store.apply([Task(Write("", [key], [b"x" * 10_000]), 0, [slot_of(key)])], PLENTY, PLENTY)
            for key in keys[begin : begin + 50]
        ]
        while answered or not all(one.called for one in writing):
            _answer(answered)
            try:
                page = snapshot.page(100_000)
            except SnapshotEnded:
                ended += 1
                snapshot = store.snapshot()
            else:
                assert {len(row.record) for row in page} <= {10_000}
                if not page:
                    snapshot.close()
                    snapshot = store.snapshot()
    assert ended > 0
    _end(store, answered)


def test_closing_the_store(tmp_path: Path, clock: Clock) -> None:
    """A durable store closes with snapshots open, and ends them."""
    bench = Bench(LmdbStore(DataDirectory(tmp_path / "data"), clock.seconds, None, Durability.NONE), clock)
    bench.write(b"a", b"1")
    snapshot = bench.store.snapshot()
    result(bench.store.close())
    with pytest.raises(SnapshotEnded, match="the store was closed"):
        snapshot.page(1)
    snapshot.close()


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


# -- a shard's snapshots --------------------------------------------------------------------------------------------


class Caller:
    """A connection to the only shard of a cluster."""

    def __init__(self, cluster: MemoryCluster) -> None:
        self.cluster = cluster
        self.connection: BoundedAMP = cluster.run(
            connectProtocol(cluster.network.dial("127.0.0.1", 5050), BoundedAMP(cluster.clock))
        )

    def ask(self, command: type[amp.Command], **arguments: object) -> dict[str, Any]:
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
    """A snapshot that nobody reads from is closed after a minute; each page gives it another one."""
    caller = Caller(cluster)
    read, idle = caller.open(), caller.open()
    cluster.advance(59)
    assert open_in(cluster) == 2
    caller.read(read)
    cluster.advance(1.1)
    assert open_in(cluster) == 1
    with pytest.raises(SnapshotEnded, match="60 s"):
        caller.read(idle)
    cluster.advance(57)
    assert caller.read(read) == []
    cluster.advance(60.1)
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
