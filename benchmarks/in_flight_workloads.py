"""The workloads of Deferred and asyncio clients, with many calls in flight; for their rules see `workloads`."""

from __future__ import annotations

import attrs
import corpus
from awaited_calls import LoopThread, read_awaited, write_awaited
from in_flight_calls import ReactorThread, read_in_flight, write_in_flight
from peers.interface import Awaiting, Deferring
from shapes import Shape
from workload import SAMPLE, Workload, check, repeated


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
        times, timed = repeated(
            lambda: self.thread.call(lambda: write_in_flight(client, pairs, self.width)), self.least
        )
        keys = [key for key, _ in pairs[::SAMPLE]]
        found = self.thread.call(lambda: read_in_flight(client, keys, self.width)).values
        check(keys, [doc for _, doc in pairs[::SAMPLE]], found)
        return times * self.count, timed.seconds


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
        times, timed = repeated(lambda: self.thread.call(lambda: read_in_flight(client, keys, self.width)), self.least)
        check(keys, [self.shape.make(document, 0) for document in numbers], timed.values)
        return times * self.count, timed.seconds


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
        times, timed = repeated(lambda: self.thread.call(lambda: write_awaited(client, pairs, self.width)), self.least)
        keys = [key for key, _ in pairs[::SAMPLE]]
        found = self.thread.call(lambda: read_awaited(client, keys, self.width)).values
        check(keys, [doc for _, doc in pairs[::SAMPLE]], found)
        return times * self.count, timed.seconds


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
        times, timed = repeated(lambda: self.thread.call(lambda: read_awaited(client, keys, self.width)), self.least)
        check(keys, [self.shape.make(document, 0) for document in numbers], timed.values)
        return times * self.count, timed.seconds
