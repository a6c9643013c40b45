"""A cluster's state for tests of a bootstrap without shards, and what is saved of it."""

from __future__ import annotations

import os
from errno import EIO
from pathlib import Path

import pytest

from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.errors import ConfigError, OutcomeUnknown
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


class Log:
    """A bootstrap, and what it did in which order."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []
        self.full = False
        self.unsure = False
        self.bootstrap = Bootstrap(STATE, self._save)
        self.bootstrap.on_change(lambda: self.done.append(("heard", self.bootstrap.state.epoch)))

    def _save(self, state: ClusterState) -> None:
        if self.full:
            raise ConfigError("the disk is full")
        if self.unsure:
            raise OutcomeUnknown("the disk may have it")
        assert self.bootstrap.state.epoch < state.epoch, "it is saved before it holds"
        self.done.append(("saved", state.epoch))
