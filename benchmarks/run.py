"""The rounds of a comparison: pyshard, its peer, pyshard, its peer, …"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from typing import Any

from comparisons import Comparison
from fleet import Fleet
from measure import Round, Sample
from peers.interface import Side
from processes import Unavailable, cpu_seconds
from results import Result
from workload import Workload

#: So many rounds are done in any case; and seconds after which no further one is begun.
ENOUGH = 3
PATIENCE = 15.0


def compare(comparison: Comparison, fleet: Fleet, rounds: int) -> Result:
    """Do all rounds of a comparison, or say why it can't be done."""
    try:
        peer = fleet.side(comparison.peer, comparison.durable)  # the one that may not be there
        sides = [fleet.side("pyshard", comparison.durable), peer]
        get: Callable[[str, bool], Any] = fleet.deferring if comparison.deferring else fleet.blocking
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
    """Do a workload, which is prepared, on both sides by turns, behind a round of each to warm up.

    :param sides: pyshard and its peer.
    :param clients: one of each.
    :param rounds: fewer are done, but at least `ENOUGH`, when they take more than `PATIENCE` seconds.
    """
    begun = clock()
    for client in clients:
        workload.run(client, 0)
    done: list[Round] = []
    while len(done) < rounds and (len(done) < ENOUGH or clock() - begun < PATIENCE):
        number = len(done) + 1
        done.append(
            Round(*(_sample(workload, side, client, number) for side, client in zip(sides, clients, strict=True)))
        )
    return done


def _sample(workload: Workload[Any], side: Side, client: Any, number: int) -> Sample:
    gc.collect()
    before = cpu_seconds(side.pids)
    operations, seconds = workload.run(client, number)
    return Sample(operations, seconds, cpu_seconds(side.pids) - before)


def _result(comparison: Comparison, peer: str, rounds: list[Round], skipped: str | None) -> Result:
    return Result(
        comparison.name,
        comparison.workload.title,
        peer,
        comparison.durable,
        comparison.target,
        rounds,
        skipped,
    )
