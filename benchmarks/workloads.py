"""The workloads of blocking clients: the calls that are timed, the same on both sides.

Rules:

- documents, keys and their order are made from the round's number, before the clock starts;
- what was read is compared with what had to be there, after the clock stopped;
- a round writes its number into every document;
- a round may have a least time, for which its calls are done again and again (`workload.repeated`).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TypeVar

import attrs
import corpus
from peers.interface import Blocking, Side, Timed
from shapes import Pair, Shape
from threaded_calls import in_threads
from workload import SAMPLE, Workload, check, repeated


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

        def work() -> Timed:
            begin = time.perf_counter()
            for pairs in calls:
                write(pairs)
            return Timed(time.perf_counter() - begin, [])

        times, timed = repeated(work, self.least)
        pairs = [pair for pairs in calls for pair in pairs][::SAMPLE]
        for part in _calls(pairs, self.call):
            keys = [key for key, _ in part]
            check(keys, [doc for _, doc in part], client.read_many(keys))
        return times * len(numbers), timed.seconds


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

        def work() -> Timed:
            found = []
            begin = time.perf_counter()
            for part in calls:
                found += read(part)
            return Timed(time.perf_counter() - begin, found)

        times, timed = repeated(work, self.least)
        keys = [key for part in calls for key in part]
        check(keys, [self.shape.make(document, 0) for document in numbers], timed.values)
        return times * len(numbers), timed.seconds


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
        times, timed = repeated(lambda: client.write_each(pairs), self.least)
        _check_written(client, pairs)
        return times * self.count, timed.seconds


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
        times, timed = repeated(lambda: client.read_each(keys), self.least)
        check(keys, [self.shape.make(document, 0) for document in numbers], timed.values)
        return times * self.count, timed.seconds


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
        times, timed = repeated(
            lambda: in_threads(lambda place: client.write_each(shares[place]), self.threads), self.least
        )
        _check_written(client, pairs)
        return times * self.count, timed.seconds


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
        times, timed = repeated(
            lambda: in_threads(lambda place: client.read_each(keys[place]), self.threads), self.least
        )
        expected = [self.shape.make(document, 0) for share in shares for document in share]
        check([key for share in keys for key in share], expected, timed.values)
        return times * self.count, timed.seconds


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

        def work() -> Timed:
            found = []
            begin = time.perf_counter()
            for key, doc in pairs:
                write(key, doc)
                found.append(read(key))
            return Timed(time.perf_counter() - begin, found)

        times, timed = repeated(work, self.least)
        check([key for key, _ in pairs], [doc for _, doc in pairs], timed.values)
        return times * 2 * len(pairs), timed.seconds


def _check_written(client: Blocking, pairs: list[Pair]) -> None:
    keys = [key for key, _ in pairs[::SAMPLE]]
    check(keys, [doc for _, doc in pairs[::SAMPLE]], client.read_many(keys))


_T = TypeVar("_T")


def _calls(given: Sequence[_T], call: int) -> Iterator[Sequence[_T]]:
    for begin in range(0, len(given), call):
        yield given[begin : begin + call]
