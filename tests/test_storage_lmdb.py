"""The durable store: what it promises beyond the contract of all stores (tests/storage/contract/).

How its map grows, what a disk does to it that is full or fails, how it is opened, and what its thread may and may not
hold up.
"""

from __future__ import annotations

import os
import resource
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EIO, ENOSPC
from pathlib import Path
from typing import Any

import lmdb
import msgspec
import pytest
from conftest import TakeErrors
from disks import System
from stores import PLENTY, SMALL_MAP, START, Bench, Calls, at_once, check_consistent, folder, prepared, task
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from pyshard.batch import Has, Increment, Item, Pop, Read, Run, Touch, Write
from pyshard.errors import ConfigError, StorageFailed
from pyshard.hashing import slot_of
from pyshard.storage import DataDirectory, Durability, IStore, LmdbStore, Task, layout
from pyshard.storage.application import Found
from pyshard.storage.buckets import BUCKETS
from pyshard.storage.changes import Changes, View
from pyshard.storage.counters import State
from pyshard.storage.durable import Change, Commit, DurableData, Job
from pyshard.storage.log import Logs
from pyshard.storage.transaction import Writing


@pytest.fixture
def path() -> Iterator[Path]:
    """A data directory's place."""
    with folder() as made:
        yield made / "data"


@pytest.fixture
def bench() -> Iterator[Bench]:
    """An empty store with a small map, without a thread."""
    with prepared("lmdb with a small map") as made:
        yield made


@pytest.fixture
def threaded() -> Iterator[Bench]:
    """An empty store with a thread."""
    with prepared("lmdb with a thread") as made:
        yield made


def lmdb_of(bench: Bench) -> LmdbStore:
    """The bench's store."""
    assert isinstance(bench.store, LmdbStore)
    return bench.store


def map_size(store: IStore) -> int:
    """Bytes of its map."""
    assert isinstance(store, LmdbStore)
    size: int = store._data.environment.info()["map_size"]
    return size


def opened(path: Path, seconds: Callable[[], float] = lambda: START, **options: Any) -> LmdbStore:
    """The store of a data directory."""
    return LmdbStore(DataDirectory(path), seconds, **options)


def refusal(path: Path) -> str:
    """The line with which the data of a directory are refused."""
    with pytest.raises(ConfigError) as refused:
        opened(path)
    line = str(refused.value)
    assert line.startswith(f"{path}/records: the data can't be opened (")
    assert "\n" not in line
    return line


# -- growth ---------------------------------------------------------------------------------------------------------


def test_the_map_grows(bench: Bench) -> None:
    """A full map is doubled, and what filled it is stored as if nothing had been; it is as large after a restart."""
    records = {b"%d" % each: bytes([each]) * 5000 for each in range(200)}
    for key, record in records.items():
        bench.fill({key: record})
    assert bench.answers(Read("", list(records))) == [list(records.values())]
    assert map_size(bench.store) > 8 * SMALL_MAP
    check_consistent(lmdb_of(bench))
    bench.restart()
    assert map_size(bench.store) >= len(records) * 5000
    assert bench.answers(Read("", list(records))) == [list(records.values())]


def test_the_map_grows_many_times_at_once(bench: Bench) -> None:
    """One change may need a map that is many times as large; each of its operations is applied once."""
    large = bytes(range(256)) * 40_000
    one = b"\x01\0\0\0\x1c\x01"
    counting = Increment("", [b"n", b"n"], [one, one], [one, one])
    answers = bench.answers(counting, Write("", [b"large"], [large]), counting)
    assert [each[-1] for each in answers] == [b"\x01\0\0\0\x1c\x03", True, b"\x01\0\0\0\x1c\x05"]
    assert bench.one(Read("", [b"large"])) == large
    check_consistent(lmdb_of(bench))


def test_the_map_grows_under_reads(threaded: Bench) -> None:
    """Reads in the reactor's thread and growth in the writer's don't disturb each other."""
    store = lmdb_of(threaded)
    threaded.fill({b"a": b"here"})
    store._data.environment.set_mapsize(SMALL_MAP)
    keys = [b"%d" % each for each in range(400)]
    reads = 0
    for begin in range(0, len(keys), 50):
        some = keys[begin : begin + 50]
        asked = [store.apply([task(Write("", [key], [key * 1000]))], PLENTY, PLENTY) for key in some]
        while not asked[-1].called:
            threaded.calls.make_waiting()
            assert threaded.one(Read("", [b"a"])) == b"here"
            assert set(threaded.scan(most=50)) <= {b"a", *keys}
            reads += 1
    assert reads > 1
    assert map_size(store) > SMALL_MAP
    assert threaded.answers(Read("", keys)) == [[key * 1000 for key in keys]]


