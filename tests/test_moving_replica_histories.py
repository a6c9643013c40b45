"""Recorded histories while ranges move between shards with replicas, and these fail over: nothing is lost or doubled.

As `test_replica_histories`, with real stores of both kinds, while ranges move all the time, as in
`test_moving_histories`. Replicas are killed between the steps of a move, too: before and after each change of what a
store owns, has copied, or remembers; as the primary, and as a member that takes it from the log. Each move ends, and
then all members have the same.

By hand, any number of seeds: PYSHARD_TEST_HISTORIES and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import TypeVar

import pytest
from histories import Tally, total
from moving_replicas import rows_of
from random_moves import RandomMoves
from test_histories import FIRST, STEPS
from test_replica_histories import ReplicaRun
from twisted.internet.defer import Deferred

from pyshard.model.range_moves import Phase
from pyshard.model.slot_ranges import SlotRanges, common, union
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.log_groups import ReplicatedGroup
from pyshard.protocol.store_ranges import StoreRanges
from pyshard.shard.shard_replica import ShardReplica
from pyshard.storage import DataDirectory, IStore, LmdbStore
from pyshard.storage.durable.log_changes import for_log
from pyshard.testing import MemoryCluster

SEEDS = int(os.environ.get("PYSHARD_TEST_HISTORIES", "2"))

_T = TypeVar("_T")


class MortalLmdbStore(LmdbStore):
    """Dies in the middle of what its shard has it do: nothing it is told comes to an end from then on.

    :ivar steps: how many steps of a move it lives on; None: it lives.
    :ivar dead: whether it is dead, so that its shard is to be killed.
    """

    def __init__(self, path: Path, seconds: Callable[[], float], random: Random) -> None:
        self.steps: int | None = None
        self.dead = False
        self._random = random
        super().__init__(DataDirectory(path), seconds, first_map=1 << 26, most_changed=20)

    def own(self, ranges: SlotRanges) -> Deferred[None]:
        return self._step(lambda: super(MortalLmdbStore, self).own(ranges))

    def change_ranges(self, decide: Callable[[StoreRanges], StoreRanges]) -> Deferred[None]:
        return self._step(lambda: super(MortalLmdbStore, self).change_ranges(decide))

    def absorb_staged(self, name: str, group: ChangeGroup, sequence: int, limit: int) -> Deferred[None]:
        return self._step(lambda: super(MortalLmdbStore, self).absorb_staged(name, group, sequence, limit))

    def set_indexes(self, indexes: Mapping[str, int], next_index: int = 0, text: bytes | None = None) -> Deferred[None]:
        return self._step(lambda: super(MortalLmdbStore, self).set_indexes(indexes, next_index, text))

    def remember(self, text: bytes) -> Deferred[None]:
        return self._step(lambda: super(MortalLmdbStore, self).remember(text))

    def lead(self, ballot: int) -> Deferred[int]:
        return self._step(lambda: super(MortalLmdbStore, self).lead(ballot))

    def append(self, groups: Sequence[ReplicatedGroup]) -> Deferred[None]:
        other = any(for_log(group).must_sync for group in groups)
        return self._step(lambda: super(MortalLmdbStore, self).append(groups)) if other else super().append(groups)

    def _step(self, do: Callable[[], Deferred[_T]]) -> Deferred[_T]:
        if self.steps is not None and not self.dead:
            self.steps -= 1
            if self.steps < 0:
                self.dead = True
                if self._random.random() < 0.5:
                    do()
        return Deferred() if self.dead else do()


class MovingReplicaRun(ReplicaRun):
    """One seeded run.

    :ivar moves: what moves.
    :ivar died: how many replicas died between two steps of a move.
    """

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch, ephemeral: bool) -> None:
        self.died = 0
        self.moves: RandomMoves | None = None
        super().__init__(seed, monkeypatch, ephemeral)
        self.moves = RandomMoves(self.cluster, self.random)

    def _cluster(self, seed: int) -> MemoryCluster:
        shards, replicas = self.random.choice([2, 2, 3]), self.random.choice([2, 2, 3])
        made = MemoryCluster(shards, seed=seed, store=self._open, replicas=replicas, lease=1.0)
        made.advance(4)
        return made

    def _open(self, name: str, seconds: Callable[[], float]) -> IStore:
        if self.ephemeral:
            return super()._open(name, seconds)
        self.opened[name] = store = MortalLmdbStore(self.folder / name, seconds, self.random)
        return store

    def step(self) -> None:
        """Some calls, perhaps a fault, perhaps a move, and some time."""
        assert self.moves is not None
        if self.random.random() < 0.4:
            self.moves.plan()
        if self.random.random() < 0.1:
            store = self.random.choice(list(self.opened.values()))
            if isinstance(store, MortalLmdbStore):
                store.steps = self.random.randrange(12)
        super().step()
        if self.random.random() < 0.5:
            for _ in range(self.random.choice([1, 5, 20])):
                self.cluster.advance(0.05)
                self.look()
        if self.random.random() < 0.2:
            self.faults.mend()

    def look(self) -> None:
        """As `ReplicaRun.look`; who has died is killed."""
        for name, store in list(self.opened.items()):
            if isinstance(store, MortalLmdbStore) and store.dead and name not in self.down:
                self.died += 1
                self.kill(name)
        super().look()
        self.check_owners()
        if self.moves is not None:
            self.moves.look()

    def check_owners(self) -> None:
        """No slot is served by primaries of two shards that may answer."""
        owners: dict[str, SlotRanges] = {}
        for name, service in self.cluster.services.items():
            replica, assignment = service.shard.replica, service.shard.assignment
            if replica is None or assignment is None or not replica.leads or not may_answer(replica):
                continue
            shard, served = name.partition(".")[0], common(service.shard.store.ranges.served, assignment.ranges)
            twice = [other for other, ranges in owners.items() if other != shard and common(ranges, served)]
            assert not twice, f"{name} and {twice} serve the same slots"
            owners[shard] = union(served, owners.get(shard, ()))

    def fault(self) -> None:
        """One random fault, or the end of one, or a wish of an operator's."""
        assert self.moves is not None
        if self.random.random() < 0.75:
            super().fault()
        elif self.random.random() < 0.5:
            self.moves.cancel()
        else:
            self.switch()

    def switch(self) -> None:
        """Have a primary wish that another member leads."""
        for group in self.groups().values():
            if group.others and self.random.random() < 0.5:
                for service in self.cluster.services.values():
                    replica = service.shard.replica
                    if replica is not None and replica.leads and replica.report().ballot == group.ballot:
                        own = service.shard.configured().own
                        if own.group == group:
                            replica.switch(self.random.choice(sorted(group.others)))

    def finish(self) -> Tally:
        """As `ReplicaRun.finish`, once each move has ended."""
        assert self.moves is not None
        self.faults.mend()
        for store in self.opened.values():
            if isinstance(store, MortalLmdbStore):
                store.steps = None
        if self.cluster.bootstrap is None:
            self.cluster.start_bootstrap()
        for name in list(self.down):
            self.down[name] = 0
        self.look()
        self.moves.wait_over(self.look)
        return super().finish()

    def _documents(self) -> int:
        documents = super()._documents()
        for name, service in self.cluster.services.items():
            store, own = service.shard.store, self.cluster.state.map.named(name.partition(".")[0])
            assert own is not None
            ranges = store.ranges
            assert (ranges.owned, dict(ranges.staged), ranges.left, dict(ranges.sealed)) == (own.ranges, {}, (), {})
            assert not service.followers.names
            assert rows_of(store) == rows_of(self.cluster.services[own.name].shard.store)
        return documents


