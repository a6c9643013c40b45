"""The workloads of Deferred and asyncio clients, with many calls in flight; for their rules see `workloads`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import attrs
import corpus
from peers.interface import Awaiting, Deferring, Timed
from shapes import Shape
from workload import SAMPLE, Workload, check, repeated

from pyshard import Document

_C = TypeVar("_C")
_C_contra = TypeVar("_C_contra", contravariant=True)


class CallsInFlight(Protocol[_C_contra]):
    """Single calls of one kind of clients, many of them in flight, in the thread that such clients want."""

    def write(self, client: _C_contra, pairs: Sequence[tuple[str, Document]], width: int) -> Timed:
        """Store documents; `width` calls are in flight."""
        ...

    def read(self, client: _C_contra, keys: Sequence[str], width: int) -> Timed:
        """Look documents up."""
        ...


@attrs.frozen
class _Writes(Workload[_C]):
    shape: Shape
    documents: int
    count: int
    width: int
    calls: CallsInFlight[_C]
    least: float = 0.0

    def run(self, client: _C, number: int) -> tuple[int, float]:
        """See `Workload`."""
        pairs = [self.shape.pair(document, number) for document in corpus.some(self.documents, self.count, number)]
        times, timed = repeated(lambda: self.calls.write(client, pairs, self.width), self.least)
        keys = [key for key, _ in pairs[::SAMPLE]]
        check(keys, [doc for _, doc in pairs[::SAMPLE]], self.calls.read(client, keys, self.width).values)
        return times * self.count, timed.seconds


@attrs.frozen
class _Reads(Workload[_C]):
    shape: Shape
    documents: int
    count: int
    width: int
    calls: CallsInFlight[_C]
    least: float = 0.0

    def run(self, client: _C, number: int) -> tuple[int, float]:
        """See `Workload`."""
        numbers = corpus.some(self.documents, self.count, number)
        keys = [self.shape.key(document) for document in numbers]
        times, timed = repeated(lambda: self.calls.read(client, keys, self.width), self.least)
        check(keys, [self.shape.make(document, 0) for document in numbers], timed.values)
        return times * self.count, timed.seconds


class WriteInFlight(_Writes[Deferring]):
    """Single writes through a Deferred client, many of them in flight."""

    name = "write-in-flight"
    title = "single writes, 500 in flight"


class ReadInFlight(_Reads[Deferring]):
    """Single reads through a Deferred client, many of them in flight."""

    name = "read-in-flight"
    title = "single reads, 500 in flight"


class WriteAwaited(_Writes[Awaiting]):
    """Single writes through an asyncio client, many of them in flight."""

    name = "write-awaited"
    title = "single writes on asyncio, 500 in flight"


class ReadAwaited(_Reads[Awaiting]):
    """Single reads through an asyncio client, many of them in flight."""

    name = "read-awaited"
    title = "single reads on asyncio, 500 in flight"
