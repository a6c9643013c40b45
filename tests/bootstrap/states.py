"""A cluster's state for tests of a bootstrap without shards, and what is saved of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EIO
from math import inf
from pathlib import Path

import pytest
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.state_stores.memory_state_store import MemoryStateStore
from pyshard.bootstrap.state_stores.state_store import Revision, SwapOutcome
from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS
from pyshard.model.shard_map import MapShard, ShardMap
from pyshard.security import private_files

HALF = SLOTS // 2
LOW = MapShard("low", ((0, HALF),), 1000, "10.0.0.1", 5050, identity="1d")
HIGH = MapShard("high", ((HALF, SLOTS),), 1000, "10.0.0.2", 5051, identity="2e")
STATE = ClusterState("c1", 7, ShardMap([LOW, HIGH]), {"pages": 1}, 2)


def fail_to_sync(patched: pytest.MonkeyPatch) -> None:
    """Have no directory synced, so that files which have another one's place may lose it again."""

    def fail(_: Path) -> None:
        raise OSError(EIO, os.strerror(EIO))

    patched.setattr(private_files, "sync_directory", fail)


class LoggedStateStore(MemoryStateStore):
    """Tells what is put there.

    :param log: is called with each state, before anybody hears of it.
    """

    def __init__(self, state: ClusterState, log: Callable[[ClusterState], None]) -> None:
        super().__init__(state)
        self._log = log

    def swap(self, state: ClusterState, expected: Revision, write: str, end: float = inf) -> Deferred[SwapOutcome]:
        before = len(self.swaps)
        outcome = super().swap(state, expected, write, end)
        for each in self.swaps[before:]:
            self._log(each)
        return outcome


class Log:
    """A bootstrap, and what it did in which order."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []
        self.clock = Clock()
        self.store = LoggedStateStore(STATE, self._saved)
        self.bootstrap = Bootstrap(self.store, self.clock, "b1", self.store.stored)
        self.bootstrap.on_change(lambda: self.done.append(("heard", self.bootstrap.state.epoch)))

    def _saved(self, state: ClusterState) -> None:
        assert self.bootstrap.state.epoch < state.epoch, "it is saved before it holds"
        self.done.append(("saved", state.epoch))
