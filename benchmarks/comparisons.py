"""The comparisons: which workload against which peer, and the targets of the project.

Rules:

- a workload has the mix of all shapes, and where it is there for each shape, that one's target is `SHAPE_SHARE` of the
  mix's;
- a name is workload, peer, store and shape, and none is the beginning of another one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal, TypeAlias

import attrs
from amounts import Amounts
from awaited_calls import LoopThread
from in_flight_calls import ReactorThread
from in_flight_workloads import ReadAwaited, ReadInFlight, WriteAwaited, WriteInFlight
from shapes import MIX, SHAPES, Shape
from workload import Workload
from workloads import Large, ReadEach, ReadMany, ReadThreads, WriteEach, WriteMany, WriteThreads
from ycsb import MIXES, Ycsb

#: The kinds of clients that sides have.
Kind: TypeAlias = Literal["blocking", "deferring", "awaiting"]

#: The share of a target that each shape by itself has to reach.
SHAPE_SHARE = 0.6


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
    def shape(self) -> str | None:
        """The name of its documents' shape; None: they are of the workload alone."""
        return None if self.workload.shape is None else self.workload.shape.name

    @property
    def name(self) -> str:
        """What `--only` takes: workload, peer, store, shape."""
        name = f"{self.workload.name}/{self.peer}/{'durable' if self.durable else 'memory'}"
        return name if self.shape is None else f"{name}/{self.shape}"


def comparisons(amounts: Amounts, thread: ReactorThread, loop: LoopThread) -> list[Comparison]:
    """All comparisons, in the order in which they run."""
    return [*_in_memory(amounts, thread, loop), *_durable(amounts, thread, loop)]


def _in_memory(amounts: Amounts, thread: ReactorThread, loop: LoopThread) -> Iterator[Comparison]:
    few, each, threads = amounts.few, amounts.each, amounts.threads
    fewer = attrs.evolve(amounts, calls=max(amounts.calls // 3, 1), shape_calls=max(amounts.shape_calls // 3, 1))
    yield from _bulk(amounts, "redis", False, 1.0, 1.0)
    yield from _bulk(fewer, "redis-cluster", False, 6, 7)  # slow, as the next one is
    yield from _bulk_of(fewer, "memcached", False, MIX)
    yield from _in_flight(amounts, False, 5, thread, loop)
    for awaited in (WriteAwaited, ReadAwaited):
        workload = awaited(MIX, amounts.documents, amounts.in_flight, amounts.width, loop)
        yield Comparison(workload, "memcached-one", clients="awaiting")
    echoed = ReadInFlight(MIX, amounts.documents, amounts.in_flight, amounts.width, thread)
    yield Comparison(echoed, "echo", clients="deferring")
    yield Comparison(WriteEach(MIX, few, each), "redis")
    yield from _each_shape(lambda shape: ReadEach(shape, few, each), "redis", False, 0.7)
    yield from _each_shape(lambda shape: ReadEach(shape, few, each), "original", False, 1.6)
    yield Comparison(ReadEach(MIX, few, each), "memcached")
    yield Comparison(WriteThreads(MIX, few, amounts.threaded, threads), "redis")
    yield Comparison(ReadThreads(MIX, few, amounts.threaded, threads), "redis", target=1.3)
    yield Comparison(Large(max(amounts.large // 4, 2), amounts.large), "redis", target=0.8)
    for mix in MIXES:
        yield Comparison(Ycsb(mix, amounts.users, amounts.ycsb, threads), "redis")


def _durable(amounts: Amounts, thread: ReactorThread, loop: LoopThread) -> Iterator[Comparison]:
    few, threads, least = amounts.few, amounts.threads, amounts.least(True)
    yield from _bulk(amounts, "redis", True, 0.6, 0.8)
    yield from _in_flight(amounts, True, None, thread, loop)
    yield Comparison(WriteEach(MIX, few, amounts.durable_each, least), "redis", True)
    yield Comparison(ReadEach(MIX, few, amounts.each, least), "redis", True)
    yield Comparison(WriteThreads(MIX, few, amounts.threaded // 4, threads, least), "redis", True, target=0.7)
    yield Comparison(WriteEach(MIX, few, amounts.durable_each, least), "etcd", True)
    yield Comparison(WriteThreads(MIX, few, amounts.threaded // 4, threads, least), "etcd", True)
    yield Comparison(ReadThreads(MIX, few, amounts.threaded, threads, least), "redis", True)
    yield Comparison(Large(max(amounts.large // 4, 2), amounts.large, least), "redis", True)
    for mix in MIXES:
        yield Comparison(Ycsb(mix, amounts.users, amounts.ycsb // 4, threads, least), "redis", True)
    for peer in ("sqlite", "diskcache"):
        yield from _bulk_of(attrs.evolve(amounts, calls=max(amounts.calls // 3, 1)), peer, True, MIX)
        yield Comparison(WriteEach(MIX, few, amounts.durable_each, least), peer, True)
        yield Comparison(ReadEach(MIX, few, amounts.each, least), peer, True)


def _bulk(
    amounts: Amounts, peer: str, durable: bool, write_target: float | None, read_target: float | None
) -> Iterator[Comparison]:
    """Bulk writes and reads: of the mix, and of each shape by itself."""
    yield from _bulk_of(amounts, peer, durable, MIX, write_target, read_target)
    shaped = attrs.evolve(amounts, documents=min(amounts.few, amounts.documents), calls=amounts.shape_calls)
    for shape in SHAPES:
        yield from _bulk_of(shaped, peer, durable, shape, _share(write_target), _share(read_target))


def _bulk_of(
    amounts: Amounts,
    peer: str,
    durable: bool,
    shape: Shape,
    write_target: float | None = None,
    read_target: float | None = None,
) -> Iterator[Comparison]:
    documents, calls, call = amounts.documents, amounts.calls, amounts.call
    least = amounts.least(durable)
    yield Comparison(WriteMany(shape, documents, calls, call, least), peer, durable, target=write_target)
    yield Comparison(ReadMany(shape, documents, calls, call, least), peer, durable, target=read_target)


def _each_shape(
    made: Callable[[Shape], Workload[Any]], peer: str, durable: bool, target: float | None
) -> Iterator[Comparison]:
    """A workload of the mix, and of each shape by itself."""
    yield Comparison(made(MIX), peer, durable, target=target)
    for shape in SHAPES:
        yield Comparison(made(shape), peer, durable, target=_share(target))


def _in_flight(
    amounts: Amounts, durable: bool, target: float | None, thread: ReactorThread, loop: LoopThread
) -> Iterator[Comparison]:
    """Single calls, many of them in flight, through the Deferred clients and through those on asyncio."""
    documents, count, width = amounts.documents, amounts.in_flight, amounts.width
    least = amounts.least(durable)
    writes, reads = (
        WriteInFlight(MIX, documents, count, width, thread, least),
        ReadInFlight(MIX, documents, count, width, thread, least),
    )
    yield Comparison(writes, "redis", durable, clients="deferring", target=target)
    yield Comparison(reads, "redis", durable, clients="deferring", target=target)
    awaited_writes = WriteAwaited(MIX, documents, count, width, loop, least)
    awaited_reads = ReadAwaited(MIX, documents, count, width, loop, least)
    yield Comparison(awaited_writes, "redis", durable, clients="awaiting", target=target)
    yield Comparison(awaited_reads, "redis", durable, clients="awaiting", target=target)


def _share(target: float | None) -> float | None:
    return None if target is None else round(SHAPE_SHARE * target, 3)
