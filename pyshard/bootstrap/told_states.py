"""Which state each shard in reach was told, and who waits until all of them have one.

In a cluster of thousands, thousands may wait. So nobody waits for each shard by itself: what counts is the oldest state
that any of them has.
"""

from __future__ import annotations

from collections import Counter
from heapq import heappop, heappush
from itertools import count
from typing import Generic, TypeAlias, TypeVar

from twisted.internet.defer import Deferred

#: `ClusterState.order`: of two states the newer one has the larger.
Order: TypeAlias = tuple[int, int]

#: Older than every state.
NOTHING_TOLD: Order = (0, 0)

_K = TypeVar("_K")


class ToldStates(Generic[_K]):
    """What the shards in reach were told."""

    def __init__(self) -> None:
        self._told: dict[_K, Order] = {}
        self._counts: Counter[Order] = Counter()  # how many shards have each state
        self._orders: list[Order] = []  # a heap of these states, and of some that no shard has any more
        self._waiters: list[tuple[Order, int, Deferred[None]]] = []  # a heap
        self._numbers = count()

    @property
    def shards(self) -> list[_K]:
        """The shards in reach."""
        return list(self._told)

    def told(self, shard: _K) -> Order:
        """Which state a shard has; `NOTHING_TOLD`: none, or it isn't in reach."""
        return self._told.get(shard, NOTHING_TOLD)

    def tell(self, shard: _K, order: Order) -> None:
        """A shard in reach has this state now; `NOTHING_TOLD`: it has just come."""
        self._uncount(shard)
        self._told[shard] = order
        if not self._counts[order]:
            heappush(self._orders, order)
        self._counts[order] += 1
        self._let_go()

    def forget(self, shard: _K) -> None:
        """A shard isn't in reach any more: nobody waits for it."""
        self._uncount(shard)
        self._let_go()

    def wait(self, order: Order) -> Deferred[None]:
        """A Deferred that fires when every shard in reach has this state, or a later one."""
        waiter: Deferred[None] = Deferred()
        heappush(self._waiters, (order, next(self._numbers), waiter))
        self._let_go()
        return waiter

    # ------------------------------------------------------------------ inside

    def _uncount(self, shard: _K) -> None:
        order = self._told.pop(shard, None)
        if order is not None:
            self._counts[order] -= 1
            if not self._counts[order]:
                del self._counts[order]

    def _oldest(self) -> Order | None:
        """The oldest state that any shard has; None: none is in reach."""
        while self._orders and self._orders[0] not in self._counts:
            heappop(self._orders)
        return self._orders[0] if self._orders else None

    def _let_go(self) -> None:
        oldest = self._oldest()
        while self._waiters and (oldest is None or oldest >= self._waiters[0][0]):
            heappop(self._waiters)[2].callback(None)
            oldest = self._oldest()  # what followed may have changed it
