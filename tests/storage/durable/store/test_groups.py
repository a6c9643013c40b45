"""What a durable store commits together, and what its thread may and may not delay."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import attrs
import pytest
from storage.durable.store.opened import lmdb_of, opened
from stores import PLENTY, SMALL_MAP, Bench, Calls, at_once, check_consistent, commit, task
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_answers import VERSION, Answer
from pyshard.protocol.batch_operations import Has, Pop, Read, Run, Touch, Write
from pyshard.settings import settings
from pyshard.storage import Durability, LmdbStore, PageBounds, batch_executor
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import Counters
from pyshard.storage.durable.engine import StorageEngine
from pyshard.storage.durable.group_changes import GroupChanges
from pyshard.storage.durable.lmdb_flush_transaction import WriteTransaction
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate, LoggedUpdate, Update
from pyshard.storage.durable.memtable import Memtable
from pyshard.storage.durable.merged_view import MergedView


def updates_of(store: LmdbStore, runs: list[Run]) -> list[LoggedUpdate]:
    """The updates of batches of one run each."""

    def update(run: Run) -> LoggedUpdate:
        return LoggedUpdate(
            lambda view, counters, changes: store._execute(view, counters, changes, [task(run)], PLENTY, PLENTY)
        )

    return list(map(update, runs))


def write_of(store: LmdbStore, key: bytes, record: bytes = b"") -> LoggedUpdate:
    """The update of a batch that writes one key."""
    [update] = updates_of(store, [Write("", [key], [record])])
    return update


def log_sizes(path: Path) -> list[int]:
    """Bytes of the files of the log."""
    return [(path / name).stat().st_size for name in ("log-1", "log-2")]


def test_many_changes_become_several_groups(path: Path) -> None:
    """However many batches are committed at once, a group has so many changes, and each batch its own outcome."""
    store = opened(path, durability=Durability.NONE)
    before = store._engine.log.sequence
    batches = [[b"%d" % (batch * 600 + each) for each in range(600)] for batch in range(50)]
    runs: list[Run] = [Write("", keys, [b"%d" % number] * 600) for number, keys in enumerate(batches)]
    outcomes = commit(store, updates_of(store, runs))
    assert outcomes == [[Answer([True] * 600, {})]] * 50
    assert store._engine.log.sequence - before == 3  # of 17, 17 and 16 batches
    at_once(store.close())
    again = opened(path)
    assert again.documents == 30_000
    check_consistent(again)
    at_once(again.close())


def test_groups_of_many_bytes(path: Path) -> None:
    """What is written to the log at once is bounded, also where few bytes of a batch write many: so are its files."""
    store = opened(path, durability=Durability.NONE)
    large, mib = b"x" * 1_000_000, 1024 * 1024
    runs: list[Run] = [Write("", [b"%d" % number], [large]) for number in range(40)]
    commit(store, updates_of(store, runs))
    commit(store, updates_of(store, [Touch("", [b"%d" % (number % 40)], [9]) for number in range(200)]))
    assert 130 * mib < sum(log_sizes(path))
    assert max(log_sizes(path)) <= 81 * mib
    check_consistent(store)
    at_once(store.close())


def test_groups_of_many_bytes_that_are_given(path: Path) -> None:
    """What the answers of a group give is bounded, too: 60 `pop` of 16 MiB, in 75 bytes each, took 3 GB at once."""
    store = opened(path, durability=Durability.NONE)
    keys = [b"%d" % number for number in range(20)]
    commit(store, updates_of(store, [Write("", [key], [b"x" * 5_000_000]) for key in keys]))
    pops = updates_of(store, [Pop("", [key]) for key in keys])
    groups = []
    while pops:
        outcomes, size, *_ = store._engine.commit_first(pops)
        assert size == len(outcomes) * (5_000_000 + VERSION.size)
        groups.append(len(outcomes))
        del pops[: len(outcomes)]
    assert groups == [4] * 5
    assert store.documents == 0
    at_once(store.close())


def test_the_most_that_one_batch_writes(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One batch writes at the most what a box brings, what it may have copied, and one document: here, per mille."""
    box, copied, document = 18_000, 16_000, 16_000
    monkeypatch.setattr(batch_executor, "settings", attrs.evolve(settings, BATCH_WORK=copied))
    store = opened(path, durability=Durability.NONE)
    large = [b"large%d" % number for number in range(9)]
    commit(store, updates_of(store, [Write("", large, [b"x" * (document - 1)] * 9)]))
    before = store._engine.log.size
    both = [task(Write("", [b"new"], [b"x" * box])), task(Touch("", large, [9] * 9))]
    (outcome,) = commit(
        store,
        [LoggedUpdate(lambda view, counters, memtable: store._execute(view, counters, memtable, both, PLENTY, PLENTY))],
    )
    assert isinstance(outcome, list)
    assert [len(answer.errors) for answer in outcome] == [0, 9 - 2]
    written = store._engine.log.size - before
    assert copied + document < written - 500 < box + copied + document
    at_once(store.close())