def test_the_first_map_is_large_enough_for_the_data(path: Path) -> None:
    """A store begins with room to grow beyond its data, however small a map it is to begin with."""
    store = opened(path, first_map=1 << 24)
    run = Write("", [b"%d" % each for each in range(50)], [b"x" * 50_000] * 50)
    at_once(store.apply([task(run)], PLENTY, PLENTY))
    at_once(store.close())
    again = opened(path, first_map=SMALL_MAP)
    assert map_size(again) >= 2 * 2_500_000
    assert at_once(again.apply([task(Has("", [b"49"]))], PLENTY, PLENTY))[0].results == [True]
    at_once(again.close())


def test_the_address_space_is_used_up(bench: Bench, logged_errors: TakeErrors) -> None:
    """When the map can't grow, changes fail as soon as the log's must go into it; those stay, and can be read."""
    broken = Broken(lmdb_of(bench))
    broken.grows = False
    stored = {b"%d" % each: bytes(10 * SMALL_MAP) for each in range(3)}
    bench.fill(stored)
    until_refused(bench, stored, "no room for a map")
    assert len(logged_errors(AssertionError)) == 1
    assert sorted(bench.scan()) == sorted(stored)
    broken.grows = True
    bench.fill({b"small": b""})
    assert sorted(bench.scan()) == sorted([*stored, b"small"])
    check_consistent(lmdb_of(bench))


def until_refused(bench: Bench, stored: dict[bytes, bytes], why: str) -> None:
    """Store small records until the store refuses one, as it must soon; those that it took are added to `stored`."""
    keys = (b"small%d" % each for each in range(5))

    def fill() -> None:
        for key in keys:
            bench.fill({key: b""})
            stored[key] = b""

    with pytest.raises(StorageFailed, match=why):
        fill()


# -- a disk that is full, or fails ----------------------------------------------------------------------------------


class Broken:
    """Stands between a store's data and its LMDB environment and log, and has some of what they are asked for fail.

    :ivar synced: how often the log was brought to the disk.
    """

    def __init__(self, store: LmdbStore) -> None:
        self._environment = store._data.environment
        self.commits = self.reads = self.syncs = self.grows = self.appends = True
        self.synced = 0
        self.log = BrokenLog(self, store._data.logs)
        store._data.environment = self  # type: ignore[assignment]  # as much of one as the data use
        store._data.logs = self.log  # type: ignore[assignment]  # likewise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._environment, name)

    @contextmanager
    def begin(self, write: bool = False, **options: Any) -> Iterator[lmdb.Transaction]:
        """A transaction; one that writes may fail when it is committed."""
        if not write and not self.reads:
            raise lmdb.PanicError("MDB_PANIC")
        with self._environment.begin(write=write, **options) as transaction:
            yield transaction
            if write and not self.commits:
                raise lmdb.DiskError("No space left on device")

    def set_mapsize(self, size: int) -> None:
        """Have the map grow."""
        if not self.grows:
            raise lmdb.MemoryError("no room for a map")
        self._environment.set_mapsize(size)


class BrokenLog:
    """The log of `Broken`."""

    def __init__(self, broken: Broken, log: Logs) -> None:
        self._broken = broken
        self._whole = log

    def __getattr__(self, name: str) -> Any:
        return getattr(self._whole, name)

    def append(self, text: bytes, sync: bool) -> None:
        """Write a group."""
        if not self._broken.appends:
            raise OSError(ENOSPC, "No space left on device")
        self._broken.synced += sync
        self._whole.append(text, sync)

    def sync(self) -> None:
        """Bring all groups to the disk."""
        self._broken.synced += 1
        if not self._broken.syncs:
            raise OSError(EIO, "Input/output error")
        self._whole.sync()


CHANGES: list[Run] = [
    Write("", [b"a", b"new"], [b"two", b""], None, [1000, 0]),
    Pop("", [b"a"]),
    Touch("", [b"a"], [1000]),
    Increment("", [b"n"], [b"\x01\0\0\0\x1c\x01"], [b"\x01\0\0\0\x1c\x01"]),
]


