"""Of a value that LMDB has, no more is read than is wanted."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from mmap import ACCESS_READ, mmap
from pathlib import Path
from resource import RUSAGE_SELF, getrusage

import lmdb
import pytest
import stores
from stores import PLENTY, Bench, folder, prepared, task

from pyshard.compiled import IN_USE, cursor_leaves
from pyshard.model.key_slots import SLOTS
from pyshard.protocol.batch_operations import PRESENT, Has, Pop, Read, ReadItem, Remove, Run, Touch, Write
from pyshard.storage import LmdbStore, PageBounds
from pyshard.storage.durable.cursor_values import PlainCursorValues, values_of

DOCUMENTS, SIZE = 4, 4 * 1024 * 1024
PAGES = DOCUMENTS * SIZE // 4096
KEYS = [b"%d" % number for number in range(DOCUMENTS)]
UNMET = 7  # no record has this version
VALUES = {b"a": b"short", b"b": bytes(100) * 100, b"c": bytes(range(256)) * 1024, b"d": b"last"}

needs_twins = pytest.mark.skipif(not IN_USE, reason="not compiled")


@pytest.fixture
def on_a_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Data are on a disk that has to be waited for, not on one in memory."""
    monkeypatch.setattr(stores, "_SHARED_MEMORY", tmp_path)
    file = tmp_path / "some.mdb"
    file.write_bytes(bytes(SIZE))
    with file.open("rb") as opened, mmap(opened.fileno(), 0, access=ACCESS_READ) as mapped:
        forget(file)
        if not waits(lambda: mapped[0]):
            pytest.skip("what was read from this disk isn't forgotten")


def forget(file: Path) -> None:
    """Have the system keep nothing of a file in memory."""
    with file.open("r+b") as opened:
        os.fsync(opened.fileno())
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def waits(step: Callable[[], object]) -> int:
    """How often a step waits for the disk: once for each page, or for each piece that is asked for together."""
    before = getrusage(RUSAGE_SELF).ru_majflt
    step()
    return getrusage(RUSAGE_SELF).ru_majflt - before


@pytest.fixture
def environment() -> Iterator[lmdb.Environment]:
    """One that has some values."""
    with folder() as path, lmdb.open(str(path), max_dbs=1, map_size=1 << 24, sync=False) as opened:
        database = opened.open_db(b"records")
        with opened.begin(write=True) as transaction:
            for key, value in VALUES.items():
                transaction.put(key, value, db=database)
        yield opened


@needs_twins
@pytest.mark.parametrize("write", [False, True])
def test_values(environment: lmdb.Environment, write: bool) -> None:
    """They are the binding's, got by key or come by, in any transaction, and behind a change."""
    values = values_of(environment)
    assert values is not PlainCursorValues
    database = environment.open_db(b"records")
    with environment.begin(write=write, buffers=True) as transaction:
        if write:
            transaction.put(b"c", b"changed", db=database)
        plain, compiled = (kind(transaction.cursor(db=database)) for kind in (PlainCursorValues, values))
        for key in (b"d", b"a", b"c", b"b", b"nothing", b"c"):
            assert plain.get(key) == compiled.get(key), key
        assert bytes(compiled.get(b"c") or b"") == (b"changed" if write else VALUES[b"c"])
        cursor = transaction.cursor(db=database)
        here = values(cursor)
        for key in VALUES:
            assert cursor.set_range(key)
            assert here.here() == cursor.value()
        assert [bytes(here.here()[:5]) for _ in cursor.iternext(values=False)] == [bytes(VALUES[b"d"][:4])]


@needs_twins
def test_a_binding_that_has_its_values_elsewhere(environment: lmdb.Environment) -> None:
    """It is seen that they aren't where they were looked for."""
    with environment.begin(buffers=True) as transaction, transaction.cursor() as cursor:
        assert cursor.first()
        assert cursor_leaves.value_field(cursor, cursor.key(), cursor.value()) >= 0
        assert cursor_leaves.value_field(cursor, cursor.key(), memoryview(bytes(cursor.value()))) == -1
        assert cursor_leaves.value_field(cursor, memoryview(bytes(cursor.key())), cursor.value()) == -1
        with pytest.raises(ValueError, match="no field at 100000"):
            cursor_leaves.CursorValues(cursor, 100_000)


