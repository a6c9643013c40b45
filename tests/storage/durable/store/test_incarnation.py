"""A store gets another incarnation when it may have lost changes that it had acknowledged, and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from stores import START, at_once
from twisted.internet.task import Clock

from pyshard.storage import DataDirectory, Durability, LmdbStore, MemoryStore
from pyshard.storage.durable.saved_meta import Incarnation

CLOCK = Clock()
CLOCK.advance(START)
WEAKER = [Durability.ASYNC, Durability.NONE]


class Opened:
    """A store, one start after another."""

    def __init__(self, path: Path, durability: Durability) -> None:
        self._path = path
        self.store = LmdbStore(DataDirectory(path / "0"), CLOCK.seconds, None, durability)
        self._starts = 0

    def restart(self, durability: Durability, killed: bool) -> str:
        """Start again after it was closed, or killed. The incarnation then."""
        before = self._path / str(self._starts)
        self._starts += 1
        after = self._path / str(self._starts)
        if killed:
            shutil.copytree(before, after)
        at_once(self.store.close())
        if not killed:
            before.rename(after)
        self.store = LmdbStore(DataDirectory(after), CLOCK.seconds, None, durability)
        return self.store.incarnation


@pytest.mark.parametrize("durability", Durability)
def test_a_store_that_is_closed(tmp_path: Path, durability: Durability) -> None:
    """It keeps its incarnation in every mode, and into any other."""
    opened = Opened(tmp_path, durability)
    first = opened.store.incarnation
    assert len(first) == 32
    assert [opened.restart(after, killed=False) for after in Durability] == [first] * 3
    at_once(opened.store.close())


def test_a_store_that_is_killed(tmp_path: Path) -> None:
    """With each change on the disk it keeps its incarnation; in the weaker modes it may have lost some."""
    opened = Opened(tmp_path, Durability.FSYNC)
    first = opened.store.incarnation
    assert opened.restart(Durability.FSYNC, killed=True) == first
    seen = [first]
    for durability in WEAKER:
        assert opened.restart(durability, killed=False) == seen[-1]
        seen.append(opened.restart(durability, killed=True))
    seen.append(opened.restart(Durability.FSYNC, killed=True))
    assert len(set(seen)) == 4
    assert opened.restart(Durability.FSYNC, killed=True) == seen[-1]
    at_once(opened.store.close())


def test_a_check_before_a_start(tmp_path: Path) -> None:
    """The check that a daemon makes before it starts counts as the start."""
    opened = Opened(tmp_path, Durability.NONE)
    first = opened.store.incarnation
    shutil.copytree(tmp_path / "0", tmp_path / "copy")
    at_once(opened.store.close())
    directory = DataDirectory(tmp_path / "copy")
    LmdbStore.check(directory, CLOCK.seconds)
    store = LmdbStore(directory, CLOCK.seconds, None, Durability.NONE)
    assert store.incarnation != first
    at_once(store.close())


def test_a_store_in_memory() -> None:
    """It has lost everything at each start, so its incarnation is its identity."""
    assert MemoryStore("1d", CLOCK.seconds).incarnation == "1d"


def test_the_next_incarnation() -> None:
    """By value: of a new store, of one that was closed, and of one that wasn't."""
    ids = iter(["a", "b", "c"])
    first = Incarnation.next(None, Durability.NONE, lambda: next(ids))
    assert first == Incarnation("a", True)
    assert Incarnation.next(first, Durability.FSYNC, lambda: next(ids)) == Incarnation("b", False)
    assert Incarnation.next(Incarnation("x", False), Durability.ASYNC, lambda: next(ids)) == Incarnation("x", True)
    assert Incarnation.unpacked(first.packed()) == first
    assert first.packed() == b"\x92\xa1a\xc3"
