"""One round of recorded histories over real sockets: some seconds of load by clients of all faces, and the check of it.

Deferred clients are in this process, those of the other faces in programs of their own (`history_processes`). What
happens meanwhile to daemons and connections is said by whoever runs it.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterable, Mapping, Sequence
from itertools import count
from random import Random
from typing import Any

from functional.cluster import Cluster
from functional.history_processes import HistoryProcess
from functional.history_program import DEADLINE, Order
from histories import Recorder, Tally
from history_calls import FLEETING, PAGES, Call, invoke
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread

from pyshard import Client, connect
from pyshard.errors import OutcomeUnknown, PyshardError, Unavailable

CLIENTS = 2
MOST = 4  # calls that a Deferred client has under way
DEFERRED, FACES = "deferred", ["blocking", "asyncio"]  # the clients of this process, and those of the programs


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

    :param server: the bootstrap's address, as clients are to know it.
    :param programs: those of the run.
    :param number: of the round; no other one of the run has it.
    :param addresses: where the clients of this process dial shards, in place of where the map says.
    :param keys: how many each index has.
    """

    def __init__(
        self,
        cluster: Cluster,
        server: str,
        programs: Programs,
        seed: int,
        number: int,
        addresses: Mapping[str, str] | None = None,
        keys: int = 6,
    ) -> None:
        from twisted.internet import reactor

        self.reactor: Any = reactor
        self.random = Random(seed * 1000 + number)
        self.cluster = cluster
        self.server = server
        self.programs = programs
        self.addresses = addresses
        self.counter = f"counter {number}"
        self.counted: list[object] = []
        self.number = number
        self.recorder = Recorder([f"{number}/{key}" for key in range(keys)], self.random, time.monotonic_ns)
        self.recorder.faces = dict.fromkeys(range(CLIENTS), DEFERRED)
        self.end = 0.0

    @property
    def over(self) -> bool:
        """Whether no call is made any more."""
        return time.monotonic() > self.end

    async def run(self, seconds: float) -> Tally:
        """Run it, and check what came of it."""
        clients = [
            await connect(self.reactor, self.server, deadline=DEADLINE, addresses=self.addresses)
            for _ in range(CLIENTS)
        ]
        await self.programs.start()
        self.end = time.monotonic() + seconds
        loads = [self._load(number % CLIENTS, clients[number % CLIENTS]) for number in range(CLIENTS * MOST)]
        programs = self.programs.order(Order(self.number, self.recorder.keys, self.end))
        disturbed = self.disturb(seconds)
        await gatherResults(map(Deferred.fromCoroutine, [*loads, programs, *disturbed]))
        await self.mend()
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
            await self.pause(self.random.random() * 0.05)

    async def _count(self, client: Client) -> None:
        try:
            self.counted.append(await client.increment(self.counter))
        except PyshardError as error:
            self.counted.append(error)

    def disturb(self, seconds: float) -> Iterable[Coroutine[Any, Any, None]]:
        """What goes on beside the load; each ends when the round is over."""
        return []

    async def mend(self) -> None:
        """Have everything be up again, and each daemon ready."""
        await deferToThread(self.cluster.wait_ready)

    async def pause(self, seconds: float) -> None:
        """Let some time pass."""
        await deferLater(self.reactor, seconds)

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
