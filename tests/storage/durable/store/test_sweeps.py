"""Sweeps of a durable store: what has expired goes, once, whether LMDB or the memtable has it, and whatever fails."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import TakeErrors
from storage.contract.samples import neighbors
from storage.durable.store.broken import Broken
from storage.durable.store.opened import lmdb_of, opened
from stores import NAMED, PLENTY, START, Bench, at_once, check_consistent, commit, task
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.errors import StorageFailed
from pyshard.protocol.batch_operations import Write
from pyshard.storage import Durability
from pyshard.storage.durable.expiry_sweep import sweep_expired
from pyshard.storage.durable.logged_and_direct_updates import DirectUpdate, LoggedUpdate, Update


def test_sweeps_that_are_committed_together(bench: Bench) -> None:
    """Each record is removed and counted once, also one that only the memtable has."""
    store = lmdb_of(bench)
    stays, goes, goes_too = neighbors()[:3]  # in one bucket, whose count so never gets below 0
    bench.fill({stays: b"1", goes: b"1"})
    bench.fill({goes: b"1", goes_too: b"1"}, ttl=1000)
    bench.clock.advance(1)
    engine = store._engine
    sweep = LoggedUpdate(
        lambda view, counters, changes: sweep_expired(view, counters, changes, engine.swept, bench.now, 1)
    )
    outcomes = commit(store, [sweep] * 3)
    assert outcomes[0] is True
    while commit(store, [sweep]) == [True]:
        pass
    assert bench.store.documents == 1
    check_consistent(store)


def test_a_sweep_looks_at_nothing_twice(path: Path) -> None:
    """LMDB lists what was removed until that is flushed; the next sweep begins behind it, and misses nothing new."""
    clock = Clock()
    clock.advance(START)
    store = opened(path, clock.seconds, durability=Durability.NONE)
    keys = [b"%d" % each for each in range(20)]
    at_once(store.apply([task(Write("", keys, keys, None, [1000] * 20))], PLENTY, PLENTY))
    store._engine.flush_all()
    clock.advance(1)
    for left in (15, 10, 5, 0):
        assert at_once(store.sweep(5)) is True
        assert store.documents == left
    assert at_once(store.sweep(5)) is False
    assert len(store._engine.memtable.records) == 20
    assert not store._is_more_to_sweep()
    at_once(store.apply([task(Write("", [b"late"], [b""], None, [1]))], PLENTY, PLENTY))
    store._engine.flush_all()
    clock.advance(0.001)
    while at_once(store.sweep(5)):
        pass
    assert (store.documents, store.used) == (0, 0)
    check_consistent(store)
    at_once(store.close())


def test_what_is_flushed_before_the_place_of_a_sweep(path: Path) -> None:
    """Records that come into LMDB's list before the place that a sweep has reached are swept all the same."""
    clock = Clock()
    clock.advance(START)
    store = opened(path, clock.seconds, durability=Durability.NONE)
    for name, ttl in ((b"in LMDB", 1000), (b"in the memtable", 900)):
        store._engine.flush_all()
        keys = [b"%s %d" % (name, each) for each in range(10)]
        at_once(store.apply([task(Write("", keys, keys, None, [ttl] * 10))], PLENTY, PLENTY))
    clock.advance(1)
    assert at_once(store.sweep(5)) is True
    assert store.documents == 10
    store._engine.flush_all()
    while at_once(store.sweep(5)):
        pass
    assert (store.documents, store.used) == (0, 0)
    check_consistent(store)
    at_once(store.close())


def test_a_sweep_that_fails(bench: Bench, logged_errors: TakeErrors) -> None:
    """What the log didn't take of a sweep is swept the next time."""
    store = lmdb_of(bench)
    bench.fill({b"%d" % each: b"" for each in range(20)}, ttl=1000)
    store._engine.flush_all()
    bench.clock.advance(1)
    broken = Broken(store)
    broken.appends = False
    with pytest.raises(StorageFailed):
        at_once(store.sweep(100))
    assert (len(logged_errors(AssertionError)), store.documents) == (1, 20)
    broken.appends = True
    bench.sweep()
    assert store.documents == 0
    check_consistent(store)


def test_a_dropped_index_goes_in_small_steps(path: Path) -> None:
    """No transaction flushes or removes more than a step's records, however many the memtable has."""
    store = opened(path, lambda: START, most_changed=10_000)
    at_once(store.set_indexes(NAMED))
    keys = [b"%d" % each for each in range(1000)]
    for name in ("", "pages"):
        at_once(store.apply([task(Write(name, keys, keys))], PLENTY, PLENTY))
    at_once(store.set_indexes({}))
    memtable, left, steps = store._engine.memtable, 2000, 0
    while at_once(store.sweep(100)):
        assert left - len(memtable.records) == 100
        left, steps = len(memtable.records), steps + 1
    assert (steps, len(memtable.records)) == (10, 1000)
    assert store._engine.lmdb._flushed < 2100  # pages
    check_consistent(store)
    at_once(store.close())


def test_sweeps_are_background_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What removes expired records, those of a dropped index and what is left over, waits for others."""
    clock = Clock()
    clock.advance(START)
    store = opened(path, clock.seconds)
    submitted: list[Update] = []
    submit = store._writer.submit_background

    def background(update: Update) -> Deferred[Any]:
        submitted.append(update)
        return submit(update)

    at_once(store.set_indexes(NAMED))
    for name in ("", "pages"):
        at_once(store.apply([task(Write(name, [b"a", b"b"], [b"", b""], None, [1000] * 2))], PLENTY, PLENTY))
    at_once(store.apply([task(Write("", [b"c"], [b""]))], PLENTY, PLENTY))
    at_once(store.set_indexes({}))
    monkeypatch.setattr(store._writer, "submit_background", background)
    monkeypatch.setattr(store._writer, "submit", None)
    while at_once(store.sweep(10)):
        pass
    clock.advance(1)
    while at_once(store.sweep(10)):
        pass
    monkeypatch.undo()
    assert store.documents == 1
    at_once(store.own(()))
    monkeypatch.setattr(store._writer, "submit_background", background)
    monkeypatch.setattr(store._writer, "submit", None)
    while at_once(store.sweep(10)):
        pass
    kinds = [type(update) for update in submitted]
    assert kinds == [DirectUpdate, LoggedUpdate, LoggedUpdate]
    assert all(update.background for update in submitted)
    assert (store.used, store.ranges.left) == (0, ())
    monkeypatch.undo()
    at_once(store.close())
