"""What a disk does to a durable store that is full or fails."""

from __future__ import annotations

import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import EIO
from pathlib import Path
from typing import Any

import pytest
from conftest import TakeErrors
from disks import System, put_under_logs
from storage.durable.store.broken import Broken, until_refused
from storage.durable.store.opened import lmdb_of
from stores import PLENTY, Bench, at_once, check_consistent, task
from twisted.internet.defer import Deferred

from pyshard.errors import StorageFailed
from pyshard.protocol.batch_operations import Has, Increment, Pop, Read, ReadItem, Run, Touch, Write
from pyshard.storage import Durability, PageBounds

CHANGES: list[Run] = [
    Write("", [b"a", b"new"], [b"two", b""], None, [1000, 0]),
    Pop("", [b"a"]),
    Touch("", [b"a"], [1000]),
    Increment("", [b"n"], [b"\x01\0\0\0\x1c\x01"], [b"\x01\0\0\0\x1c\x01"]),
]


@pytest.mark.parametrize("run", CHANGES, ids=lambda run: type(run).__name__)
def test_a_change_that_fails(bench: Bench, run: Run, logged_errors: TakeErrors) -> None:
    """A change that fails says why and leaves nothing; reads go on, and changes do when the disk takes them again."""
    store = lmdb_of(bench)
    bench.fill({b"a": b"one"})

    def all_of_it() -> list[object]:
        return [
            bench.applied(ReadItem("", [b"a", b"new", b"n"])),
            store.documents,
            store.used,
            list(store._engine.counters.bucket_counts),
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
    """While a flush can't be written, changes fail once the memtable is full; the log keeps those before."""
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
    """A lap that can't begin is logged; the next change begins it first, and nothing is lost."""
    store = lmdb_of(bench)

    def failing(*_: object) -> None:
        raise OSError(EIO, "Input/output error")

    bench.fill({b"a": b"one"})
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", failing)
        store._engine.flush_all()
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
    """No start finds what is left in the log of a refused change, even if the log itself can't be changed."""
    bench.fill({b"a": b"one"})
    system = System()
    put_under_logs(monkeypatch, system)
    system.room, system.failing = 1 << 20, {"truncate"}
    lmdb_of(bench)._engine.durability = Durability.FSYNC
    system.failing_once = {"fdatasync"}
    with pytest.raises(StorageFailed):
        bench.fill({b"refused": b""})
    system.room = 0
    with pytest.raises(StorageFailed):
        at_once(bench.store.remember(b"refused, too"))
    with pytest.raises(StorageFailed):
        bench.fill({b"refused": b""})
    system.room, system.failing = None, set()
    bench.crash()
    assert (bench.scan(), bench.store.recall()) == ([b"a"], None)
    bench.fill({b"b": b"two"})
    bench.crash()
    assert sorted(bench.scan()) == [b"a", b"b"]
    assert len(logged_errors(AssertionError)) == 2  # one of each kind


def test_what_is_no_batch_fails_too(bench: Bench, logged_errors: TakeErrors) -> None:
    """When the disk takes nothing, indexes and the remembered text stay as they were, and sweeping fails."""
    bench.fill({b"a": b"one"}, "pages", ttl=1000)
    at_once(bench.store.remember(b"old"))
    bench.clock.advance(1)
    broken = Broken(lmdb_of(bench))
    broken.appends = False
    asks: list[Callable[[], Deferred[Any]]] = [
        lambda: bench.store.remember(b"new"),
        lambda: bench.store.set_indexes({"links": 2}),
        lambda: bench.store.sweep(10),
    ]
    for ask in asks:
        with pytest.raises(StorageFailed):
            at_once(ask())
    assert len(logged_errors(AssertionError)) == 1
    assert bench.store.recall() == b"old"
    assert bench.store.documents == 1
    assert bench.answers(Has("pages", [b"a"])) == [[False]]
    broken.appends = True
    bench.sweep()
    assert bench.store.documents == 0


def test_a_disk_that_is_really_full(bench: Bench, logged_errors: TakeErrors) -> None:
    """While LMDB's file can't grow, changes fail; what was stored before stays readable."""
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
    """Limit the files of this process to the size of this one and some more bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (file.stat().st_size + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_data_that_cannot_be_read(bench: Bench) -> None:
    """A read that fails is an error for its caller only; later reads work."""
    bench.fill({b"a": b"one"})
    broken = Broken(lmdb_of(bench))
    broken.reads = False
    asks: list[Callable[[], Deferred[Any]]] = [
        lambda: bench.store.apply([task(Read("", [b"a"]))], PLENTY, PLENTY),
        lambda: bench.store.page(0, 0, None, 10, PageBounds(10, 10)),
    ]
    for ask in asks:
        with pytest.raises(StorageFailed, match="the shard's disk could not be read: MDB_PANIC"):
            at_once(ask())
    broken.reads = True
    assert bench.one(Read("", [b"a"])) == b"one"
