"""Recorded histories of shards with replicas, under every fault: nothing acknowledged is lost, and nothing stale read.

As `test_histories`, with real stores of both kinds: replicas are killed and come back, the primary most of all, their
network is cut, and the bootstrap comes and goes. At the end all replicas are members again, and have the same.

By hand, any number of seeds: PYSHARD_TEST_HISTORIES and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from histories import Tally, total
from test_histories import FIRST, STEPS, Run
from twisted.internet.defer import Deferred, succeed

from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import ReplicaGroup
from pyshard.storage import DataDirectory, IStore, LmdbStore, MemoryStore
from pyshard.testing import MemoryCluster

SEEDS = int(os.environ.get("PYSHARD_TEST_HISTORIES", "4"))
SETTLED = 2.0  # seconds of nothing wanted, after which a member may be lost for good


class ReplicaRun(Run):
    """One seeded run.

    :param ephemeral: whether stores are in memory.
    """

    def __init__(self, seed: int, monkeypatch: pytest.MonkeyPatch, ephemeral: bool) -> None:
        self.ephemeral = ephemeral
        self.folder = Path(tempfile.mkdtemp())
        self.down: dict[str, float] = {}  # the names of processes that are killed, and when they start again
        self.failovers: set[tuple[str, int]] = set()
        self.opened: dict[str, IStore] = {}
        super().__init__(seed, monkeypatch)

    def _cluster(self, seed: int) -> MemoryCluster:
        made = MemoryCluster(
            self.random.choice([1, 2]), seed=seed, store=self._open, replicas=self.random.choice([2, 3]), lease=1.0
        )
        made.advance(4)
        return made

    def _open(self, name: str, seconds: Callable[[], float]) -> IStore:
        """The store of a process that starts."""
        if self.ephemeral:
            store: IStore = MemoryStore(f"{self.random.getrandbits(128):032x}", seconds)
        else:
            store = LmdbStore(DataDirectory(self.folder / name), seconds, first_map=1 << 26, most_changed=20)
        self.opened[name] = store
        return store

    def groups(self) -> dict[str, ReplicaGroup]:
        """The group of each shard."""
        return {shard.name: shard.group for shard in self.cluster.state.map.shards if shard.group is not None}

    def step(self) -> None:
        """As `Run.step`; and who was killed starts again."""
        super().step()
        self.look()

    def look(self) -> None:
        """Start again who is to be, and count who leads."""
        now = self.cluster.clock.seconds()
        for name in [name for name, until in self.down.items() if now >= until]:
            del self.down[name]
            self.cluster.start_shard(name)
        self.failovers |= {(group.primary, self.cluster.state.epoch) for group in self.groups().values()}

    def fault(self) -> None:
        """One random fault, or the end of one."""
        kind = self.random.choice(["network"] * 4 + ["bootstrap", "kill", "kill", "kill primary", "kill primary"])
        if kind == "network":
            self.faults.of_network()
        elif kind == "bootstrap":
            self.faults.bootstrap()
        else:
            names = [name for name in self.cluster.processes if name not in self.down]
            if kind == "kill primary":
                leading = {group.primary for group in self.groups().values()}
                places = self.cluster.processes
                names = [name for name in names if f"{places[name][0]}:{places[name][1]}" in leading]
            if names:
                self.kill(self.random.choice(names))

    def kill(self, name: str = "") -> None:
        """Kill a replica, which starts again a little later."""
        if self.ephemeral and not self.may_lose_one(name):
            return
        self.end_at_once(self.opened[name])
        self.cluster.kill_shard(name)
        self.kills += 1
        self.down[name] = self.cluster.clock.seconds() + self.random.choice([0, 0.3, 1, 3, 8])

    def may_lose_one(self, name: str) -> bool:
        """Whether all members of its shard are there with all that they had, and nobody is about to go."""
        shard = name.partition(".")[0]
        group = self.groups()[shard]
        ids = {
            f"{host}:{port}": StoreId(self.opened[each].identity, self.opened[each].incarnation)
            for each, (host, port) in self.cluster.processes.items()
            if each not in self.down and each.partition(".")[0] == shard
        }
        if len(group.members) < 2 or any(
            not group.holds(member, ids.get(member, StoreId("", ""))) for member in group.members
        ):
            return False
        services = [self.cluster.services[each] for each in self.cluster.processes if each not in self.down]
        reports = [service.shard.replica.report() for service in services if service.shard.replica is not None]
        return all(report.wish is None for report in reports)

    def end_at_once(self, store: IStore) -> None:
        """Have a store end without a last word, as that of a killed process does."""
        if isinstance(store, LmdbStore):

            def close() -> Deferred[None]:
                store._engine.close()
                store._directory.close()
                return succeed(None)

            store.close = close  # type: ignore[method-assign]

    def finish(self) -> Tally:
        """As `Run.finish`, once all replicas are members again, and have the same."""
        self.faults.mend()
        if self.cluster.bootstrap is None:
            self.cluster.start_bootstrap()
        for name in list(self.down):
            self.down[name] = 0
        self.look()
        for _ in range(600):
            self.cluster.advance(0.1)
            if all(len(group.members) == len(group.replicas) for group in self.groups().values()):
                break
        else:
            raise AssertionError(f"these aren't whole again: {self.groups()}")
        tally = super().finish()
        shutil.rmtree(self.folder)
        return tally

    def _documents(self) -> int:
        self.cluster.advance(2)
        stores: dict[str, list[IStore]] = {}
        for name, service in self.cluster.services.items():
            stores.setdefault(name.partition(".")[0], []).append(service.shard.store)
        for name, each in stores.items():
            positions = {(store.position, store.committed, store.documents) for store in each}
            assert len(positions) == 1, f"replicas of {name} differ: {positions}"
        return sum(each[0].documents for each in stores.values())


def run(seed: int, ephemeral: bool) -> tuple[Tally, int, int]:
    """One run, to its end: what came of calls, how many were killed, and how often another one led."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        made = ReplicaRun(seed, monkeypatch, ephemeral)
        for _ in range(STEPS):
            made.step()
        return made.finish(), made.kills, len(made.failovers)


@pytest.mark.parametrize("ephemeral", [False, True], ids=["durable", "memory"])
def test_histories_of_replicas(ephemeral: bool) -> None:
    """Under every fault of every seed, what every call came to can be explained."""
    tallies, kills, led = [], 0, 0
    for seed in range(FIRST, FIRST + SEEDS):
        try:
            tally, killed, leaders = run(seed, ephemeral)
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
        tallies.append(tally)
        kills, led = kills + killed, led + leaders
    print(f"{total(tallies)}; {kills} kills, {led} who led")  # noqa: T201  # the figures, as in the crash tests