@pytest.mark.parametrize("run", CHANGES, ids=lambda run: type(run).__name__)
def test_a_change_that_fails(bench: Bench, run: Run, logged_errors: TakeErrors) -> None:
    """Its writer is told why, nothing of it is done, reads go on, and so do changes when the disk takes them again."""
    store = lmdb_of(bench)
    bench.fill({b"a": b"one"})

    def all_of_it() -> list[object]:
        return [
            bench.applied(Item("", [b"a", b"new", b"n"])),
            store.documents,
            store.used,
            list(store._data.state.counts),
        ]

    before = all_of_it()
    broken = Broken(store)
    broken.appends = False
    with pytest.raises(StorageFailed) as failed:
        bench.answers(run)
    assert str(failed.value) == "the shard's disk did not take the change: No space left on device"
    assert [str(error) for error in logged_errors(AssertionError)] == [
        "the disk did not take a change: No space left on device"
    ]
    assert all_of_it() == before
    assert bench.scan() == [b"a"]
    check_consistent(store)
    broken.appends = True
    bench.answers(run)
    assert all_of_it() != before
    check_consistent(store)


def test_changes_that_do_not_go_into_lmdb(bench: Bench, logged_errors: TakeErrors) -> None:
    """When LMDB's disk is full, changes fail when there are many in the log, until it isn't; the log's are kept."""
    store = lmdb_of(bench)
    broken = Broken(store)
    broken.commits = False
    stored = {b"%d" % each: b"old" for each in range(5)}  # more than the bench's store keeps in memory
    bench.fill(stored)
    until_refused(bench, stored, "No space left on device")
    assert len(logged_errors(AssertionError)) == 1
    assert sorted(bench.scan()) == sorted(stored)
    check_consistent(store)
    broken.commits = True
    bench.fill({b"new": b""})
    check_consistent(store)
    bench.crash()
    assert sorted(bench.scan()) == sorted([*stored, b"new"])
    check_consistent(lmdb_of(bench))


def test_a_log_that_does_not_begin_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """What LMDB has already is done; the next change brings the log in order first."""
    store = lmdb_of(bench)

    def failing(*_: object) -> None:
        raise OSError(EIO, "Input/output error")

    bench.fill({b"a": b"one"})
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", failing)
        store._data.settle()
    assert [str(error) for error in logged_errors(AssertionError)] == [
        "the log could not be begun anew: Input/output error"
    ]
    bench.fill({b"b": b"two"})
    bench.crash()
    assert sorted(bench.scan()) == [b"a", b"b"]
    check_consistent(lmdb_of(bench))


def test_a_refused_change_that_cannot_be_taken_back(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, logged_errors: TakeErrors
) -> None:
    """What is left of it in the log has no part in what follows, also when nothing in the log can be changed."""
    bench.fill({b"a": b"one"})
    system = System()
    monkeypatch.setattr("pyshard.storage.log.os", system)
    system.room, system.failing = 1 << 20, {"truncate"}
    lmdb_of(bench)._data._durability = Durability.FSYNC
    system.failing_once = {"fdatasync"}
    with pytest.raises(StorageFailed):
        bench.fill({b"refused": b""})
    system.room = 0
    at_once(bench.store.remember(b"text"))
    with pytest.raises(StorageFailed):
        bench.fill({b"refused": b""})
    system.room, system.failing = None, set()
    bench.crash()
    assert (bench.scan(), bench.store.recall()) == ([b"a"], b"text")
    bench.fill({b"b": b"two"})
    bench.crash()
    assert sorted(bench.scan()) == [b"a", b"b"]
    assert len(logged_errors(AssertionError)) == 4


def test_what_is_no_batch_fails_too(bench: Bench, logged_errors: TakeErrors) -> None:
    """Indexes and the text to remember stay as they were when the disk doesn't take them; sweeping fails."""
    bench.fill({b"a": b"one"}, "pages", ttl=1000)
    at_once(bench.store.remember(b"old"))
    bench.clock.advance(1)
    broken = Broken(lmdb_of(bench))
    broken.commits = False
    asks: list[Callable[[], Deferred[Any]]] = [
        lambda: bench.store.remember(b"new"),
        lambda: bench.store.set_indexes({"links": 2}),
        lambda: bench.store.sweep(10),
    ]
    for ask in asks:
        with pytest.raises(StorageFailed):
            at_once(ask())
    assert len(logged_errors(AssertionError)) == 3
    assert bench.store.recall() == b"old"
    assert bench.store.documents == 1
    assert bench.answers(Has("pages", [b"a"])) == [[False]]
    broken.commits = True
    bench.sweep()
    assert bench.store.documents == 0


