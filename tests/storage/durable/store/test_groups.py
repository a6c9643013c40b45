"""What a durable store does in one group, and what its thread may and may not hold up."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from storage.durable.store.opened import lmdb_of, opened
from stores import PLENTY, SMALL_MAP, Bench, Calls, at_once, check_consistent, task
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from pyshard.model.keyspace import slot_of
from pyshard.protocol.batches import Has, Read, Write
from pyshard.storage import LmdbStore
from pyshard.storage.durable import lmdb_encoding
from pyshard.storage.durable.counters import State
from pyshard.storage.durable.engine import Change, Commit, DurableData, Job
from pyshard.storage.durable.write_transaction import Writing
from pyshard.storage.durable.memtable import Changes, View


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
        database = lmdb_encoding.database_key(0, slot_of(b"a"), b"a")
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
