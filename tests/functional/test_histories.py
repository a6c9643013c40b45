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
from collections.abc import Coroutine, Iterable, Sequence
from random import Random
from typing import Any

import pytest
import pytest_twisted
from functional.cluster import HOST, Cluster, NewCluster
from functional.history_round import DEFERRED, FACES, Programs, Round
from functional.lossy import KINDS, LossyProxy
from histories import Tally, total
from history_calls import PAGES
from twisted.internet.threads import deferToThread

from pyshard import connect

pytestmark = pytest.mark.functional

SECONDS = float(os.environ.get("PYSHARD_TEST_SECONDS", "4"))
SEED = int(os.environ.get("PYSHARD_TEST_SEED", chance.randrange(10**6)))
PART = 60.0  # seconds of one test, of which there are as many as it takes

#: What may happen to connections, and whether shards are killed.
ROUNDS: list[tuple[Sequence[str], bool]] = [
    (["delay", "cut"], False),
    (["half-open", "one-way"], False),
    (["stranded"], True),
    (KINDS, True),
]


class LossyRound(Round):
    """A round behind lossy proxies.

    :param proxies: before the bootstrap and every shard.
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
        super().__init__(cluster, f"{HOST}:{proxies[0].port}", programs, seed, number)
        self.proxies = proxies
        self.kinds = kinds
        self.kills = kills
        self.killed = 0

    def disturb(self, seconds: float) -> Iterable[Coroutine[Any, Any, None]]:
        """See `Round`."""
        for proxy in self.proxies:
            proxy.kinds = self.kinds
            if proxy.kinds:
                for connection in list(proxy.connections):
                    connection.end()
        return [self._kill(), self._kill_program(seconds)]

    async def mend(self) -> None:
        """See `Round`."""
        for proxy in self.proxies:
            proxy.mend()
        await super().mend()

    async def _kill(self) -> None:
        """Kill shards, and start each again a little later."""
        while self.kills and not self.over:
            await self.pause(self.random.uniform(0.2, 1.5))
            victim = self.random.choice(self.cluster.shards)
            await deferToThread(victim.kill)
            self.killed += 1
            await self.pause(self.random.choice([0.0, 0.3]))
            victim.start()
            await deferToThread(victim.wait_listening)

    async def _kill_program(self, seconds: float) -> None:
        """Perhaps kill a program in the middle of the round."""
        await self.pause(self.random.uniform(0.3, 0.9) * seconds)
        if self.kills and self.random.random() < 0.5:
            self.programs.kill(self.random)


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
            made = LossyRound(cluster, proxies, mixed, seed, len(tallies), kinds, killing)
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
