"""The comparisons: which workload against which peer, how much of it, and the targets of the project."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import attrs
from awaited_calls import LoopThread
from in_flight_calls import ReactorThread
from workload import Workload
from workloads import (
    Large,
    ReadAwaited,
    ReadEach,
    ReadInFlight,
    ReadMany,
    ReadThreads,
    WriteAwaited,
    WriteEach,
    WriteInFlight,
    WriteMany,
    WriteThreads,
)
from ycsb import MIXES, Ycsb


@attrs.frozen
class Amounts:
    """The amounts of a run.

    :param rounds: of each comparison, after the warm-up.
    :param documents: in a store when the work begins.
    :param few: likewise, where single calls have to fill the store.
    :param calls: bulk calls of a round.
    :param call: documents of one bulk call.
    :param in_flight: single calls of a round with many in flight; `width`: how many.
    :param each: single blocking calls of a round; `durable_each`: writes that wait for the disk.
    :param threaded: calls of all threads together.
    :param large: operations on large documents.
    :param users: YCSB documents.
    :param ycsb: YCSB operations of a round.
    :param scale_rounds: rounds of each step of the scaling, with so many documents or shards.
    """

    rounds: int = 7
    documents: int = 100_000
    few: int = 10_000
    calls: int = 60
    call: int = 1000
    in_flight: int = 20_000
    width: int = 500
    each: int = 1500
    durable_each: int = 500
    threaded: int = 4000
    threads: int = 16
    large: int = 400
    users: int = 10_000
    ycsb: int = 5000
    scale_rounds: int = 3
    scale_documents: tuple[int, ...] = (10_000, 100_000, 1_000_000)
    scale_shards: tuple[int, ...] = (1, 2, 4)


FULL = Amounts()

#: For the smoke test: it runs every line of code, and its figures mean nothing.
QUICK = Amounts(
    rounds=1,
    documents=300,
    few=100,
    calls=2,
    call=100,
    in_flight=200,
    width=50,
    each=20,
    durable_each=10,
    threaded=64,
    large=4,
    users=50,
    ycsb=64,
    scale_rounds=1,
    scale_documents=(300,),
    scale_shards=(2,),
)


#: The kinds of clients that sides have.
Kind: TypeAlias = Literal["blocking", "deferring", "awaiting"]


@attrs.frozen
class Comparison:
    """A workload that pyshard and a peer do, and the target.

    :param peer: the name of a side in `fleet`.
    :param durable: whether both sides acknowledge only what is on the disk.
    :param clients: the kind of clients that do it.
    :param target: the least ratio that the project aims at; None: no target.
    """

    workload: Workload[Any]
    peer: str
    durable: bool = False
    clients: Kind = "blocking"
    target: float | None = None

    @property
    def name(self) -> str:
        """What `--only` takes: workload, peer, store."""
        return f"{self.workload.name}/{self.peer}/{'durable' if self.durable else 'memory'}"


def comparisons(amounts: Amounts, thread: ReactorThread, loop: LoopThread) -> list[Comparison]:
    """All comparisons, in the order in which they run."""
    found: list[Comparison] = []
    documents, few, calls, call = amounts.documents, amounts.few, amounts.calls, amounts.call
    for durable in (False, True):
        each = amounts.durable_each if durable else amounts.each
        threaded = amounts.threaded // 4 if durable else amounts.threaded
        writes, reads = WriteMany(documents, calls, call), ReadMany(documents, calls, call)
        found += [
            Comparison(writes, "redis", durable, target=1.0),
            Comparison(reads, "redis", durable, target=None if durable else 1.0),
        ]
        if not durable:
            fewer = max(calls // 3, 1)  # these peers are slow
            writes, reads = WriteMany(documents, fewer, call), ReadMany(documents, fewer, call)
            found += [
                Comparison(writes, "redis-cluster", target=6),
                Comparison(reads, "redis-cluster", target=6),
                Comparison(writes, "memcached"),
                Comparison(reads, "memcached"),
            ]
        tx_writes = WriteInFlight(documents, amounts.in_flight, amounts.width, thread)
        tx_reads = ReadInFlight(documents, amounts.in_flight, amounts.width, thread)
        found += [
            Comparison(tx_writes, "redis", durable, clients="deferring"),
            Comparison(tx_reads, "redis", durable, clients="deferring", target=None if durable else 5),
        ]
        aio_writes = WriteAwaited(documents, amounts.in_flight, amounts.width, loop)
        aio_reads = ReadAwaited(documents, amounts.in_flight, amounts.width, loop)
        found += [
            Comparison(aio_writes, "redis", durable, clients="awaiting"),
            Comparison(aio_reads, "redis", durable, clients="awaiting", target=None if durable else 5),
        ]
        if not durable:
            found.append(Comparison(tx_reads, "echo", clients="deferring", target=10))
        found += [
            Comparison(WriteEach(few, each), "redis", durable),
            Comparison(ReadEach(few, amounts.each), "redis", durable, target=None if durable else 1.0),
        ]
        if not durable:
            found += [
                Comparison(ReadEach(few, amounts.each), "original", target=1.5),
                Comparison(ReadEach(few, amounts.each), "memcached"),
            ]
        found += [
            Comparison(WriteThreads(few, threaded, amounts.threads), "redis", durable),
            Comparison(
                ReadThreads(few, amounts.threaded, amounts.threads), "redis", durable, target=None if durable else 1.0
            ),
            Comparison(
                Large(max(amounts.large // 4, 2), amounts.large), "redis", durable, target=None if durable else 0.7
            ),
        ]
        ycsb = amounts.ycsb // 4 if durable else amounts.ycsb
        found += [Comparison(Ycsb(mix, amounts.users, ycsb, amounts.threads), "redis", durable) for mix in MIXES]
    return found