def test_a_disk_that_is_really_full(bench: Bench, logged_errors: TakeErrors) -> None:
    """Where the file can't grow any more, changes fail until it can; what was stored before is there."""
    bench.fill({b"before": b"here"})
    stored: list[bytes] = []

    def fill_up() -> None:
        for each in range(100):
            bench.fill({b"%d" % each: b"x" * 20_000})
            stored.append(b"%d" % each)

    with small_files(lmdb_of(bench)._directory.records / "data.mdb", 200_000), pytest.raises(StorageFailed):
        fill_up()
    assert 0 < len(stored) < 100
    assert len(logged_errors(AssertionError)) == 1
    assert sorted(bench.scan()) == sorted([b"before", *stored])
    check_consistent(lmdb_of(bench))
    bench.fill({b"after": b"x" * 20_000})
    bench.restart()
    assert sorted(bench.scan()) == sorted([b"before", b"after", *stored])
    check_consistent(lmdb_of(bench))


@contextmanager
def small_files(file: Path, more: int) -> Iterator[None]:
    """Let no file of this process grow past that one's size and some more bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_data_that_cannot_be_read(bench: Bench) -> None:
    """Reads that fail are an error to who reads, not the end of anything."""
    bench.fill({b"a": b"one"})
    broken = Broken(lmdb_of(bench))
    broken.reads = False
    asks: list[Callable[[], Deferred[Any]]] = [
        lambda: bench.store.apply([task(Read("", [b"a"]))], PLENTY, PLENTY),
        lambda: bench.store.page(0, 0, None, 10, 10, 10),
    ]
    for ask in asks:
        with pytest.raises(StorageFailed, match="the shard's disk could not be read: MDB_PANIC"):
            at_once(ask())
    broken.reads = True
    assert bench.one(Read("", [b"a"])) == b"one"


# -- groups ---------------------------------------------------------------------------------------------------------


def writing(store: LmdbStore, key: bytes, record: bytes = b"") -> Change:
    """The job of a batch that writes one key."""
    run = task(Write("", [key], [record]))
    return Change(lambda view, state, changes: store._applied(view, state, changes, [run], PLENTY, PLENTY))


def test_a_job_that_raises_hurts_no_other(bench: Bench) -> None:
    """In a group in which one job fails unexpectedly the others are done, each once, and it alone has failed."""
    store = lmdb_of(bench)

    def bad(view: View, state: State, changes: Changes) -> None:
        writing(store, b"half").work(view, state, changes)
        raise ZeroDivisionError

    def worse(writing: Writing) -> None:
        writing.transaction.put(b"half", b"", db=store._data.databases.meta)
        raise ZeroDivisionError

    def good(writing: Writing) -> None:
        writing.transaction.put(b"whole", b"", db=store._data.databases.meta)

    jobs: list[Job] = [
        writing(store, b"a"),
        Change(bad),
        writing(store, b"b"),
        Commit(good),
        Commit(worse),
        Commit(good),
    ]
    first, failed, last, done, *others = store._data.do(jobs)
    assert [one[0].results for one in (first, last)] == [[True], [True]]  # type: ignore[index]  # they are answers
    assert (done, others[1]) == (None, None)
    for failure in (failed, others[0]):
        assert isinstance(failure, Failure)
        assert failure.type is ZeroDivisionError
    assert sorted(bench.scan()) == [b"a", b"b"]
    with store._data.environment.begin() as transaction:
        assert [store._data.meta(transaction, name) for name in (b"half", b"whole")] == [None, b""]
    check_consistent(store)


def test_jobs_are_done_in_order(bench: Bench) -> None:
    """Changes and commits of one group see what those before them did."""
    store = lmdb_of(bench)
    seen: list[bytes | None] = []

    def look(writing: Writing) -> None:
        writing.settle()
        database = layout.database_key(0, slot_of(b"a"), b"a")
        found = writing.transaction.get(database, db=store._data.databases.records)
        seen.append(None if found is None else bytes(found)[16:])

    store._data.do(
        [Commit(look), writing(store, b"a", b"one"), Commit(look), writing(store, b"a", b"two"), Commit(look)]
    )
    assert seen == [None, b"one", b"two"]


def test_what_readers_see_changes_under_the_lock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changes and their counters, a commit's, and the map's growth: none of them comes in the middle of a read."""
    data = lmdb_of(bench)._data
    touched: list[tuple[str, bool]] = []
    update, forget = Changes.update, Changes.forget

    def note(data: DurableData, name: str, value: object) -> None:
        if name in ("state", "changes"):
            touched.append((name, data.lock.locked()))
        object.__setattr__(data, name, value)

    def note_update(changes: Changes, newer: Changes) -> None:
        if changes is data.changes:
            touched.append(("update", data.lock.locked()))
        update(changes, newer)

    def note_forget(changes: Changes, gone: dict[bytes, bytes]) -> None:
        touched.append(("forget", data.lock.locked()))
        forget(changes, gone)

    with data.reading():
        assert data.lock.locked()
    data.on_growth = lambda: touched.append(("growth", data.lock.locked()))
    monkeypatch.setattr(DurableData, "__setattr__", note)
    monkeypatch.setattr(Changes, "update", note_update)
    monkeypatch.setattr(Changes, "forget", note_forget)
    bench.fill({b"a": b"one"})
    at_once(bench.store.remember(bytes(SMALL_MAP)))
    assert touched == [(name, True) for name in ("update", "state", "growth", "forget", "state")]


