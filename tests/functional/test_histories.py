"""Recorded histories over real sockets that lose things, of durable shards that are killed: all of them make sense.

Deferred clients and threads with a blocking one make random calls of every verb through lossy proxies (`lossy`), which
stand before the bootstrap and every shard. Each round has keys of its own, and is checked when its faults are over.

By hand, for longer: PYSHARD_TEST_SECONDS and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

import math
import os
import random as chance
import time
from collections.abc import Sequence
from random import Random
from typing import Any

import attrs
import pytest
import pytest_twisted
from functional.cluster import HOST, Cluster, NewCluster
from functional.lossy import KINDS, LossyProxy
from histories import Recorder, Tally, total
from history_calls import FLEETING, PAGES, Call, invoke
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from pyshard import Client, Pyshard, connect
from pyshard.client import rpc_channel, shard_link
from pyshard.errors import OutcomeUnknown, PyshardError, Unavailable
from pyshard.net import reconnecting_dialer
from pyshard.settings import settings

pytestmark = pytest.mark.functional

SECONDS = float(os.environ.get("PYSHARD_TEST_SECONDS", "4"))
SEED = int(os.environ.get("PYSHARD_TEST_SEED", chance.randrange(10**6)))
PART = 60.0  # seconds of one test, of which there are as many as it takes
CLIENTS, THREADS = 3, 2
MOST = 4  # calls that a Deferred client has under way
DEADLINE = 1.5

#: What may happen to connections, and whether shards are killed.
ROUNDS: list[tuple[Sequence[str], bool]] = [
    (["delay", "cut"], False),
    (["half-open", "one-way"], False),
    (["stranded"], True),
    (KINDS, True),
]


class Round:
    """Some seconds of load, with keys of its own.

    :param kinds: what may happen to connections.
    :param kills: whether shards are killed.
    """

    def __init__(
        self,
        cluster: Cluster,
        proxies: Sequence[LossyProxy],
        seed: int,
        number: int,
        kinds: Sequence[str],
        kills: bool,
    ) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.random = Random(seed * 1000 + number)
        self.cluster = cluster
        self.proxies = proxies
        self.kinds = kinds
        self.kills = kills
        self.killed = 0
        self.counter = f"counter {number}"
        self.counted: list[object] = []
        self.recorder = Recorder([f"{number}/{key}" for key in range(6)], self.random)
        self.end = 0.0
        self.server = f"{HOST}:{proxies[0].port}"

    @property
    def over(self) -> bool:
        """Whether no call is made any more."""
        return time.monotonic() > self.end

    async def run(self, seconds: float) -> Tally:
        """Run it, and check what came of it."""
        clients = [await connect(self.reactor, self.server, deadline=DEADLINE) for _ in range(CLIENTS)]
        app = await deferToThread(lambda: Pyshard(self.server, deadline=DEADLINE))
        self.end = time.monotonic() + seconds
        for proxy in self.proxies:
            proxy.kinds = self.kinds
            if proxy.kinds:
                for connection in list(proxy.connections):
                    connection.end()
        loads = [self._load(number % CLIENTS, clients[number % CLIENTS]) for number in range(CLIENTS * MOST)]
        threads = [deferToThread(self._block, CLIENTS + number, app) for number in range(THREADS)]
        await gatherResults([*map(Deferred.fromCoroutine, loads), *threads, Deferred.fromCoroutine(self._kill())])
        for proxy in self.proxies:
            proxy.mend()
        await deferToThread(self.cluster.wait_ready)
        await self._look_around(clients)
        await deferToThread(app.close)
        await gatherResults([client.close() for client in clients])
        return self.recorder.check()

    async def _load(self, number: int, client: Client) -> None:
        """One call of a Deferred client after another; there are several of these for each client."""
        while not self.over:
            call = self.recorder.plan(number)
            self.recorder.began(call)
            try:
                outcome: object = await invoke(client, call)
            except PyshardError as error:
                outcome = error
            self.recorder.ended(call, outcome)
            await self._count(client)
            await deferLater(self.reactor, self.random.random() * 0.05)

    async def _count(self, client: Client) -> None:
        try:
            self.counted.append(await client.increment(self.counter))
        except PyshardError as error:
            self.counted.append(error)

    def _block(self, number: int, app: Pyshard) -> None:
        """One blocking call after another."""
        random = Random(number)
        while not self.over:
            call = self.recorder.plan(number, random)
            self.recorder.began(call)
            try:
                outcome = invoke(app, call)
            except PyshardError as error:
                outcome = error
            self.recorder.ended(call, outcome)
            time.sleep(random.random() * 0.05)

    async def _kill(self) -> None:
        """Kill shards, and start each again a little later."""
        while self.kills and not self.over:
            await deferLater(self.reactor, self.random.uniform(0.2, 1.5))
            victim = self.random.choice(self.cluster.shards)
            await deferToThread(victim.kill)
            self.killed += 1
            await deferLater(self.reactor, self.random.choice([0.0, 0.3]))
            victim.start()
            await deferToThread(victim.wait_listening)

    async def _look_around(self, clients: Sequence[Client]) -> None:
        """Read every key with every client, count, and leave the fleeting index as it was."""
        for number, client in enumerate(clients):
            for index in ("", PAGES):
                for key in self.recorder.keys:
                    call = Call(number, -1, "read", index, [key])
                    self.recorder.began(call)
                    self.recorder.ended(call, await client.read(key, index or None, deadline=20))
        done = sum(not isinstance(outcome, Exception) for outcome in self.counted)
        unknown = sum(isinstance(outcome, OutcomeUnknown) for outcome in self.counted)
        assert all(isinstance(outcome, int | OutcomeUnknown | Unavailable) for outcome in self.counted)
        found = await clients[0].read(self.counter, deadline=20)
        assert done <= (found["record"] if found else 0) <= done + unknown  # type: ignore[operator]
        acknowledged = [outcome for outcome in self.counted if not isinstance(outcome, Exception)]
        assert len(set(acknowledged)) == len(acknowledged), "a counter gave one number twice"
        if FLEETING in await clients[0].indexes(deadline=20):
            await clients[0].drop_index(FLEETING, deadline=20)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have clients give connections up soon, so that much happens in little time."""
    quick = attrs.evolve(settings, DEADLINE=1.0, TIMEOUT=1.0, HEARTBEAT=1.0)
    for module in (shard_link, rpc_channel, reconnecting_dialer):
        monkeypatch.setattr(module, "settings", quick)


