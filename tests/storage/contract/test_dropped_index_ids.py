"""The ids of dropped indexes: no store takes them again."""

from __future__ import annotations

from storage.contract.ranges import (
    failed,
)
from stores import Bench

from pyshard.errors import BadRequest


def test_an_index_id_that_comes_back(bench: Bench) -> None:
    """It was dropped, so records of it may still be in logs and copies: it is refused, and nothing changes."""
    store = bench.store
    bench.fill({b"a": b"text"}, "pages")
    bench.result(store.set_indexes({"links": 2}))
    for name, number in (("pages", 1), ("other", 1)):
        failed(bench, store.set_indexes({"links": 2, name: number}), BadRequest, f"'{name}': found the id 1")
    bench.result(store.set_indexes({"links": 2}, 7))
    failed(bench, store.set_indexes({"links": 2, "new": 6}), BadRequest, "expected 7 or a higher one")
    bench.result(store.set_indexes({"links": 2, "new": 7}))
    assert store.count(2) == store.count(7) == 0
    bench.sweep()
    assert store.used == 0


def test_dropped_ids_outlive_a_restart(durable: Bench) -> None:
    """A store knows after a restart which ids were given."""
    durable.result(durable.store.set_indexes({"links": 2}, 7))
    durable.restart()
    failed(durable, durable.store.set_indexes({"links": 2, "new": 6}), BadRequest, "expected 7")