def test_reads_do_not_wait_for_changes(threaded: Bench) -> None:
    """While a change is on its way to the disk reads are answered, from what was done before it."""
    store = lmdb_of(threaded)
    threaded.fill({b"a": b"old"})
    begun, go_on = threading.Event(), threading.Event()

    def slow(view: View, state: State, changes: Changes) -> None:
        writing(store, b"a", b"new").work(view, state, changes)
        begun.set()
        assert go_on.wait(30)

    slowly: Deferred[Any] = store._writer.submit(Change(slow))
    later = store.apply([task(Read("", [b"a"])), task(Write("", [b"b"], [b""]))], PLENTY, PLENTY)
    assert begun.wait(30)
    reading = store.apply([task(Read("", [b"a"])), task(Has("", [b"b"]))], PLENTY, PLENTY)
    paging = store.page(0, 0, None, 10_000_000, 10, 1000)
    assert reading.called
    assert [answer.results for answer in at_once(reading)][1] == [False]
    assert at_once(paging).keys == [b"a"]
    assert threaded.one(Read("", [b"a"])) == b"old"
    go_on.set()
    threaded.result(slowly)
    assert threaded.result(later)[0].results[0][-3:] == b"new"  # type: ignore[index]  # a record
    assert threaded.one(Read("", [b"a"])) == b"new"


def test_closing_finishes_what_was_begun(path: Path) -> None:
    """What was asked for before the store is closed is committed, and answered before it has closed."""
    calls = Calls()
    store = opened(path, call_from_thread=calls.put)
    asked = [store.apply([task(Write("", [b"%d" % each], [b""]))], PLENTY, PLENTY) for each in range(300)]
    closing = store.close()
    calls.result(closing)
    assert all(one.called for one in asked)
    again = opened(path)
    assert again.documents == 300
    at_once(again.close())


# -- durability -----------------------------------------------------------------------------------------------------


def test_fsync_is_the_default(path: Path) -> None:
    """Unless a weaker mode is asked for, each change is on the disk when it is answered; LMDB always syncs."""
    store = opened(path)
    broken = Broken(store)
    for each in range(1, 4):
        at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
        assert broken.synced == each
    at_once(store.apply([task(Pop("", [b"unknown"]))], PLENTY, PLENTY))
    assert broken.synced == 3  # nothing was changed
    assert (store._data.environment.flags()["sync"], store._data.environment.flags()["metasync"]) == (True, True)
    at_once(store.close())


@pytest.mark.parametrize("durability", [Durability.ASYNC, Durability.NONE])
def test_weaker_modes_do_not_sync_with_each_change(path: Path, durability: Durability) -> None:
    """With `async` and `none` the log is left to the system, and LMDB still syncs; closing brings all of it there."""
    store = opened(path, durability=durability)
    assert (store._data.environment.flags()["sync"], store._data.environment.flags()["metasync"]) == (True, True)
    broken = Broken(store)
    at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
    assert broken.synced == 0
    at_once(store.close())
    for file in path.glob("log-*"):
        file.unlink()
    again = stored_in(path)
    assert again == [b"a"]


