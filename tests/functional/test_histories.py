"""Recorded histories over real sockets that lose things, of durable shards that are killed: all of them make sense.

Clients of all three faces make random calls of every verb on the same keys, through lossy proxies (`lossy`), which
stand before the bootstrap and every shard: Deferred clients in this process, and programs (`history_program`) with
threads and a forked child on a blocking client, and with tasks on one of asyncio. Now and then a program is killed.
Each round has keys of its own. It is checked when its faults are over, with the calls of all clients in one history.

By hand, for longer: PYSHARD_TEST_SECONDS and PYSHARD_TEST_SEED, see CONTRIBUTING.md.
"""

from __future__ import annotations

import math
import os
import random as chance
import time
from collections.abc import Iterator, Sequence
from itertools import count
from random import Random
from typing import Any

import pytest
import pytest_twisted
from functional.cluster import HOST, Cluster, NewCluster
from functional.history_processes import HistoryProcess
from functional.history_program import DEADLINE, QUICK, QUICKENED, Order
from functional.lossy import KINDS, LossyProxy
from histories import Recorder, Tally, total
from history_calls import FLEETING, PAGES, Call, invoke
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from pyshard import Client, connect
from pyshard.errors import OutcomeUnknown, PyshardError, Unavailable

pytestmark = pytest.mark.functional

SECONDS = float(os.environ.get("PYSHARD_TEST_SECONDS", "4"))
SEED = int(os.environ.get("PYSHARD_TEST_SEED", chance.randrange(10**6)))
PART = 60.0  # seconds of one test, of which there are as many as it takes
CLIENTS = 2
MOST = 4  # calls that a Deferred client has under way
DEFERRED, FACES = "deferred", ["blocking", "asyncio"]  # the clients of this process, and those of the programs

#: What may happen to connections, and whether shards are killed.
ROUNDS: list[tuple[Sequence[str], bool]] = [
    (["delay", "cut"], False),
    (["half-open", "one-way"], False),
    (["stranded"], True),
    (KINDS, True),
]


class Programs:
    """The programs of a run.

    :param server: the bootstrap's address, as they are to know it.
    """

    def __init__(self, cluster: Cluster, server: str, seed: int) -> None:
        self._cluster = cluster
        self._server = server
        self._seed = seed
        self._numbers = count(1)
        self.killed = 0
        self.running: list[HistoryProcess] = []

    async def start(self) -> None:
        """Start those that aren't there, and wait until they are connected."""
        there = {one.face for one in self.running}
        started = [
            HistoryProcess(self._cluster, face, self._server, self._seed, next(self._numbers))
            for face in FACES
            if face not in there
        ]
        self.running += started
        await self._wait(started)

    async def order(self, order: Order) -> None:
        """Have all of them do something, and wait until it is done."""
        for one in self.running:
            one.order(order)
        await self._wait(self.running)

    async def _wait(self, processes: Sequence[HistoryProcess]) -> None:
        await gatherResults([deferToThread(one.wait) for one in processes])

    def kill(self, random: Random) -> None:
        """Kill one of them."""
        random.choice(self.running).kill()
        self.killed += 1

    def calls(self) -> list[tuple[Call, str]]:
        """The calls that all have made since they were asked before, and of which face; the killed are gone then."""
        calls = [(call, one.face) for one in self.running for call in one.calls()]
        for one in [one for one in self.running if one.killed]:
            one.end()
            self.running.remove(one)
        return calls

    def end(self) -> None:
        """End all of them."""
        for one in self.running:
            one.end()
        self.running = []


