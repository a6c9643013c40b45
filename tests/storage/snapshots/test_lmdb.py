"""Snapshots of a durable store: direct updates, the memtable, a map that grows, closing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest
from deferreds import result
from storage.snapshots.bench import PLENTY, Bench, all_of, count_of, next_page
from twisted.internet.task import Clock

from pyshard.errors import SnapshotEnded
from pyshard.model.key_slots import slot_of
from pyshard.protocol.batch_operations import Write
from pyshard.storage import DataDirectory, Durability, LmdbStore, Task


def test_the_memtable_over_lmdb(tmp_path: Path, clock: Clock) -> None:
    """A snapshot has records of the memtable as it has those of LMDB, and nothing that is changed later."""
    store = LmdbStore(DataDirectory(tmp_path / "data"), clock.seconds, None, Durability.NONE)
    bench = Bench(store, clock)
    for key in (b"kept", b"changed", b"gone", b"expired", b"forever"):
        bench.write(key, b"1", ttl=1000 if key in (b"expired", b"forever") else 0)
    store._engine.flush_all()
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
    store._engine.flush_all()
    assert (count_of(snapshot), all_of(snapshot)) == (4, live)
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


def test_map_growth(tmp_path: Path, clock: Clock) -> None:
    """When the map must grow, open snapshots end, say so, and a new one has everything."""
    directory = DataDirectory(tmp_path / "data")
    bench = Bench(LmdbStore(directory, clock.seconds, None, Durability.NONE, 256 * 1024, most_changed=10), clock)
    bench.write(b"a", b"1")
    bench.write(b"b", b"1")
    open_ones = [bench.store.snapshot() for _ in range(3)]
    assert len(next_page(open_ones[0], 1)) == 1
    for number in range(200):
        bench.write(b"%d" % number, b"x" * 10_000)
    for snapshot in open_ones:
        with pytest.raises(SnapshotEnded, match=r"outgrew its map.*start the backup again"):
            snapshot.page(PLENTY)
        snapshot.close()
    again = bench.store.snapshot()
    assert (count_of(again), all_of(again)) == (202, bench.live())
    again.close()
    result(bench.store.close())


def test_map_growth_in_the_writers_thread(tmp_path: Path, clock: Clock) -> None:
    """The writer's thread may end a snapshot while it is read: each page is whole, or the error."""
    answered: Calls = []
    store = LmdbStore(
        DataDirectory(tmp_path / "data"),
        clock.seconds,
        lambda *call: answered.append((call[0], call[1:])),
        first_map=1 << 18,
        most_changed=10,
    )
    keys = [b"%d" % number for number in range(400)]
    unread, snapshot = store.snapshot(), store.snapshot()
    rows = 0
    for begin in range(0, len(keys), 50):
        writing = [
            store.apply([Task(Write("", [key], [b"x" * 10_000]), 0, [slot_of(key)])], PLENTY, PLENTY)
            for key in keys[begin : begin + 50]
        ]
        while answered or not all(one.called for one in writing):
            _answer(answered)
            try:
                page = next_page(snapshot, 100_000)
            except SnapshotEnded:
                snapshot = store.snapshot()
            else:
                assert {len(row.record) for row in page} <= {10_000}
                rows += len(page)
                if not page:
                    snapshot = store.snapshot()
    with pytest.raises(SnapshotEnded, match="outgrew its map"):
        unread.page(PLENTY)
    assert rows > 0
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
