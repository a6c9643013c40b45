"""The interfaces of a side: its servers, its blocking client, its Deferred client, its asyncio client.

Rules:

- the loops that are timed are the same code for every side;
- a side's own part of a loop is as thin as its library allows: encode, call, decode;
- a peer is used as its own users use it: its documents are encoded by `messagepack`, never by pyshard's codec.
"""

from __future__ import annotations

import abc
import time
from collections.abc import Awaitable, Iterable, Sequence
from contextlib import closing
from typing import Any, ClassVar

import attrs
from shapes import Pair
from twisted.internet.defer import Deferred

from pyshard import Document


@attrs.frozen
class Timed:
    """The time that a loop took, and the documents that it read.

    :param values: the documents read, in order; None where there was none. Empty for loops that only write.
    """

    seconds: float
    values: list[Document | None]


class Blocking(abc.ABC):
    """A client for programs without a reactor. Calls of several threads may overlap.

    :cvar title: names it and its servers in tables.
    """

    title: ClassVar[str]

    @abc.abstractmethod
    def write(self, key: str, doc: Document) -> None:
        """Store a document."""

    @abc.abstractmethod
    def read(self, key: str) -> Document | None:
        """Look a document up."""

    @abc.abstractmethod
    def write_many(self, pairs: list[Pair]) -> None:
        """Store documents, with one call of the library."""

    @abc.abstractmethod
    def read_many(self, keys: list[str]) -> list[Document | None]:
        """Look documents up, with one call of the library."""

    @abc.abstractmethod
    def close(self) -> None:
        """End its connections."""

    def write_each(self, pairs: Sequence[Pair]) -> Timed:
        """Store documents, one call after the other."""
        write = self.write
        begin = time.perf_counter()
        for key, doc in pairs:
            write(key, doc)
        return Timed(time.perf_counter() - begin, [])

    def read_each(self, keys: Sequence[str]) -> Timed:
        """Look documents up, one call after the other."""
        read = self.read
        begin = time.perf_counter()
        values = [read(key) for key in keys]
        return Timed(time.perf_counter() - begin, values)


class Deferring(abc.ABC):
    """A client for programs with a reactor; used in the reactor's thread only."""

    title: ClassVar[str]

    @abc.abstractmethod
    def write(self, key: str, doc: Document) -> Deferred[object]:
        """Store a document; the Deferred fires when the write is acknowledged."""

    @abc.abstractmethod
    def read(self, key: str) -> Deferred[object]:
        """Look a document up; the Deferred fires with an answer for `value`."""

    @abc.abstractmethod
    def value(self, answer: object) -> Document | None:
        """The document of an answer."""

    @abc.abstractmethod
    def close(self) -> Deferred[None]:
        """End its connections."""


class Awaiting(abc.ABC):
    """A client for programs on asyncio; used on one event loop only."""

    title: ClassVar[str]

    @abc.abstractmethod
    def write(self, key: str, doc: Document) -> Awaitable[object]:
        """Store a document; done when the write is acknowledged."""

    @abc.abstractmethod
    def read(self, key: str) -> Awaitable[object]:
        """Look a document up; gives an answer for `value`."""

    @abc.abstractmethod
    def value(self, answer: object) -> Document | None:
        """The document of an answer."""

    @abc.abstractmethod
    async def close(self) -> None:
        """End its connections."""


class Side(abc.ABC):
    """Servers, or files alone, and clients for them.

    :ivar pids: the processes that store documents; empty where the client's own does.
    """

    pids: list[int]

    def blocking(self) -> Blocking:
        """A new blocking client."""
        raise NotImplementedError

    async def deferring(self, reactor: Any) -> Deferring:
        """A new Deferred client; called in the reactor's thread."""
        raise NotImplementedError

    async def awaiting(self) -> Awaiting:
        """A new asyncio client; called on its event loop."""
        raise NotImplementedError

    def fill(self, calls: Iterable[list[Pair]]) -> None:
        """Store documents, without being timed.

        :param calls: the documents of each call.
        """
        with closing(self.blocking()) as client:
            for pairs in calls:
                client.write_many(pairs)

    @abc.abstractmethod
    def close(self) -> None:
        """End the servers."""