class Round:
    """Some seconds of load, with keys of its own.

    :param kinds: what may happen to connections.
    :param kills: whether shards are killed, and perhaps a program.
    """

    def __init__(
        self,
        cluster: Cluster,
        proxies: Sequence[LossyProxy],
        programs: Programs,
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
        self.programs = programs
        self.kinds = kinds
        self.kills = kills
        self.killed = 0
        self.counter = f"counter {number}"
        self.counted: list[object] = []
        self.number = number
        self.recorder = Recorder([f"{number}/{key}" for key in range(6)], self.random, time.monotonic_ns)
        self.recorder.faces = dict.fromkeys(range(CLIENTS), DEFERRED)
        self.end = 0.0

    @property
    def over(self) -> bool:
        """Whether no call is made any more."""
        return time.monotonic() > self.end

    async def run(self, seconds: float) -> Tally:
        """Run it, and check what came of it."""
        server = f"{HOST}:{self.proxies[0].port}"
        clients = [await connect(self.reactor, server, deadline=DEADLINE) for _ in range(CLIENTS)]
        await self.programs.start()
        self.end = time.monotonic() + seconds
        for proxy in self.proxies:
            proxy.kinds = self.kinds
            if proxy.kinds:
                for connection in list(proxy.connections):
                    connection.end()
        loads = [self._load(number % CLIENTS, clients[number % CLIENTS]) for number in range(CLIENTS * MOST)]
        programs = self.programs.order(Order(self.number, self.recorder.keys, self.end))
        await gatherResults(map(Deferred.fromCoroutine, [*loads, programs, self._kill(), self._kill_program(seconds)]))
        for proxy in self.proxies:
            proxy.mend()
        await deferToThread(self.cluster.wait_ready)
        self._take_calls()
        await self._look_around(clients)
        await self.programs.order(Order(self.number, self.recorder.keys, 0))
        self._take_calls()
        await gatherResults([client.close() for client in clients])
        return self.recorder.check()

    def _take_calls(self) -> None:
        calls = self.programs.calls()
        self.recorder.faces.update({call.client: face for call, face in calls})
        self.recorder.taken(call for call, _ in calls)

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

    async def _kill_program(self, seconds: float) -> None:
        """Perhaps kill a program in the middle of the round."""
        await deferLater(self.reactor, self.random.uniform(0.3, 0.9) * seconds)
        if self.kills and self.random.random() < 0.5:
            self.programs.kill(self.random)

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
    for module in QUICKENED:
        monkeypatch.setattr(module, "settings", QUICK)


@pytest.fixture
def programs() -> Iterator[list[Programs]]:
    """Those that are to be ended."""
    made: list[Programs] = []
    yield made
    for one in [one for programs in made for one in programs.running]:
        one.kill()
        one.end()


@pytest.mark.parametrize("part", range(math.ceil(SECONDS / PART)))
@pytest_twisted.ensureDeferred
async def test_histories(new_cluster: NewCluster, impatient: None, programs: list[Programs], part: int) -> None:
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
    server = f"{HOST}:{proxies[0].port}"
    mixed = Programs(cluster, server, seed)
    programs.append(mixed)
    first = await connect(reactor, server)
    await first.create_index(PAGES)
    await first.close()
    tallies: list[Tally] = []
    kills, began = 0, time.monotonic()
    while not tallies or time.monotonic() < began + seconds:
        for kinds, killing in ROUNDS:
            made = Round(cluster, proxies, mixed, seed, len(tallies), kinds, killing)
            try:
                tallies.append(await made.run(min(8, seconds / len(ROUNDS))))
            except AssertionError as error:
                raise AssertionError(f"seed {seed}, round {len(tallies)}, {kinds}: {error}") from error
            kills += made.killed
    await deferToThread(mixed.end)
    for proxy in proxies:
        await proxy.close()
    happened = sum(proxy.happened for proxy in proxies)
    tally = total(tallies)
    print(f"seed {seed}: {tally}, {kills} kills of shards, {mixed.killed} of programs, {happened} faults")  # noqa: T201  # the figures, as in the crash tests
    assert {face for face, _ in tally.answers} == {DEFERRED, *FACES}
    assert tally.unknown
    assert happened
    assert kills
