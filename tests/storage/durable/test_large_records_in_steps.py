"""What a durable shard does for itself goes by bytes as well as records: in plain Python all of a value is read."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from stores import NAMED, PLENTY, Bench, prepared

from pyshard.model.key_slots import SLOTS
from pyshard.storage import LmdbStore
from pyshard.storage.durable.lmdb_encoding import LOOK_BYTES, looks

DOCUMENTS, SIZE = 60, 100_000
MOST = 100  # looks in a step


def filled(bench: Bench, index: str = "", ttl: int = 0, size: int = SIZE) -> None:
    """Have documents in LMDB alone."""
    for number in range(DOCUMENTS):
        bench.fill({b"%d" % number: bytes(size)}, index, ttl)
    assert isinstance(bench.store, LmdbStore)
    bench.store._engine.flush_all()


def expire(bench: Bench, size: int) -> Callable[[], bool]:
    """They have expired, and are swept."""
    filled(bench, ttl=1000, size=size)
    bench.clock.advance(2)
    return lambda: bench.result(bench.store.sweep(MOST))


def trim(bench: Bench, size: int) -> Callable[[], bool]:
    """They are left over."""
    filled(bench, size=size)
    bench.result(bench.store.count_ahead((), PLENTY))
    bench.result(bench.store.own(()))
    return lambda: bench.result(bench.store.sweep(MOST))


def count(bench: Bench, size: int) -> Callable[[], bool]:
    """They are about to be given up."""
    filled(bench, size=size)
    return lambda: bench.result(bench.store.count_ahead((), MOST))


def count_others(bench: Bench, size: int) -> Callable[[], bool]:
    """They lie between what is about to be given up."""
    filled(bench, size=size)
    wanted = tuple((number * SLOTS // 5000, number * SLOTS // 5000 + 1) for number in range(5000))
    rest = tuple((end, start) for (_, end), (start, _) in zip(wanted, (*wanted[1:], (SLOTS, 0)), strict=True))
    return lambda: bench.result(bench.store.count_ahead(rest, MOST))


def drop(bench: Bench, size: int) -> Callable[[], bool]:
    """They are of an index that was dropped."""
    filled(bench, "pages", size=size)
    bench.result(bench.store.set_indexes({name: number for name, number in NAMED.items() if name != "pages"}, 50))
    return lambda: bench.result(bench.store.sweep(MOST))


def snapshot(bench: Bench, size: int) -> Callable[[], bool]:
    """They have expired, so a snapshot passes them by."""
    filled(bench, ttl=1000, size=size)
    bench.clock.advance(2)
    opened = bench.store.snapshot()
    return lambda: opened.page(PLENTY, 4 * MOST) != []


@pytest.mark.parametrize("prepare", [expire, trim, count, count_others, drop, snapshot])
def test_a_step_looks_at_few_large_records(prepare: Callable[[Bench, int], Callable[[], bool]]) -> None:
    """Of large ones at no more bytes than this; of small ones at as many as ever."""
    steps = dict[int, int]()
    for size in (SIZE, 10):
        with prepared("lmdb") as bench:
            step, steps[size] = prepare(bench, size), 1
            while step():
                steps[size] += 1
    least = DOCUMENTS // (1 + MOST * LOOK_BYTES // SIZE)
    assert steps[SIZE] >= least
    assert steps[10] <= 3


def test_looks() -> None:
    """A record is one, and one more for each so many bytes."""
    assert [looks(None), looks(b""), looks(bytes(LOOK_BYTES - 1)), looks(bytes(LOOK_BYTES))] == [1, 1, 1, 2]
