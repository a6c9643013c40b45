"""A change of the state that seemed to have failed is there after a restart: nobody acts before that is known.

The file's directory can't be synced after the new file took the old one's place, when a move is committed or cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bootstrap.states import fail_to_sync
from deferreds import watch
from moving import DOCS, MOVING, QUARTER, cancel, check_clean, owner, plan, state_of, until

from pyshard.bootstrap import state_file
from pyshard.bootstrap.bootstrap import Bootstrap
from pyshard.bootstrap.opened_state import open_state
from pyshard.bootstrap.state_file import StateLock
from pyshard.bootstrap.state_stores.file_state_store import FileStateStore
from pyshard.client import Client
from pyshard.errors import OutcomeUnknown
from pyshard.model.cluster_state import ClusterState
from pyshard.model.cluster_state_json import to_json
from pyshard.model.range_moves import Phase
from pyshard.testing import MemoryCluster

DECIDED = [Phase.COMMITTED, Phase.CANCELLED]


class UnsyncedLock(StateLock):
    """The lock of a file whose directory can't always be synced.

    :param unsynced: gives the phase of a move with which it can't.
    """

    def __init__(self, path: Path, unsynced: Callable[[], Phase | None]) -> None:
        super().__init__(path)
        self._unsynced = unsynced

    def save(self, state: ClusterState) -> None:
        with pytest.MonkeyPatch.context() as patch:
            if any(move.phase is self._unsynced() for move in state.moves):
                fail_to_sync(patch)
            super().save(state)


class ClusterWithFile(MemoryCluster):
    """A cluster whose bootstrap keeps its state in a file.

    :param path: the file.
    :ivar unsynced: the phase of a move with which the state's directory can't be synced; None: it always can.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unsynced: Phase | None = None
        self._lock: StateLock | None = None
        super().__init__()

    def _new_bootstrap(self) -> Bootstrap:
        """As its daemon does."""
        if self._lock is not None:
            self._lock.close()
        self._lock = UnsyncedLock(self.path, lambda: self.unsynced)
        store = FileStateStore(self._lock)
        return Bootstrap(store, self.clock, "b1", open_state(store, self.map, self.path))

    def restart_bootstrap(self) -> None:
        """Start it again."""
        self.stop_bootstrap()
        self.start_bootstrap()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[ClusterWithFile]:
    """Two shards with some documents."""
    with ClusterWithFile(tmp_path / "state") as made:
        made.run(made.connect().write_many(DOCS))
        yield made


@pytest.fixture
def client(cluster: ClusterWithFile) -> Client:
    """A client that knows both shards."""
    made = cluster.connect()
    cluster.run(made.get_many(list(DOCS)))
    return made


def try_to_decide(cluster: ClusterWithFile, phase: Phase) -> None:
    """A move is sealed, and then its commit, or its cancel, is in the file, and not synced."""
    plan(cluster)
    until(cluster, Phase.SEALING)
    cluster.unsynced = phase
    if phase is Phase.CANCELLED:
        assert watch(cancel(cluster)) == []
    while in_file(cluster) is not phase:
        cluster.advance(0.01)


def in_file(cluster: ClusterWithFile) -> Phase:
    """The phase that the file has."""
    found = state_file.load(cluster.path)
    assert found is not None
    return found.moves[0].phase


def check_undecided(cluster: ClusterWithFile) -> None:
    """No shard and no client has heard of a decision: the source is sealed, and the target has a copy."""
    for service in cluster.services.values():
        assert service.shard.configured().state.moves[0].phase is Phase.SEALING
    source, target = (cluster.services[name].shard.store.ranges for name in ("shard0", "shard1"))
    assert [seal.ranges for seal in source.sealed.values()] == [QUARTER]
    assert [staging.ranges for staging in target.staged.values()] == [QUARTER]
    assert (state_of(cluster).moves[0].phase, owner(cluster)) == (Phase.SEALING, "shard0")


def check_whole(cluster: ClusterWithFile, client: Client) -> None:
    """Nothing is lost, and all can be changed."""
    assert cluster.run(client.get_many(list(DOCS))) == list(DOCS.values())
    assert cluster.run(client.count()) == len(DOCS)
    cluster.run(client.write_many(dict.fromkeys(DOCS, "new")))
    check_clean(cluster)
    saved = state_file.load(cluster.path)
    assert saved == state_of(cluster)


@pytest.mark.parametrize("phase", DECIDED)
def test_a_restart_settles_it(cluster: ClusterWithFile, client: Client, phase: Phase) -> None:
    """What is in the file is synced, and holds from then on. What waited meanwhile is done where it belongs."""
    try_to_decide(cluster, phase)
    check_undecided(cluster)
    waiting = client.write(MOVING[0], DOCS[MOVING[0]])
    cluster.unsynced = None
    cluster.restart_bootstrap()
    until(cluster)
    assert cluster.run(waiting) > 0
    assert owner(cluster) == ("shard1" if phase is Phase.COMMITTED else "shard0")
    check_whole(cluster, client)


@pytest.mark.parametrize("phase", DECIDED)
def test_the_power_fails(cluster: ClusterWithFile, client: Client, phase: Phase) -> None:
    """The old file is there again, and the move goes on as if nothing had been decided, which nobody has heard of."""
    try_to_decide(cluster, phase)
    check_undecided(cluster)
    cluster.path.write_bytes(to_json(state_of(cluster)))
    cluster.unsynced = None
    cluster.restart_bootstrap()
    until(cluster)
    assert owner(cluster) == "shard1"
    check_whole(cluster, client)


@pytest.mark.parametrize("phase", DECIDED)
def test_a_restart_while_the_disk_still_fails(
    cluster: ClusterWithFile, monkeypatch: pytest.MonkeyPatch, phase: Phase
) -> None:
    """There is no bootstrap then that would act on what it found."""
    try_to_decide(cluster, phase)
    with monkeypatch.context() as patch:
        fail_to_sync(patch)
        with pytest.raises(OutcomeUnknown):
            cluster.restart_bootstrap()
    for service in cluster.services.values():
        assert service.shard.configured().state.moves[0].phase is Phase.SEALING


@pytest.mark.parametrize("phase", DECIDED)
def test_the_rival_is_saved(cluster: ClusterWithFile, client: Client, phase: Phase) -> None:
    """A cancel that is saved after a commit that seemed to have failed holds, also after a restart; and vice versa."""
    try_to_decide(cluster, phase)
    if phase is Phase.COMMITTED:
        cluster.run(cancel(cluster))
    until(cluster)
    cluster.unsynced = None
    cluster.restart_bootstrap()
    cluster.advance(1)
    assert owner(cluster) == ("shard0" if phase is Phase.COMMITTED else "shard1")
    check_whole(cluster, client)


def test_a_seal_is_taken_back_after_a_commit_that_seemed_to_fail(cluster: ClusterWithFile, client: Client) -> None:
    """That is saved in the commit's place; what the source takes from then on isn't lost by a restart."""
    try_to_decide(cluster, Phase.COMMITTED)
    cluster.network.silence("127.0.0.1", 5051)  # so the target says nothing more of this attempt
    until(cluster, Phase.COPYING)
    assert cluster.run(client.write(MOVING[0], "later")) > 0
    cluster.network.unsilence("127.0.0.1", 5051)
    cluster.unsynced = None
    cluster.restart_bootstrap()
    until(cluster)
    assert owner(cluster) == "shard1"
    assert cluster.run(client.get(MOVING[0])) == "later"
    check_clean(cluster)
