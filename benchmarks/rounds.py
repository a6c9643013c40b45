"""Does the rounds of a comparison: pyshard, its peer, pyshard, its peer, …"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

from comparisons import Comparison, Kind
from fleet import Fleet
from peers.interface import Side
from processes import Unavailable, cpu_seconds
from ratios import Round, Sample
from results import Result
from workload import Workload

#: Rounds that are done in any case.
LEAST_ROUNDS = 3

#: Seconds after which no further round is begun: it bounds how long a whole run takes.
PATIENCE = 10.0


def compare(comparison: Comparison, fleet: Fleet, rounds: int) -> Result:
    """Do all rounds of a comparison; a comparison that can't be done gives a result with the reason."""
    try:
        peer = fleet.side(comparison.peer, comparison.durable)  # first, since it is the one that may be missing
        sides = [fleet.side("pyshard", comparison.durable), peer]
        kinds: dict[Kind, Callable[[str, bool], Any]] = {
            "blocking": fleet.blocking,
            "deferring": fleet.deferring,
            "awaiting": fleet.awaiting,
        }
        get = kinds[comparison.clients]
        clients = [get(name, comparison.durable) for name in ("pyshard", comparison.peer)]
    except Unavailable as error:
        return _result(comparison, comparison.peer, [], str(error))
    for side in sides:
        comparison.workload.prepare(side)
    done = alternate(comparison.workload, sides, clients, rounds)
    return _result(comparison, clients[1].title, done, None)


def alternate(
    workload: Workload[Any],
    sides: list[Side],
    clients: list[Any],
    rounds: int,
    clock: Callable[[], float] = time.monotonic,
) -> list[Round]:
    """Do a prepared workload on both sides in turns, after one round of each to warm up.

    :param sides: pyshard and its peer.
    :param clients: a client of each side.
    :param rounds: how many; fewer, but at least `LEAST_ROUNDS`, when they take more than `PATIENCE` seconds.
    """
    begun = clock()
    for client in clients:
        workload.run(client, 0)
    done: list[Round] = []
    while len(done) < rounds and (len(done) < LEAST_ROUNDS or clock() - begun < PATIENCE):
        number = len(done) + 1
        done.append(
            Round(*(_sample(workload, side, client, number) for side, client in zip(sides, clients, strict=True)))
        )
    return done


def _sample(workload: Workload[Any], side: Side, client: Any, number: int) -> Sample:
    gc.collect()
    before = cpu_seconds(side.pids)
    operations, seconds = workload.run(client, number)
    return Sample(operations, seconds, cpu_seconds(side.pids) - before if side.pids else None)


def _result(comparison: Comparison, peer: str, rounds: list[Round], skipped: str | None) -> Result:
    return Result(
        comparison.name,
        comparison.workload.title,
        peer,
        comparison.durable,
        comparison.shape,
        comparison.target,
        rounds,
        skipped,
    )
