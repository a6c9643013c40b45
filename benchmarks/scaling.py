"""Measures rates and memory at several scales: from few documents to many, from one shard to several.

Each scale begins with new servers, since a process rarely gives memory back that it once used.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from amounts import Amounts
from fleet import Fleet
from in_flight_calls import ReactorThread
from in_flight_workloads import ReadInFlight, WriteInFlight
from peers.interface import Side
from processes import Unavailable, resident_bytes
from ratios import per_document
from results import Result, Scale
from rounds import alternate
from shapes import FLAT
from workload import Workload
from workloads import (
    Large,
    ReadEach,
    ReadMany,
    ReadThreads,
    WriteEach,
    WriteMany,
    WriteThreads,
)

#: Documents stored before memory is measured first, so that connections and their buffers don't count.
_FIRST = 100


def steps(amounts: Amounts) -> list[tuple[int, int]]:
    """Pairs of documents and shards: documents vary with two shards, shards with the usual number of documents."""
    found = [(documents, 2) for documents in amounts.scale_documents]
    found += [(amounts.documents, shards) for shards in amounts.scale_shards]
    return list(dict.fromkeys(found))


def scale(amounts: Amounts, documents: int, shards: int, fleet: Fleet, thread: ReactorThread) -> Scale:
    """Measure at one scale."""
    sides: list[Side] = []
    try:
        sides.append(fleet.new("pyshard", shards=shards))
        sides.append(fleet.new("redis"))
        return _scale(amounts, documents, shards, fleet, sides, thread)
    except Unavailable as error:
        return Scale(documents, shards, 0, 0, [], str(error))
    finally:
        for side in sides:
            side.close()


def _scale(
    amounts: Amounts, documents: int, shards: int, fleet: Fleet, sides: list[Side], thread: ReactorThread
) -> Scale:
    ours, peers = (_fill(side, documents) for side in sides)
    results = []
    for workload, deferring in _workloads(amounts, documents, thread):
        clients: list[Any] = [fleet.new_deferring(side) if deferring else side.blocking() for side in sides]
        if isinstance(workload, Large):
            for side in sides:
                workload.prepare(side)
        rounds = alternate(workload, sides, clients, amounts.scale_rounds)
        results.append(
            Result(f"{workload.name}/redis/memory", workload.title, clients[1].title, False, None, None, rounds)
        )
        for client in clients:
            if deferring:
                fleet.end_deferring(client)
            else:
                client.close()
    return Scale(documents, shards, ours, peers, results)


def _fill(side: Side, documents: int) -> float:
    """Store the documents, flat rows.

    :return: the resident bytes of the servers per document.
    """
    first = min(_FIRST, documents // 2)
    side.fill(FLAT.parts(first, 0, first))
    before = resident_bytes(side.pids)
    side.fill(FLAT.parts(documents, 0, 1000))
    return per_document(before, resident_bytes(side.pids), documents - first)


def _workloads(amounts: Amounts, documents: int, thread: ReactorThread) -> Iterator[tuple[Workload[Any], bool]]:
    """The workloads, and whether each takes a Deferred client. Reads come first: they expect what `_fill` stored."""
    calls = max(amounts.calls // 2, 1)
    in_flight = amounts.in_flight // 2
    each = amounts.each // 2
    threaded = amounts.threaded // 2
    yield ReadMany(FLAT, documents, calls, amounts.call), False
    yield ReadInFlight(FLAT, documents, in_flight, amounts.width, thread), True
    yield ReadEach(FLAT, documents, each), False
    yield ReadThreads(FLAT, documents, threaded, amounts.threads), False
    yield WriteMany(FLAT, documents, calls, amounts.call), False
    yield WriteInFlight(FLAT, documents, in_flight, amounts.width, thread), True
    yield WriteEach(FLAT, documents, each), False
    yield WriteThreads(FLAT, documents, threaded, amounts.threads), False
    yield Large(max(amounts.large // 4, 2), amounts.large // 2), False
