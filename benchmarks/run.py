"""The rounds of a comparison: pyshard, its peer, pyshard, its peer, …"""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import attrs
from comparisons import Comparison
from fleet import Fleet
from measure import Round, Sample
from peers.interface import Side
from processes import Unavailable, cpu_seconds
from workloads import Workload


@attrs.frozen
class Result:
    """What came of a comparison.

    :param name: the comparison's.
    :param workload: its title.
    :param peer: how the other side is called.
    :param rounds: empty when it was skipped.
    :param skipped: why.
    """

    name: str
    workload: str
    peer: str
    durable: bool
    target: float | None
    rounds: list[Round]
    skipped: str | None = None


def compare(comparison: Comparison, fleet: Fleet, rounds: int) -> Result:
    """Do all rounds of a comparison, or say why it can't be done."""
    try:
        sides = [fleet.side(name, comparison.durable) for name in ("pyshard", comparison.peer)]
        get: Callable[[str, bool], Any] = fleet.deferring if comparison.deferring else fleet.blocking
        clients = [get(name, comparison.durable) for name in ("pyshard", comparison.peer)]
    except Unavailable as error:
        return _result(comparison, comparison.peer, [], str(error))
    done = alternate(comparison.workload, sides, clients, rounds)
    return _result(comparison, clients[1].title, done, None)


def alternate(workload: Workload[Any], sides: list[Side], clients: list[Any], rounds: int) -> list[Round]:
    """Do a workload on both sides by turns.

    :param sides: pyshard and its peer.
    :param clients: one of each.
    """
    for side, client in zip(sides, clients, strict=True):
        workload.prepare(side)
        workload.run(client, 0)
    return [
        Round(*(_sample(workload, side, client, number) for side, client in zip(sides, clients, strict=True)))
        for number in range(1, rounds + 1)
    ]


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
