"""Which connections `stat` tells of."""

from __future__ import annotations

from collections.abc import Callable

import attrs
from twisted.internet.task import Clock
from work import growth

from pyshard.server.busiest_connections import BusiestConnections


@attrs.define(eq=False)
class Connection:
    """A connection that has had so many operations."""

    operations: int

    def described(self) -> dict[str, object]:
        """What is told of it."""
        return {"operations": self.operations}


def told(busiest: BusiestConnections[Connection]) -> list[object]:
    """The operations of those that are told of."""
    return [one["operations"] for one in busiest.described()]


def test_all_while_they_are_few() -> None:
    """Up to the limit all are told of as they are now, in the order in which they came."""
    connections = {Connection(number): None for number in (1, 3, 2)}
    busiest = BusiestConnections(connections, Clock().seconds, 3)
    assert told(busiest) == [1, 3, 2]
    next(iter(connections)).operations = 7
    assert told(busiest) == [7, 3, 2]
    connections[Connection(0)] = None
    assert told(busiest) == [7, 3, 2]


def test_the_busiest_of_many_once_a_second() -> None:
    """Of many the busiest are told of, as they were within the last second."""
    clock = Clock()
    connections = {Connection(number): None for number in range(10)}
    busiest = BusiestConnections(connections, clock.seconds, 3)
    assert told(busiest) == [9, 8, 7]
    connections[Connection(100)] = None
    clock.advance(0.9)
    assert told(busiest) == [9, 8, 7]
    clock.advance(0.1)
    assert told(busiest) == [100, 9, 8]


def test_many_are_not_looked_at_each_time() -> None:
    """To be told again within a second takes no longer, however many connections there are."""

    def work(number: int) -> Callable[[], object]:
        busiest = BusiestConnections({Connection(each): None for each in range(number)}, Clock().seconds, 10)
        busiest.described()
        return busiest.described

    assert growth(work, 100) < 1.5