def test_an_environment_without_databases() -> None:
    """The binding's own values are good for any."""
    with folder() as path, lmdb.open(str(path)) as opened:
        assert values_of(opened) is PlainCursorValues


def filled(bench: Bench, ttl: int = 0) -> LmdbStore:
    """Have documents in LMDB alone."""
    for key in KEYS:
        bench.fill({key: bytes(SIZE)}, "", ttl)
    bench.restart()
    assert isinstance(bench.store, LmdbStore)
    return bench.store


def waits_when_cold(bench: Bench, step: Callable[[], object]) -> int:
    """How often a step waits for the disk if of LMDB's file no more is in memory than was mapped since the start."""
    assert isinstance(bench.store, LmdbStore)
    forget(bench.store._directory.records / "data.mdb")
    return waits(step)


def apply(bench: Bench, run: Run) -> Callable[[], object]:
    """A step that applies a batch."""
    filled(bench)
    return lambda: bench.result(bench.store.apply([task(run)], PLENTY, PLENTY))


def flush(bench: Bench, run: Run) -> Callable[[], object]:
    """A step that flushes what a batch has changed."""
    store = filled(bench)
    bench.result(store.apply([task(run)], PLENTY, PLENTY))
    return store._engine.flush_all


def page(bench: Bench) -> Callable[[], object]:
    """A step that lists the keys."""
    store = filled(bench)
    return lambda: bench.result(store.page(0, 0, None, SLOTS, PageBounds(1000, PLENTY, PLENTY)))


def sweep(bench: Bench) -> Callable[[], object]:
    """A step that removes all, which have expired."""
    store = filled(bench, ttl=1000)
    bench.clock.advance(2)
    return lambda: bench.result(store.sweep(PLENTY))


def count(bench: Bench) -> Callable[[], object]:
    """A step that counts all before they are given up."""
    store = filled(bench)
    return lambda: bench.result(store.count_ahead((), PLENTY))


def pass_by(bench: Bench) -> Callable[[], object]:
    """A page of a snapshot, which all have expired for."""
    store = filled(bench, ttl=1000)
    bench.clock.advance(2)
    opened = store.snapshot()
    return lambda: opened.page(PLENTY, PLENTY)


@needs_twins
@pytest.mark.usefixtures("on_a_disk")
@pytest.mark.parametrize(
    "prepare",
    [
        lambda bench: apply(bench, Has("", KEYS)),
        lambda bench: apply(bench, Write("", KEYS, [b"new"] * DOCUMENTS)),
        lambda bench: apply(bench, Write("", KEYS, [b"new"] * DOCUMENTS, [PRESENT] * DOCUMENTS)),
        lambda bench: apply(bench, Remove("", KEYS)),
        lambda bench: apply(bench, Pop("", KEYS, [UNMET] * DOCUMENTS)),
        lambda bench: apply(bench, Touch("", KEYS, [1] * DOCUMENTS, [UNMET] * DOCUMENTS)),
        lambda bench: flush(bench, Write("", KEYS, [b"new"] * DOCUMENTS)),
        lambda bench: flush(bench, Remove("", KEYS)),
        page,
        sweep,
        count,
        pass_by,
    ],
)
def test_a_value_that_nobody_wants_is_not_read(prepare: Callable[[Bench], Callable[[], object]]) -> None:
    """Its first page is, and LMDB's own pages."""
    with prepared("lmdb") as bench:
        assert waits_when_cold(bench, prepare(bench)) < PAGES // 20


@needs_twins
@pytest.mark.usefixtures("on_a_disk")
@pytest.mark.parametrize("run", [Read("", KEYS), ReadItem("", KEYS), Pop("", KEYS), Touch("", KEYS, [1] * DOCUMENTS)])
def test_a_value_that_is_wanted_is_read_in_large_pieces(run: Run) -> None:
    """Not page by page."""
    with prepared("lmdb") as bench:
        assert waits_when_cold(bench, apply(bench, run)) < PAGES // 4