def test_a_failing_group(path: Path) -> None:
    """What fails in a later group leaves those before it done, and those behind it are done as well."""
    store = opened(path, durability=Durability.NONE)

    def bad(*_: object) -> None:
        raise ZeroDivisionError

    many = [b"%d" % number for number in range(10_000)]
    runs: list[Run] = [Write("", keys, [b""] * len(keys)) for keys in (many, [b"a"], [b"b"])]
    updates = updates_of(store, runs)
    outcomes = commit(store, [*updates[:2], LoggedUpdate(bad), updates[2]])
    assert [isinstance(outcome, Failure) for outcome in outcomes] == [False, False, True, False]
    assert store.documents == 10_002
    at_once(store.close())


def test_an_update_that_raises_fails_alone(bench: Bench) -> None:
    """When an update fails unexpectedly, those that were to be committed with it are done, each once."""
    store = lmdb_of(bench)

    def bad(view: MergedView, counters: Counters, changes: GroupChanges) -> None:
        write_of(store, b"half").work(view, counters, changes)
        raise ZeroDivisionError

    def worse(transaction: WriteTransaction) -> None:
        transaction.lmdb.put(b"half", b"", db=store._engine.databases.meta)
        raise ZeroDivisionError

    def good(transaction: WriteTransaction) -> None:
        transaction.lmdb.put(b"whole", b"", db=store._engine.databases.meta)

    updates: list[Update] = [
        write_of(store, b"a"),
        LoggedUpdate(bad),
        write_of(store, b"b"),
        DirectUpdate(good),
        DirectUpdate(worse),
        DirectUpdate(good),
    ]
    first, failed, last, done, *others = commit(store, updates)
    assert [answers[0].results for answers in (first, last)] == [[True], [True]]  # type: ignore[index]  # they are answers
    assert (done, others[1]) == (None, None)
    for failure in (failed, others[0]):
        assert isinstance(failure, Failure)
        assert failure.type is ZeroDivisionError
    assert sorted(bench.scan()) == [b"a", b"b"]
    with store._engine.environment.begin() as transaction:
        assert [transaction.get(name, db=store._engine.databases.meta) for name in (b"half", b"whole")] == [None, b""]
    check_consistent(store)


def test_updates_are_done_in_order(bench: Bench) -> None:
    """Logged and direct updates that are committed together see what those before them did."""
    store = lmdb_of(bench)
    seen: list[bytes | None] = []

    def look(transaction: WriteTransaction) -> None:
        transaction.flush_all()
        db_key = lmdb_encoding.database_key(0, slot_of(b"a"), b"a")
        found = transaction.lmdb.get(db_key, db=store._engine.databases.records)
        seen.append(None if found is None else bytes(found)[16:])

    commit(
        store,
        [
            DirectUpdate(look),
            write_of(store, b"a", b"one"),
            DirectUpdate(look),
            write_of(store, b"a", b"two"),
            DirectUpdate(look),
        ],
    )
    assert seen == [None, b"one", b"two"]


def test_what_readers_see_changes_under_the_lock(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """No read is interrupted: not by new records and counters of either kind of update, nor by the map's growth."""
    engine = lmdb_of(bench)._engine
    touched: list[tuple[str, bool]] = []
    merge, discard = Memtable.merge, Memtable.discard

    def note(target: StorageEngine, name: str, value: object) -> None:
        if name in ("counters", "memtable"):
            touched.append((name, engine.lock.locked()))
        object.__setattr__(target, name, value)

    def note_merge(memtable: Memtable, newer: Memtable) -> None:
        if memtable is engine.memtable:
            touched.append(("merge", engine.lock.locked()))
        merge(memtable, newer)

    def note_discard(memtable: Memtable, flushed: dict[bytes, bytes]) -> None:
        touched.append(("discard", engine.lock.locked()))
        discard(memtable, flushed)

    with engine.reading():
        assert engine.lock.locked()
    engine.lmdb.on_growth = lambda: touched.append(("growth", engine.lock.locked()))
    monkeypatch.setattr(StorageEngine, "__setattr__", note)
    monkeypatch.setattr(Memtable, "merge", note_merge)
    monkeypatch.setattr(Memtable, "discard", note_discard)
    bench.fill({b"a": b"one"})
    at_once(bench.store.remember(bytes(SMALL_MAP)))
    engine.flush_all()
    names = ("merge", "counters", "merge", "counters", "growth", "discard", "counters")
    assert touched == [(name, True) for name in names]


def test_reads_do_not_wait_for_changes(threaded: Bench) -> None:
    """Reads are answered while a change is being written, from what was done before it."""
    store = lmdb_of(threaded)
    threaded.fill({b"a": b"old"})
    begun, go_on = threading.Event(), threading.Event()

    def slow(view: MergedView, counters: Counters, changes: GroupChanges) -> None:
        write_of(store, b"a", b"new").work(view, counters, changes)
        begun.set()
        assert go_on.wait(30)

    slowly: Deferred[Any] = store._writer.submit(LoggedUpdate(slow))
    later = store.apply([task(Read("", [b"a"])), task(Write("", [b"b"], [b""]))], PLENTY, PLENTY)
    assert begun.wait(30)
    reading = store.apply([task(Read("", [b"a"])), task(Has("", [b"b"]))], PLENTY, PLENTY)
    paging = store.page(0, 0, None, 10_000_000, PageBounds(10, 1000))
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
    assert all(answered.called for answered in asked)
    again = opened(path)
    assert again.documents == 300
    at_once(again.close())
