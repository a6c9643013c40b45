"""What `stat` tells of a daemon's connections: of all where they are few, else of the busiest.

Rules:

- To tell of them takes the same short time, however many there are.
- The busiest are those over which most operations have come. They are looked for, and described, once a second at the
  most.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection
from operator import attrgetter
from typing import Generic, Protocol, TypeVar

from pyshard.settings import settings

_EVERY = 1.0  # seconds


class Described(Protocol):
    """A connection whose operations are counted."""

    operations: int

    def described(self) -> dict[str, object]:
        """What is told of it."""
        ...


_C = TypeVar("_C", bound=Described)


class BusiestConnections(Generic[_C]):
    """The busiest of some connections.

    :param connections: all that there are; the collection changes as they come and go.
    :param seconds: the clock.
    :param most: how many are told of.
    """

    def __init__(
        self, connections: Collection[_C], seconds: Callable[[], float], most: int = settings.STAT_CONNECTIONS
    ) -> None:
        self._connections = connections
        self._seconds = seconds
        self._most = most
        self._told: list[dict[str, object]] = []
        self._next_look = seconds()

    def described(self) -> list[dict[str, object]]:
        """What is told of them: how they are now, or, where they are many, how they were within the last second."""
        if len(self._connections) <= self._most:
            return [connection.described() for connection in self._connections]
        if self._seconds() >= self._next_look:
            found = heapq.nlargest(self._most, self._connections, key=attrgetter("operations"))
            self._told = [connection.described() for connection in found]
            self._next_look = self._seconds() + _EVERY
        return self._told
