"""Durable stores: opened with options, or taken from a bench; and the size of their maps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from stores import START, Bench

from pyshard.storage import DataDirectory, IStore, LmdbStore


def opened(path: Path, seconds: Callable[[], float] = lambda: START, **options: Any) -> LmdbStore:
    """The store of a data directory."""
    return LmdbStore(DataDirectory(path), seconds, **options)


def lmdb_of(bench: Bench) -> LmdbStore:
    """The bench's store."""
    assert isinstance(bench.store, LmdbStore)
    return bench.store


def map_size(store: IStore) -> int:
    """Bytes of its map."""
    assert isinstance(store, LmdbStore)
    size: int = store._engine.environment.info()["map_size"]
    return size
