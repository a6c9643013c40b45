"""How the figures move: from few documents to many, and from one shard to several. And memory per document.

Rule kept here: each step begins with servers that have held nothing yet, since memory that was once used is rarely
given back.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import corpus
from comparisons import Amounts
from fleet import Fleet
from inflight import ReactorThread
from measure import per_document
from peers.interface import Side
from processes import Unavailable, resident_bytes
from results import Result, Scale
from run import alternate
from workload import Workload
from workloads import (
    Large,
    ReadEach,
    ReadInFlight,
    ReadMany,
    ReadThreads,
    WriteEach,
    WriteInFlight,
    WriteMany,
    WriteThreads,
)

#: Documents that are there before memory is looked at for the first time, so that connections and their buffers are.
_FIRST = 100


def steps(amounts: Amounts) -> list[tuple[int, int]]:
    """Pairs of documents and shards: the documents vary with two shards, the shards with the usual documents."""
    found = [(documents, 2) for documents in amounts.scale_documents]
    found += [(amounts.documents, shards) for shards in amounts.scale_shards]
    return list(dict.fromkeys(found))


def scale(amounts: Amounts, documents: int, shards: int, fleet: Fleet, thread: ReactorThread) -> Scale:
    """One step."""
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
        results.append(Result(f"{workload.name}/redis/memory", workload.title, clients[1].title, False, None, rounds))
        for client in clients:
            if deferring:
                fleet.end_deferring(client)
            else:
                client.close()
    return Scale(documents, shards, ours, peers, results)


def _fill(side: Side, documents: int) -> float:
    """Store the documents; resident bytes of the servers for each."""
    first = min(_FIRST, documents // 2)
    side.fill([[(corpus.key(number), corpus.small(number, 0)) for number in range(first)]])
    before = resident_bytes(side.pids)
    side.fill(corpus.small_pairs(documents, 0, 1000))
    return per_document(before, resident_bytes(side.pids), documents - first)


def _workloads(amounts: Amounts, documents: int, thread: ReactorThread) -> Iterator[tuple[Workload[Any], bool]]:
    """Workloads, and whether they take Deferred clients. Reads come first: they expect what `_fill` has stored."""
    calls = max(amounts.calls // 2, 1)
    in_flight = amounts.in_flight // 2
    each = amounts.each // 2
    threaded = amounts.threaded // 2
    yield ReadMany(documents, calls, amounts.call), False
    yield ReadInFlight(documents, in_flight, amounts.width, thread), True
    yield ReadEach(documents, each), False
    yield ReadThreads(documents, threaded, amounts.threads), False
    yield WriteMany(documents, calls, amounts.call), False
    yield WriteInFlight(documents, in_flight, amounts.width, thread), True
    yield WriteEach(documents, each), False
    yield WriteThreads(documents, threaded, amounts.threads), False
    yield Large(max(amounts.large // 4, 2), amounts.large // 2), False
