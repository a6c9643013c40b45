"""What tests of moves in a cluster in memory share: two shards, what moves between them, and how to wait."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest
from deferreds import change_state
from twisted.internet.defer import Deferred

from pyshard.model.cluster_state import ClusterState
from pyshard.model.key_slots import SLOTS, slot_of
from pyshard.model.range_moves import Phase, RangeMove
from pyshard.model.range_plan import Transfer
from pyshard.model.slot_ranges import SlotRanges, in_ranges
from pyshard.settings import settings
from pyshard.shard import served_followers
from pyshard.storage import DataDirectory, Durability, IStore, LmdbStore
from pyshard.testing import MemoryCluster

QUARTER: SlotRanges = ((SLOTS // 4, SLOTS // 2),)
DOCS = {f"key {number}": number for number in range(500)}
MOVING = [key for key in DOCS if in_ranges(slot_of(key.encode()), QUARTER)]
STAYING = [key for key in DOCS if slot_of(key.encode()) < SLOTS // 4]


class DurableStores:
    """Opens durable stores of shards, and has them killed.

    :param path: an empty folder.
    :param durability: in a weaker mode than this, one that was killed has another incarnation.
    """

    def __init__(self, path: Path, durability: Durability = Durability.FSYNC) -> None:
        self._path = path
        self._durability = durability
        self._kills: dict[str, int] = {}

    def open(self, name: str, seconds: Callable[[], float]) -> IStore:
        """Open the store of a shard; it has what it had."""
        return LmdbStore(DataDirectory(self._directory(name)), seconds, None, self._durability)

    def kill(self, cluster: MemoryCluster, name: str) -> None:
        """End a shard with its files as they are at this moment, as SIGKILL does."""
        before = self._directory(name)
        self._kills[name] = self._kills.get(name, 0) + 1
        shutil.copytree(before, self._directory(name))
        cluster.kill_shard(name)

    def lose(self, cluster: MemoryCluster, name: str) -> None:
        """End a shard, and have its disk be empty."""
        self._kills[name] = self._kills.get(name, 0) + 1
        cluster.kill_shard(name)

    def _directory(self, name: str) -> Path:
        return self._path / f"{name}-{self._kills.get(name, 0)}"


@contextmanager
def filled(store: Callable[[str, Callable[[], float]], IStore] | None = None) -> Iterator[MemoryCluster]:
    """Two shards with `DOCS`, of which the first one has the first half of the keyspace."""
    with MemoryCluster(store=store) as cluster:
        cluster.run(cluster.connect().write_many(DOCS))
        yield cluster


def state_of(cluster: MemoryCluster) -> ClusterState:
    """The cluster's state."""
    assert cluster.bootstrap is not None
    return cluster.bootstrap.bootstrap.state


def plan(cluster: MemoryCluster, source: str = "shard0", target: str = "shard1") -> RangeMove:
    """Have `QUARTER` moved."""
    assert cluster.bootstrap is not None
    bootstrap = cluster.bootstrap.bootstrap
    change_state(bootstrap, bootstrap.state.with_moves([Transfer(source, target, QUARTER)]))
    return bootstrap.state.moves[-1]


def cancel(cluster: MemoryCluster) -> Deferred[None]:
    """Have the first move cancelled, as an operator does; a Deferred that fires when that is decided."""
    assert cluster.bootstrap is not None
    return cluster.bootstrap.driver.change_move(state_of(cluster).moves[0].number, "cancel")


def until(cluster: MemoryCluster, *phases: Phase) -> None:
    """Let time pass until the first move has one of these phases; none given: until no move is left."""
    for _ in range(2000):
        cluster.advance(0.01)
        moves = state_of(cluster).moves
        if (not moves and not phases) or (moves and moves[0].phase in phases):
            return
    raise AssertionError(state_of(cluster).moves)


def until_quiet(cluster: MemoryCluster) -> None:
    """Let time pass until the state that is kept has no moves."""
    for _ in range(2000):
        if not cluster.state.moves:
            return
        cluster.advance(0.02)
    raise AssertionError(cluster.state.moves)


def owner(cluster: MemoryCluster) -> str:
    """Whose `QUARTER` is, as the map says."""
    (found,) = [shard.name for shard in state_of(cluster).map.shards if in_ranges(QUARTER[0][0], shard.ranges)]
    return found


def check_clean(cluster: MemoryCluster) -> None:
    """Each store owns what the map says, and no move has left anything."""
    for shard in state_of(cluster).map.shards:
        service = cluster.services[shard.name]
        ranges = service.shard.store.ranges
        assert (ranges.owned, ranges.staged, ranges.sealed, ranges.left) == (shard.ranges, {}, {}, ())
        assert not service.followers.names


def slow_down(cluster: MemoryCluster, patched: pytest.MonkeyPatch, page: int = 2000) -> None:
    """Let copies have many pages, and everything take some milliseconds, so that a move takes some seconds.

    :param page: bytes of a page.
    """
    patched.setattr(served_followers, "settings", attrs.evolve(settings, SNAPSHOT_BYTES=page))
    for shard in state_of(cluster).map.shards:
        cluster.network.delay(shard.host, shard.port, 0.005)
