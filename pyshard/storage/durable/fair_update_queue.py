"""The order of updates that wait for the disk: fair between senders. Pure.

It is self-clocked fair queueing (S. J. Golestani, "A self-clocked fair queueing scheme for broadband applications",
1994). Each update gets a tag when it comes: the tag of its sender's update before it, or of the one that was taken last
if that is larger, plus its cost. The update with the least tag is taken first.

Rules:

- updates of one sender are taken in the order in which they came, also where some were taken and are put back;
- whoever asks for little comes before those that have much waiting, and nobody can save up time for later;
- connections of one address share what the address gets: a cost counts once for each of them that waits;
- what is to come first costs nothing, so its tag is 0. Behind what its sender has waiting it has the tag of that;
- where large updates have to wait, small ones of others can be taken before them. A small one behind a large one of its
  own sender waits as that does, so that their order stays;
- nothing is kept of senders of whom nothing waits or is out.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import Any, Generic, NamedTuple, TypeVar

from pyshard.storage.interface import Sender

_U = TypeVar("_U")

#: Bytes that an update counts at the least.
LEAST_COST = 1024

#: Bytes of memory of the largest update that is small: some hundred changes, a millisecond or a few.
SMALL = 64 * 1024


class WaitingUpdate(NamedTuple, Generic[_U]):
    """An update that waits. The first two fields order it, and no two are alike in both.

    :ivar cost: bytes that it counts against the others.
    :ivar changes: how many records it may change.
    :ivar large: whether it is large, or behind a large one of its sender.
    """

    tag: float
    number: int
    update: _U
    sender: Sender
    cost: int
    changes: int
    large: bool = False


class _Flow:
    """What there is of one sender.

    :ivar updates: how many wait, or were taken and are neither done nor put back.
    :ivar tag: of the last of them.
    :ivar large: how many of them are large, or behind a large one.
    """

    __slots__ = ("large", "tag", "updates")

    def __init__(self) -> None:
        self.updates, self.tag, self.large = 0, 0.0, 0


class UpdateQueue(Generic[_U]):
    """Updates that wait, in the order in which they are to be committed."""

    def __init__(self) -> None:
        self._small: list[WaitingUpdate[_U]] = []  # a heap
        self._large: list[WaitingUpdate[_U]] = []  # another one, with small ones behind large ones of their senders
        self._flows: dict[Sender, _Flow] = {}
        self._of_address: dict[str, int] = {}  # senders of which there is something
        self._level = 0.0  # the tag that was taken last
        self._numbers = count()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._small) + len(self._large)

    @property
    def first(self) -> WaitingUpdate[_U] | None:
        """The one to be taken next, or None."""
        small, large = self._small, self._large
        if small and large:
            return min(large[0], small[0])
        return small[0] if small else large[0] if large else None

    @property
    def first_small(self) -> WaitingUpdate[_U] | None:
        """The one to be taken next where large ones wait on: a small one that is behind no large one of its sender."""
        return self._small[0] if self._small else None

    def add(self, update: _U, sender: Sender, cost: int, changes: int, first: bool = False) -> None:
        """Have an update wait.

        :param first: whether it is to come before what others have waiting.
        """
        flow, address = self._flows.get(sender), sender.address
        if flow is None:
            flow = self._flows[sender] = _Flow()
            self._of_address[address] = self._of_address.get(address, 0) + 1
        flow.updates += 1
        if not first:
            flow.tag = max(flow.tag, self._level) + max(cost, LEAST_COST) * self._of_address[address]
        large = cost > SMALL or flow.large > 0
        flow.large += large
        self._push(WaitingUpdate(flow.tag, next(self._numbers), update, sender, cost, changes, large))

    def take(self, update: WaitingUpdate[_U] | None = None) -> WaitingUpdate[_U]:
        """The first one, which waits no longer. It is out until it is `done` or `put_back`.

        :param update: `first` or `first_small`; None: `first`.
        """
        taken = self.first if update is None else update
        assert taken is not None, "something waits"
        heapq.heappop(self._large if taken.large else self._small)
        self._level = max(self._level, taken.tag)
        return taken

    def take_all_of(self, which: Callable[[Sender], bool]) -> list[WaitingUpdate[_U]]:
        """All updates of some senders, which wait no longer, in order; they are never put back."""
        taken = sorted(waiting for heap in (self._small, self._large) for waiting in heap if which(waiting.sender))
        if taken:
            for heap in (self._small, self._large):
                heap[:] = [waiting for waiting in heap if not which(waiting.sender)]
                heapq.heapify(heap)
            self.done(taken)
        return taken

    def put_back(self, updates: Iterable[WaitingUpdate[_U]]) -> None:
        """Have updates that are out wait again, in the places that they had."""
        for waiting in updates:
            if waiting.tag:  # else it came first
                self._level = min(self._level, waiting.tag)
            self._push(waiting)

    def done(self, updates: Iterable[WaitingUpdate[_U]]) -> None:
        """Forget updates that are out."""
        for taken in updates:
            flow, address = self._flows[taken.sender], taken.sender.address
            flow.updates -= 1
            flow.large -= taken.large
            if not flow.updates:
                del self._flows[taken.sender]
                self._of_address[address] -= 1
                if not self._of_address[address]:
                    del self._of_address[address]
        if not self._flows:
            self._level = 0.0

    def _push(self, waiting: WaitingUpdate[_U]) -> None:
        heapq.heappush(self._large if waiting.large else self._small, waiting)


def count_seconds(done: Sequence[WaitingUpdate[Any]], seconds: float) -> None:
    """Tell each sender its part of the seconds that updates took together: by their cost."""
    if len(done) == 1:
        done[0].sender.count(seconds, 1)
        return
    costs_of: dict[Sender, list[int]] = {}
    for waiting in done:
        costs_of.setdefault(waiting.sender, []).append(max(waiting.cost, LEAST_COST))
    a_byte = seconds / sum(map(sum, costs_of.values()))
    for sender, costs in costs_of.items():
        together = sum(costs)
        alike = together * together / sum([cost * cost for cost in costs])  # small ones don't hide a large one
        sender.count(together * a_byte, alike)