def stored_in(path: Path) -> list[bytes]:
    """The keys that LMDB itself has."""
    with lmdb.open(str(path / "records"), max_dbs=3) as environment, environment.begin() as transaction:
        cursor = transaction.cursor(db=environment.open_db(b"records", txn=transaction, create=False))
        return [database[9:] for database in cursor.iternext(values=False)]


def test_none_never_syncs_meanwhile(path: Path) -> None:
    """With `none` nothing is synced however long the store is open."""
    clock = Clock()
    store = opened(path, clock.seconds, durability=Durability.NONE)
    broken = Broken(store)
    for _ in range(3):
        at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
        clock.advance(10)
        at_once(store.sweep(10))
    assert broken.synced == 0
    at_once(store.close())


def test_async_syncs_every_second(path: Path) -> None:
    """With `async` what was committed is on the disk about a second later, without another change, and just once."""
    clock = Clock()
    store = opened(path, clock.seconds, durability=Durability.ASYNC)
    broken = Broken(store)
    run = task(Write("", [b"a"], [b""]))
    at_once(store.apply([run], PLENTY, PLENTY))
    for _ in range(4):
        at_once(store.sweep(10))
        clock.advance(0.25)
        assert broken.synced == 0
    at_once(store.sweep(10))
    assert broken.synced == 1
    clock.advance(100)
    at_once(store.sweep(10))
    assert broken.synced == 1
    at_once(store.apply([run], PLENTY, PLENTY))
    assert broken.synced == 2
    clock.rightNow -= 1000
    at_once(store.apply([run], PLENTY, PLENTY))
    assert broken.synced == 3  # a clock that was put back doesn't put syncs off
    at_once(store.close())


def test_async_has_nothing_to_sync_behind_a_commit(path: Path) -> None:
    """What went into LMDB is on the disk; there is nothing to wait for."""
    clock = Clock()
    store = opened(path, clock.seconds, durability=Durability.ASYNC)
    broken = Broken(store)
    at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
    at_once(store.remember(b"text"))  # before which the log is synced
    clock.advance(10)
    at_once(store.sweep(10))
    assert (broken.synced, store._data.unsynced) == (1, False)
    at_once(store.close())


