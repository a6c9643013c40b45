"""Snapshots of each kind of store: all that was there at one moment, whatever is done meanwhile."""

from __future__ import annotations

import gc
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from deferreds import result
from storage.snapshots.bench import INDEXES, PLENTY, Bench, all_of, count_of, in_order, next_page
from twisted.internet.task import Clock

from pyshard.errors import SnapshotEnded
from pyshard.protocol.batch_operations import Touch
from pyshard.protocol.pages import Row, encode_rows
from pyshard.settings import settings
from pyshard.storage import DataDirectory, Durability, ISnapshot, IStore, LmdbStore, MemoryStore


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


def test_empty_store(bench: Bench) -> None:
    """The snapshot of an empty store has no rows, however often it is asked."""
    snapshot = bench.store.snapshot()
    assert (count_of(snapshot), snapshot.page(PLENTY), snapshot.page(PLENTY)) == (0, [], [])
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
    assert count_of(snapshot) == 8
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
    assert count_of(snapshot) == 2
    assert all_of(snapshot) == expected
    snapshot.close()


@pytest.mark.parametrize("flushed", [False, True])
def test_each_call_looks_at_few(bench: Bench, flushed: bool) -> None:
    """Over a hundred records that have expired, a call that looks at ten gives nothing yet, and says so."""
    for number in range(100):
        bench.write(b"%d" % number, b"1", ttl=1000)
    bench.write(b"stays", b"1")
    bench.clock.advance(2)
    if flushed and isinstance(bench.store, LmdbStore):
        bench.store._engine.flush_all()
    snapshot = bench.store.snapshot()
    counts = [snapshot.count(10) for _ in range(11)]
    assert counts == [*[None] * 10, 1]
    assert snapshot.count(1) == 1
    pages = [snapshot.page(PLENTY, 10) for _ in range(11)]
    on_disk = isinstance(bench.store, LmdbStore)  # in memory they were removed when they were counted
    assert pages.count(None) in ((9, 10) if on_disk else (0,))
    assert [page for page in pages if page] == [bench.live()]
    assert snapshot.page(PLENTY, 10) == []
    snapshot.close()


def test_a_page_of_many_small_records_is_short(bench: Bench) -> None:
    """A page ends after so many records as may be looked at, however small they are."""
    for number in range(25):
        bench.write(b"%d" % number, b"1")
    snapshot = bench.store.snapshot()
    assert [len(next_page(snapshot, PLENTY, 10)) for _ in range(4)] == [10, 10, 5, 0]
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
    """A record of the largest size has a page to itself, since more rows could make the page too large for a box."""
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
            assert count_of(snapshots[-1][0], 7) == len(snapshots[-1][1])
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
            found += next_page(snapshot, chance.choice([1, 100, 300]), chance.choice([1, 5, 50]))
    assert len(snapshots) == 4
    for snapshot, expected, found in snapshots:
        found += all_of(snapshot)
        assert in_order(found) == expected
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
    assert (count_of(before), all_of(before)) == (40, expected)
    links = [row for row in expected if row.index == 2]
    for snapshot in (between, late, after):
        assert (count_of(snapshot), all_of(snapshot)) == (20, links)
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
            assert len(next_page(snapshot)) == 1
            assert number % 2 or snapshot.page(PLENTY) == []
            snapshot.close()
    finally:
        gc.enable()
