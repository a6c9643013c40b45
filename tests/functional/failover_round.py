"""Rounds of recorded histories in which replicas of a shard are lost and come back, one failover after the other.

Beside the load goes a pulse of writes, which tells how long the shard stood still.
"""

from __future__ import annotations

import time
from collections.abc import Coroutine, Iterable
from statistics import median
from typing import Any

import attrs
from functional.cluster import until
from functional.history_round import Programs, Round
from functional.pulse import Pulse
from functional.replicated_cluster import ReplicatedCluster
from twisted.internet.threads import deferToThread


@attrs.define
class FailoverTimes:
    """Seconds of each failover, from the kill of the primary.

    :ivar first_write: until the first write was acknowledged that began after it.
    :ivar whole: until all replicas were members again.
    """

    first_write: list[float] = attrs.Factory(list)
    whole: list[float] = attrs.Factory(list)

    def __str__(self) -> str:
        if not self.whole:
            return "no failover"
        named = {"kill → first write": self.first_write, "kill → whole again": self.whole}
        return f"{len(self.whole)} failovers; " + "; ".join(
            f"{name}: median {median(each):.2f} s, most {max(each):.2f} s" for name, each in named.items()
        )


def fail_over(cluster: ReplicatedCluster, pulse: Pulse, times: FailoverTimes) -> None:
    """Kill the primary, start it again when another one leads, and wait until all are members."""
    victim = cluster.primary()
    killed = time.monotonic()
    victim.kill()
    until(lambda: pulse.first_after(killed) is not None, f"a write is acknowledged after {victim.name} was killed")
    first = pulse.first_after(killed)
    assert first is not None
    victim.start()
    cluster.wait_whole()
    times.first_write.append(first - killed)
    times.whole.append(time.monotonic() - killed)


class FailoverRound(Round):
    """A round with failovers, which goes on until these are over.

    :param times: is told how long each took.
    :param failovers: how many there are.
    """

    def __init__(
        self,
        cluster: ReplicatedCluster,
        programs: Programs,
        seed: int,
        number: int,
        times: FailoverTimes,
        failovers: int = 1,
    ) -> None:
        super().__init__(cluster, cluster.server, programs, seed, number)
        self.replicated = cluster
        self.times = times
        self.failovers = failovers

    def disturb(self, seconds: float) -> Iterable[Coroutine[Any, Any, None]]:
        """See `Round`."""
        return [self._fail_over()]

    async def _fail_over(self) -> None:
        with Pulse(self.server) as pulse:
            await self.pause(self.random.uniform(0.3, 1.0))
            for _ in range(self.failovers):
                await deferToThread(fail_over, self.replicated, pulse, self.times)
                await self.pause(self.random.uniform(0.0, 0.5))
