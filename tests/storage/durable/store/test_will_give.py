"""What a durable store says beforehand that a batch will give or copy: so much counts until the batch is answered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from storage.durable.store.opened import opened
from stores import PLENTY, at_once, task

from pyshard.protocol.batch_operations import Pop, Read, Run, Touch, Write
from pyshard.settings import settings
from pyshard.storage import Durability, LmdbStore
from pyshard.storage.durable.copied_sizes import will_copy
from pyshard.storage.durable.merged_view import MergedView

LARGE = 3 * settings.ANSWER_BYTES


def as_written(store: LmdbStore, path: Path) -> LmdbStore:
    """The store, whose records are in its memtable."""
    return store


def opened_again(store: LmdbStore, path: Path) -> LmdbStore:
    """The store after a restart: its records are in LMDB."""
    at_once(store.close())
    return opened(path, durability=Durability.NONE)


def with_a_log(store: LmdbStore, path: Path) -> LmdbStore:
    """The store as one that was killed: its records are in its log."""
    store._engine.close()
    store._directory.close()
    return opened(path, durability=Durability.NONE)


def filled(path: Path, *keys: bytes, size: int = LARGE) -> LmdbStore:
    """A store with records of a size."""
    store = opened(path, durability=Durability.NONE)
    for key in keys:
        at_once(store.apply([task(Write("", [key], [b"x" * size]))], PLENTY, PLENTY))
    return store


@pytest.mark.parametrize("then", [as_written, opened_again, with_a_log])
@pytest.mark.parametrize("key", [b"key", b"k" * 1000], ids=["short key", "long key"])
def test_a_large_record(path: Path, then: Callable[[LmdbStore, Path], LmdbStore], key: bytes) -> None:
    """A large record is known of, wherever it is; of what isn't there nothing is expected."""
    store = then(filled(path, key), path)
    assert LARGE <= store.will_give([task(Pop("", [b"none"])), task(Pop("", [b"none", key]))]) < 1.01 * LARGE
    assert store.will_give([task(Pop("", [b"none"]))]) == 0
    at_once(store.close())


def test_no_more_than_an_answer_has(path: Path) -> None:
    """Of many large records those count that come into one answer: one here, since it crosses the limit."""
    keys = [b"%d" % number for number in range(5)]
    store = filled(path, *keys)
    batch: list[Run] = [Pop("", keys), Pop("", keys)]
    expected = store.will_give(list(map(task, batch)))
    answers = at_once(store.apply(list(map(task, batch)), PLENTY, settings.ANSWER_BYTES))
    given = [result for answer in answers for result in answer.results if isinstance(result, bytes)]
    assert len(given) == 1
    assert len(given[0]) <= expected < 1.01 * len(given[0])
    at_once(store.close())


def test_small_records_cost_no_look(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While no record can be large, none is looked for: an answer has few bytes anyway."""
    store = filled(path, *[b"%d" % number for number in range(100)], size=100)
    monkeypatch.delattr(MergedView, "get_many")
    assert store.will_give([task(Pop("", [b"1"]))]) == 0
    at_once(store.close())


def test_what_touches_copy(path: Path) -> None:
    """A touch of a few bytes counts as the documents that it copies; so small changes don't wait for it."""
    store = opened(path, durability=Durability.NONE)
    large = [b"large%d" % number for number in range(4)]
    small = [b"small%d" % number for number in range(1000)]
    writes = Write("", large, [b"x" * 5_000_000] * 4), Write("", small, [b"x"] * 1000)
    at_once(store.apply(list(map(task, writes)), PLENTY, PLENTY))
    copied = will_copy(store._engine, [task(Touch("", large, [9] * 4))])
    assert settings.BATCH_WORK <= copied <= 21_000_000
    mixed = [task(Write("", small, [b"x"] * 1000)), task(Touch("", large[:1], [9]))]
    assert 5_000_000 <= will_copy(store._engine, mixed) < 5_001_000
    assert will_copy(store._engine, [task(Touch("", small, [9] * 1000))]) < 100_000
    assert will_copy(store._engine, [task(Read("", large))]) == 0
    at_once(store.close())
