"""Which state each shard in reach was told, and who waits until all of them have one.

Rules:

- in a cluster of thousands, thousands may wait. So nobody waits for each shard by itself: what counts is the oldest
  state that any of them has;
- nobody waits for longer than one answer may take (`settings.TIMEOUT`). Else shards that come and go in turn, and take
  no state on, would have everybody wait for ever;
- a shard that was late to take a state on, or left meanwhile, isn't waited for in the next minutes. Else one that never
  does would hold up each change, whenever it has dialed in again. It is told all the same.
"""

from __future__ import annotations

from collections import Counter, deque
from heapq import heappop, heappush
from typing import Generic, NamedTuple, TypeAlias, TypeVar

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from pyshard.settings import settings

#: `ClusterState.order`: of two states the newer one has the larger.
Order: TypeAlias = tuple[int, int]

#: Older than every state.
NOTHING_TOLD: Order = (0, 0)

_LEFT_OUT = 600.0  # seconds for which nobody waits for a shard that was late

_K = TypeVar("_K")


class _StateWait(NamedTuple):
    """Who waits for a state.

    :param end: when it waits no more.
    """

    order: Order
    end: float
    done: Deferred[None]


class ToldStates(Generic[_K]):
    """What the shards in reach were told.

    :param clock: the reactor: times who waits.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._told: dict[_K, Order] = {}
        self._left_out: dict[_K, float] = {}  # shards that were late, and until when nobody waits for them
        self._counted: dict[_K, Order] = {}  # those of `_told` that are waited for
        self._counts: Counter[Order] = Counter()  # how many of these have each state
        self._orders: list[Order] = []  # a heap of these states, and of some that no shard has any more
        self._waiters: deque[_StateWait] = deque()  # as they came, so that neither their states nor their ends fall
        self._next: IDelayedCall | None = None  # when it is looked whose time is over

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
        if self._clock.seconds() >= self._left_out.get(shard, 0.0):
            if not self._counts[order]:
                heappush(self._orders, order)
            self._counts[order] += 1
            self._counted[shard] = order
        self._let_go()

    def forget(self, shard: _K) -> None:
        """A shard isn't in reach any more: nobody waits for it."""
        self._told.pop(shard, None)
        self._uncount(shard)
        self._let_go()

    def leave_out(self, shard: _K) -> None:
        """A shard was late: nobody waits for it in the next minutes."""
        now = self._clock.seconds()
        self._left_out = {one: until for one, until in self._left_out.items() if until > now}
        self._left_out[shard] = now + _LEFT_OUT
        self._uncount(shard)
        self._let_go()

    def wait(self, order: Order) -> Deferred[None]:
        """Wait until every shard in reach that wasn't late has this state, or a later one.

        Who asks waits for a state that others wait for already, at the least.

        :return: a Deferred that fires then, or when that takes too long. Who lacks the state is told all the same.
        """
        done: Deferred[None] = Deferred()
        latest = max(order, self._waiters[-1].order) if self._waiters else order
        self._waiters.append(_StateWait(latest, self._clock.seconds() + settings.TIMEOUT, done))
        self._let_go()
        return done

    # ------------------------------------------------------------------ inside

    def _uncount(self, shard: _K) -> None:
        order = self._counted.pop(shard, None)
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
        while self._waiters and self._is_over(self._waiters[0], oldest):
            self._waiters.popleft().done.callback(None)
            oldest = self._oldest()  # what followed may have changed it
        if self._next is not None and not self._waiters:
            self._next.cancel()
            self._next = None
        elif self._next is None and self._waiters:
            self._next = self._clock.callLater(self._waiters[0].end - self._clock.seconds(), self._look)

    def _is_over(self, waiter: _StateWait, oldest: Order | None) -> bool:
        return oldest is None or oldest >= waiter.order or self._clock.seconds() >= waiter.end

    def _look(self) -> None:
        self._next = None
        self._let_go()