def test_the_log_has_a_bound(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """When the log is long, or many records were changed, changes go into LMDB faster than others come."""
    monkeypatch.setattr("pyshard.storage.durable._MOST_BYTES", 10_000)
    store = opened(path, most_changed=20)
    sizes: list[int] = []
    changed: list[int] = []
    for size in [3000] * 9 + [10] * 90:
        at_once(store.apply([task(Write("", [b"%d" % len(sizes)], [bytes(size)]))], PLENTY, PLENTY))
        sizes.append(store._data.logs.size)
        changed.append(len(store._data.changes.records))
    assert (changed[:9], max(changed)) == ([1, 2, 3, 4, 5, 4, 3, 4, 5], 21)
    assert 10_000 < max(sizes) < 16_500
    assert store.documents == 99
    check_consistent(store)
    at_once(store.close())


def test_a_sync_that_fails(path: Path, logged_errors: TakeErrors) -> None:
    """It is logged and tried again; the store goes on."""
    clock = Clock()
    store = opened(path, clock.seconds, durability=Durability.ASYNC)
    broken = Broken(store)
    clock.advance(2)
    broken.syncs = False
    run = task(Write("", [b"a"], [b""]))
    assert at_once(store.apply([run], PLENTY, PLENTY))[0].results == [True]
    assert [str(error) for error in logged_errors(AssertionError)] == [
        "the disk could not be synced: Input/output error"
    ]
    broken.syncs = True
    at_once(store.sweep(10))
    assert broken.synced == 2
    at_once(store.sweep(10))
    assert broken.synced == 2
    at_once(store.close())


# -- opening --------------------------------------------------------------------------------------------------------


def test_versions_begin_with_the_time(path: Path) -> None:
    """The first version of new data is the time in microseconds, so that it is above those of data that were lost."""
    store = opened(path, lambda: 1234.5)
    at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
    (answer,) = at_once(store.apply([task(Read("", [b"a"]))], PLENTY, PLENTY))
    assert answer.results == [(1_234_500_001).to_bytes(8, "big")]
    at_once(store.close())


def test_the_clock_does_not_lower_versions(path: Path) -> None:
    """Versions go on where they were, also when the clock is put back."""
    versions = []
    for now in (1000.0, 10.0):
        store = opened(path, lambda now=now: now)  # type: ignore[misc]  # bound now
        at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
        (answer,) = at_once(store.apply([task(Read("", [b"a"]))], PLENTY, PLENTY))
        versions.append(answer.results[0])
        at_once(store.close())
    assert versions == [(1_000_000_001).to_bytes(8, "big"), (1_000_000_002).to_bytes(8, "big")]


def test_garbage_for_data(path: Path) -> None:
    """Data that LMDB can't open are refused in one line, left as they are, and the directory is let go."""
    at_once(opened(path).close())
    data = path / "records" / "data.mdb"
    data.write_bytes(b"garbage" * 5000)
    assert "not an LMDB file" in refusal(path)
    assert "not an LMDB file" in refusal(path)  # not that another process uses it
    assert data.read_bytes() == b"garbage" * 5000


@pytest.mark.parametrize(
    "saved",
    [
        b"",
        b"\xc1",
        b"\x93\x01\x02\x80",
        msgspec.msgpack.encode([1, 2, {"a": 1}, [], bytes(4 * BUCKETS)]),
        msgspec.msgpack.encode([1, 2, {0: 1}, [], bytes(4 * BUCKETS - 4)]),
        msgspec.msgpack.encode([1, 2, {0: 1}, [], bytes(7)]),
    ],
)
def test_damaged_counters(path: Path, saved: bytes) -> None:
    """Counters that can't be read are refused in one line; nothing is counted anew in silence."""
    store = opened(path)
    with store._data.environment.begin(write=True) as transaction:
        transaction.put(b"counters", saved, db=store._data.databases.meta)
    at_once(store.close())
    refusal(path)


def test_check(path: Path) -> None:
    """`check` opens and lets go: the data can be opened afterwards, or are refused."""
    directory = DataDirectory(path)
    LmdbStore.check(directory)
    store = LmdbStore(directory, lambda: START)
    at_once(store.apply([task(Write("", [b"a"], [b""]))], PLENTY, PLENTY))
    at_once(store.close())
    directory = DataDirectory(path)
    LmdbStore.check(directory)
    store = LmdbStore(directory, lambda: START)
    assert store.documents == 1
    at_once(store.close())
    (path / "records" / "data.mdb").write_bytes(b"garbage" * 5000)
    with pytest.raises(ConfigError, match="can't be opened"):
        LmdbStore.check(DataDirectory(path))


def test_closing_lets_go_of_the_directory(path: Path) -> None:
    """As long as a store is open nobody else has its directory; then no file is left open."""
    files = len(list(Path("/proc/self/fd").iterdir()))
    store = opened(path)
    with pytest.raises(ConfigError, match="another process uses"):
        DataDirectory(path)
    at_once(store.close())
    DataDirectory(path).close()
    assert len(list(Path("/proc/self/fd").iterdir())) == files


# -- keys -----------------------------------------------------------------------------------------------------------


def test_keys_that_share_a_digest(bench: Bench) -> None:
    """Where a long key has another one's place, it isn't there: no verb gives or removes the other's record."""
    store = lmdb_of(bench)
    own, other = b"k" * 600 + b"1", b"k" * 600 + b"2"
    with store._data.environment.begin(write=True) as transaction:
        place = layout.database_key(0, slot_of(own), own)
        transaction.put(place, layout.pack(other, Found(1, 0, b"the other's")), db=store._data.databases.records)
    runs: list[Run] = [Read("", [own]), Has("", [own]), Item("", [own]), Pop("", [own]), Touch("", [own], [1])]
    assert bench.answers(*runs) == [[None], [False], [None], [None], [False]]
    assert bench.answers(*runs[:3]) == [[None], [False], [None]]
    assert bench.page().keys == [other]


def test_one_key_in_two_slots(bench: Bench) -> None:
    """A record is found by index, slot and key, as the shard gives them."""
    for slot in (1, 2):
        at_once(bench.store.apply([Task(Write("", [b"a"], [b"%d" % slot]), 0, [slot])], PLENTY, PLENTY))
    assert bench.page(0, None, 3).keys == [b"a", b"a"]
    assert bench.page(1, b"a", 3).keys == [b"a"]