@pytest.mark.parametrize("part", range(math.ceil(SECONDS / PART)))
@pytest_twisted.ensureDeferred
async def test_histories(new_cluster: NewCluster, impatient: None, part: int) -> None:
    """Whatever the network does and whichever shard is killed, the outcomes of all calls are linearizable."""
    from twisted.internet import reactor

    cluster = new_cluster(2, durable=True)
    seed, seconds = SEED + part, min(SECONDS, PART)
    random = Random(seed)
    proxies = [LossyProxy(reactor, one.port, random) for one in (cluster.bootstrap, *cluster.shards)]
    for own, proxy in zip(cluster.config, proxies[1:], strict=True):
        own["port"] = proxy.port
    cluster.write_config()
    await deferToThread(cluster.start)
    first = await connect(reactor, f"{HOST}:{proxies[0].port}")
    await first.create_index(PAGES)
    await first.close()
    tallies: list[Tally] = []
    kills, began = 0, time.monotonic()
    while not tallies or time.monotonic() < began + seconds:
        for kinds, killing in ROUNDS:
            made = Round(cluster, proxies, seed, len(tallies), kinds, killing)
            try:
                tallies.append(await made.run(min(8, seconds / len(ROUNDS))))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, round {len(tallies)}, {kinds}: {error}") from error
            kills += made.killed
    for proxy in proxies:
        await proxy.close()
    happened = sum(proxy.happened for proxy in proxies)
    tally = total(tallies)
    print(f"seed {seed}: {tally}, {kills} kills, {happened} faults")  # noqa: T201  # the figures, as in the crash tests
    assert tally.unknown
    assert happened
    assert kills