def may_answer(replica: ShardReplica) -> bool:
    """Whether the others have promised a primary not to lead yet."""
    told = replica.stat()["replica"]
    assert isinstance(told, dict)
    return told["lease"] is None or told["lease"] > 0


def run(seed: int, ephemeral: bool) -> tuple[Tally, Counter[Phase], MovingReplicaRun]:
    """One run, to its end: what came of calls, the phases of moves, and the run."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = MovingReplicaRun(seed, monkeypatch, ephemeral)
        for _ in range(STEPS):
            made.step()
        assert made.moves is not None
        return made.finish(), made.moves.seen, made


@pytest.mark.parametrize("ephemeral", [False, True], ids=["durable", "memory"])
def test_histories_of_replicas_while_ranges_move(ephemeral: bool) -> None:
    """Under every fault of every seed, what every call came to can be explained, and each move ends."""
    tallies, seen, kills, died, led = [], Counter[Phase](), 0, 0, 0
    for seed in range(FIRST, FIRST + SEEDS):
        try:
            tally, phases, made = run(seed, ephemeral)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        tallies.append(tally)
        seen += phases
        kills, died, led = kills + made.kills, died + made.died, led + len(made.failovers)
    print(f"{total(tallies)}; {dict(seen)}; {kills} kills, {died} of them between two steps, {led} who led")  # noqa: T201  # the figures
    assert seen[Phase.COMMITTED] or len(tallies) < 2
