"""Seeded runs of a replicated shard under faults, with clients that read at the nearest replica: nothing is too old.

One client writes rising numbers under each key, one after the other. Readers note what they read, and when they began.
Then each read is compared with the writes: it has the last one that was acknowledged a bound before it began, or a
later one. Faults are those that a replica may meet: kills, cut and silent networks, no bootstrap, another primary.

By hand, for longer: PYSHARD_TEST_HISTORIES and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from contextlib import suppress
from random import Random
from typing import Any

import attrs
import pytest
from moving import DurableStores
from stores import folder
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from pyshard import Client
from pyshard.errors import PyshardError
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_times import of_lease
from pyshard.testing import MemoryCluster

SEEDS = int(os.environ.get("PYSHARD_TEST_HISTORIES", "4"))
FIRST = int(os.environ.get("PYSHARD_TEST_SEED", "0"))

LEASE = 1.0
BOUND = of_lease(LEASE).staleness
KEYS = ["a", "b", "c"]
SECONDS = 25.0
KINDS = ["kill", "kill", "silence", "deafen", "cut", "strand", "delay", "bootstrap", "switch", "mend"]


@attrs.define
class Written:
    """What was written under a key: rising numbers.

    :ivar acknowledged: when, and which number; both rise.
    :ivar issued: the last number that may be there.
    """

    acknowledged: list[tuple[float, int]] = attrs.Factory(list)
    issued: int = 0

    def least(self, moment: float) -> int:
        """The number that a state of some moment has at the least; 0: none."""
        place = bisect_right(self.acknowledged, (moment, self.issued))
        return self.acknowledged[place - 1][1] if place else 0


class StaleRun:
    """One run.

    :ivar stale: how many reads gave what was overwritten when they began.
    :ivar reads: how many gave something.
    """

    def __init__(self, cluster: MemoryCluster, seed: int, durable: bool) -> None:
        self.cluster = cluster
        self.random = Random(seed)
        self.durable = durable
        self.written = {key: Written() for key in KEYS}
        self.stale = self.reads = 0
        self.stopped = False
        self.problems: list[str] = []

    @property
    def group(self) -> ReplicaGroup:
        """The only shard's."""
        group = self.cluster.state.map.shards[0].group
        assert group is not None
        return group

    def run(self) -> None:
        """Do it."""
        cluster, clock = self.cluster, self.cluster.clock
        self.until_whole()
        clients = [cluster.connect(read_from="nearest") for _ in range(2)]
        works = [self.write(cluster.connect()), *(self.read(client) for client in clients)]
        running = [Deferred.fromCoroutine(work) for work in works]
        end = clock.seconds() + SECONDS
        while clock.seconds() < end:
            cluster.advance(self.random.uniform(0.1, 2.0))
            self.fault()
        self.mend()
        cluster.advance(5.0)
        self.stopped = True
        for work in running:
            cluster.run(work)
        assert not self.problems, self.problems[0]

    def until_whole(self) -> None:
        """Let time pass until all replicas are members."""
        for _ in range(300):
            if not self.group.learners:
                return
            self.cluster.advance(0.1)
        raise AssertionError("the group isn't whole in 30 s")

    # ------------------------------------------------------------------ clients

    async def write(self, client: Client) -> None:
        """Write one number after the other."""
        while not self.stopped:
            key = self.random.choice(KEYS)
            written = self.written[key]
            written.issued += 1
            number = written.issued
            with suppress(PyshardError):
                await client.write(key, number, deadline=15)
                written.acknowledged.append((self.cluster.clock.seconds(), number))
            await self.pause(0.05)

    async def read(self, client: Client) -> None:
        """Read now and then, one key or all."""
        while not self.stopped:
            began = self.cluster.clock.seconds()
            keys = self.random.choice([*([key] for key in KEYS), KEYS])
            known = {key: self.written[key].least(began) for key in keys}
            found: list[Any] = []
            with suppress(PyshardError):
                if len(keys) == 1:
                    found = [await client.get(keys[0], 0, deadline=3)]
                else:
                    found = await client.get_many(keys, 0, deadline=3)
            for key, number in zip(keys, found, strict=False):
                self.reads += 1
                self.stale += number < known[key]
                self.compare(key, number, began)
            await self.pause(0.05)

    def compare(self, key: str, number: int, began: float) -> None:
        """Note what is wrong with what was read."""
        least, most = self.written[key].least(began - BOUND), self.written[key].issued
        if not least <= number <= most:
            self.problems.append(f"{began:.2f}: {key} had {number}, expected {least} to {most}")

    async def pause(self, seconds: float) -> None:
        """Wait for about so long."""
        await deferLater(self.cluster.clock, self.random.uniform(0, 2 * seconds))

    # ------------------------------------------------------------------ faults

    def fault(self) -> None:
        """One, or the end of one."""
        cluster, random = self.cluster, self.random
        kind = random.choice(KINDS)
        name = random.choice(list(cluster.processes))
        host, port = cluster.processes[name]
        if kind == "kill":
            whole = not self.group.learners and len(cluster.services) == len(cluster.processes)
            if name in cluster.services and (self.durable or whole):
                cluster.kill_shard(name)
        elif kind == "mend":
            self.mend()
        elif kind == "bootstrap":
            if cluster.bootstrap is not None:
                cluster.stop_bootstrap()
        elif kind == "switch":
            service = cluster.services.get(name)
            if service is not None and service.shard.replica is not None:
                with suppress(PyshardError):
                    service.shard.replica.switch(random.choice(sorted(self.group.others) or [""]))
        elif kind == "delay":
            cluster.network.delay(host, port, random.choice([0.0, 0.02, 0.3]))
        elif name in cluster.services:
            getattr(cluster.network, kind)(host, port)

    def mend(self) -> None:
        """End all of them."""
        cluster = self.cluster
        for name, (host, port) in cluster.processes.items():
            cluster.network.unsilence(host, port)
            cluster.network.undeafen(host, port)
            cluster.network.unstrand(host, port)
            cluster.network.delay(host, port, 0.0)
            if name not in cluster.services:
                cluster.start_shard(name)
        if cluster.bootstrap is None:
            cluster.start_bootstrap()


@pytest.fixture(params=["memory", "durable"])
def durable(request: pytest.FixtureRequest) -> bool:
    """Whether stores are durable."""
    return bool(request.param == "durable")


def test_nothing_is_older_than_the_bound(durable: bool) -> None:
    """Whatever happens. Some of it is stale, else nothing was tried."""
    stale = reads = 0
    for seed in range(FIRST, FIRST + SEEDS):
        with folder() as path:
            store = DurableStores(path).open if durable else None
            with MemoryCluster(1, replicas=3, lease=LEASE, seed=seed, store=store) as cluster:
                run = StaleRun(cluster, seed, durable)
                try:
                    run.run()
                except AssertionError as error:
                    raise AssertionError(f"seed {seed}: {error}") from error
                stale, reads = stale + run.stale, reads + run.reads
    print(f"\nseeds from {FIRST}: {reads} reads, {stale} of them stale")  # noqa: T201  # for whoever runs it by hand
    assert reads > 50 * SEEDS
    assert stale
