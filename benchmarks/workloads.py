"""The workloads: the calls that are timed, the same on both sides.

Rules:

- documents, keys and their order are made from the round's number, before the clock starts;
- what was read is compared with what had to be there, after the clock stopped;
- a round writes its number into every document;
- a round may have a least time, for which its calls are done again and again (`workload.repeated`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import attrs
import corpus
from awaited_calls import LoopThread, read_awaited, write_awaited
from in_flight_calls import ReactorThread, read_in_flight, write_in_flight
from peers.interface import Awaiting, Blocking, Deferring, Side, Timed
from shapes import Pair, Shape
from threaded_calls import in_threads
from workload import SAMPLE, Workload, check, repeated

from pyshard import Document


@attrs.frozen
class WriteMany(Workload[Blocking]):
    """Bulk writes.

    :param call: documents of one call.
    """

    shape: Shape
    documents: int
    calls: int
    call: int
    least: float = 0.0
    name = "write-many"
    title = "bulk write"

    def run(self, client: Blocking, number: int) -> tuple[int, float]:
        """See `Workload`."""
        numbers = corpus.some(self.documents, self.calls * self.call, number)
        calls = [[self.shape.pair(document, number) for document in part] for part in _calls(numbers, self.call)]
        write = client.write_many

        def work() -> float:
            begin = time.perf_counter()
            for pairs in calls:
                write(pairs)
            return time.perf_counter() - begin

        times, seconds = repeated(work, self.least)
        pairs = [pair for pairs in calls for pair in pairs][::SAMPLE]
        for part in _calls(pairs, self.call):
            keys = [key for key, _ in part]
            check(keys, [doc for _, doc in part], client.read_many(keys))
        return times * len(numbers), seconds


@attrs.frozen
class ReadMany(Workload[Blocking]):
    """Bulk reads; see `WriteMany`."""

    shape: Shape
    documents: int
    calls: int
    call: int
    least: float = 0.0
    name = "read-many"
    title = "bulk read"

    def run(self, client: Blocking, number: int) -> tuple[int, float]:
        """See `Workload`."""
        numbers = corpus.some(self.documents, self.calls * self.call, number)
        calls = [[self.shape.key(document) for document in part] for part in _calls(numbers, self.call)]
        read = client.read_many
        answers: list[list[Document | None]] = []

        def work() -> float:
            begin = time.perf_counter()
            answers[:] = [read(keys) for keys in calls]
            return time.perf_counter() - begin

        times, seconds = repeated(work, self.least)
        for keys, part, found in zip(calls, _calls(numbers, self.call), answers, strict=True):
            check(keys, [self.shape.make(document, 0) for document in part], found)
        return times * len(numbers), seconds


@attrs.frozen
class WriteEach(Workload[Blocking]):
    """One blocking write at a time."""

    shape: Shape
    documents: int
    count: int
    least: float = 0.0
    name = "write-each"
    title = "one blocking write at a time"

    def run(self, client: Blocking, number: int) -> tuple[int, float]:
        """See `Workload`."""
        pairs = [self.shape.pair(document, number) for document in corpus.some(self.documents, self.count, number)]
        times, seconds = repeated(lambda: client.write_each(pairs).seconds, self.least)
        _check_written(client, pairs)
        return times * self.count, seconds


@attrs.frozen
class ReadEach(Workload[Blocking]):
    """One blocking read at a time."""

    shape: Shape
    documents: int
    count: int
    least: float = 0.0
    name = "read-each"
    title = "one blocking read at a time"

    def run(self, client: Blocking, number: int) -> tuple[int, float]:
        """See `Workload`."""
        numbers = corpus.some(self.documents, self.count, number)
        keys = [self.shape.key(document) for document in numbers]
        times, seconds, values = _repeated_reads(lambda: client.read_each(keys), self.least)
        check(keys, [self.shape.make(document, 0) for document in numbers], values)
        return times * self.count, seconds


@attrs.frozen
class WriteThreads(Workload[Blocking]):
    """Threads that share a client; each makes one blocking write at a time."""

    shape: Shape
    documents: int
    count: int
    threads: int
    least: float = 0.0
    name = "write-threads"
    title = "16 threads of blocking writes"

    def run(self, client: Blocking, number: int) -> tuple[int, float]:
        """See `Workload`."""
        pairs = [self.shape.pair(document, number) for document in corpus.some(self.documents, self.count, number)]
        shares = [pairs[first :: self.threads] for first in range(self.threads)]
        times, seconds = repeated(
            lambda: in_threads(lambda place: client.write_each(shares[place]), self.threads).seconds, self.least
        )
        _check_written(client, pairs)
        return times * self.count, seconds


@attrs.frozen
class ReadThreads(Workload[Blocking]):
    """Threads that share a client; each makes one blocking read at a time."""

    shape: Shape
    documents: int
    count: int
    threads: int
    least: float = 0.0
    name = "read-threads"
    title = "16 threads of blocking reads"

    def run(self, client: Blocking, number: int) -> tuple[int, float]:
        """See `Workload`."""
        numbers = corpus.some(self.documents, self.count, number)
        shares = [numbers[first :: self.threads] for first in range(self.threads)]
        keys = [[self.shape.key(document) for document in share] for share in shares]
        times, seconds, values = _repeated_reads(
            lambda: in_threads(lambda place: client.read_each(keys[place]), self.threads), self.least
        )
        expected = [self.shape.make(document, 0) for share in shares for document in share]
        check([key for share in keys for key in share], expected, values)
        return times * self.count, seconds


@attrs.frozen
class Large(Workload[Blocking]):
    """One write of a large document and one read of it, again and again."""

    documents: int
    count: int
    least: float = 0.0
    name = "large"
    title = "documents of 100 KiB, write and read"

    def prepare(self, side: Side) -> None:
        """See `Workload`."""
        side.fill([(corpus.large_key(document), corpus.large(document, 0))] for document in range(self.documents))

    def run(self, client: Blocking, number: int) -> tuple[int, float]:
        """See `Workload`; a write and a read are two operations."""
        numbers = corpus.some(self.documents, self.count // 2, number)
        pairs = [(corpus.large_key(document), corpus.large(document, number)) for document in numbers]
        write, read = client.write, client.read
        found: list[Document | None] = []

        def work() -> float:
            found.clear()
            begin = time.perf_counter()
            for key, doc in pairs:
                write(key, doc)
                found.append(read(key))
            return time.perf_counter() - begin

        times, seconds = repeated(work, self.least)
        check([key for key, _ in pairs], [doc for _, doc in pairs], found)
        return times * 2 * len(pairs), seconds


@attrs.frozen
class WriteInFlight(Workload[Deferring]):
    """Single writes through a Deferred client, many of them in flight."""

    shape: Shape
    documents: int
    count: int
    width: int
    thread: ReactorThread
    least: float = 0.0
    name = "write-in-flight"
    title = "single writes, 500 in flight"

    def run(self, client: Deferring, number: int) -> tuple[int, float]:
        """See `Workload`."""
        pairs = [self.shape.pair(document, number) for document in corpus.some(self.documents, self.count, number)]
        times, seconds = repeated(
            lambda: self.thread.call(lambda: write_in_flight(client, pairs, self.width)).seconds, self.least
        )
        keys = [key for key, _ in pairs[::SAMPLE]]
        found = self.thread.call(lambda: read_in_flight(client, keys, self.width)).values
        check(keys, [doc for _, doc in pairs[::SAMPLE]], found)
        return times * self.count, seconds


@attrs.frozen
class ReadInFlight(Workload[Deferring]):
    """Single reads through a Deferred client, many of them in flight."""

    shape: Shape
    documents: int
    count: int
    width: int
    thread: ReactorThread
    least: float = 0.0
    name = "read-in-flight"
    title = "single reads, 500 in flight"

    def run(self, client: Deferring, number: int) -> tuple[int, float]:
        """See `Workload`."""
        numbers = corpus.some(self.documents, self.count, number)
        keys = [self.shape.key(document) for document in numbers]
        times, seconds, values = _repeated_reads(
            lambda: self.thread.call(lambda: read_in_flight(client, keys, self.width)), self.least
        )
        check(keys, [self.shape.make(document, 0) for document in numbers], values)
        return times * self.count, seconds


@attrs.frozen
class WriteAwaited(Workload[Awaiting]):
    """Single writes through an asyncio client, many of them in flight."""

    shape: Shape
    documents: int
    count: int
    width: int
    thread: LoopThread
    least: float = 0.0
    name = "write-awaited"
    title = "single writes on asyncio, 500 in flight"

    def run(self, client: Awaiting, number: int) -> tuple[int, float]:
        """See `Workload`."""
        pairs = [self.shape.pair(document, number) for document in corpus.some(self.documents, self.count, number)]
        times, seconds = repeated(
            lambda: self.thread.call(lambda: write_awaited(client, pairs, self.width)).seconds, self.least
        )
        keys = [key for key, _ in pairs[::SAMPLE]]
        found = self.thread.call(lambda: read_awaited(client, keys, self.width)).values
        check(keys, [doc for _, doc in pairs[::SAMPLE]], found)
        return times * self.count, seconds


@attrs.frozen
class ReadAwaited(Workload[Awaiting]):
    """Single reads through an asyncio client, many of them in flight."""

    shape: Shape
    documents: int
    count: int
    width: int
    thread: LoopThread
    least: float = 0.0
    name = "read-awaited"
    title = "single reads on asyncio, 500 in flight"

    def run(self, client: Awaiting, number: int) -> tuple[int, float]:
        """See `Workload`."""
        numbers = corpus.some(self.documents, self.count, number)
        keys = [self.shape.key(document) for document in numbers]
        times, seconds, values = _repeated_reads(
            lambda: self.thread.call(lambda: read_awaited(client, keys, self.width)), self.least
        )
        check(keys, [self.shape.make(document, 0) for document in numbers], values)
        return times * self.count, seconds


def _repeated_reads(read: Callable[[], Timed], least: float) -> tuple[int, float, list[Document | None]]:
    """Read again and again; how often, the seconds, and the values of the last time."""
    values: list[Document | None] = []

    def work() -> float:
        timed = read()
        values[:] = timed.values
        return timed.seconds

    return (*repeated(work, least), values)


def _check_written(client: Blocking, pairs: list[Pair]) -> None:
    keys = [key for key, _ in pairs[::SAMPLE]]
    check(keys, [doc for _, doc in pairs[::SAMPLE]], client.read_many(keys))


_T = TypeVar("_T")


def _calls(given: Sequence[_T], call: int) -> Iterator[Sequence[_T]]:
    for begin in range(0, len(given), call):
        yield given[begin : begin + call]
