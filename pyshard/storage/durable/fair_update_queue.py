"""The order of updates that wait for the disk: fair between senders. Pure.

It is self-clocked fair queueing (S. J. Golestani, "A self-clocked fair queueing scheme for broadband applications",
1994). Each update gets a tag when it comes: the tag of its sender's update before it, or of the one that was taken last
if that is larger, plus its cost. The update with the least tag is taken first.

Rules:

- updates of one sender are taken in the order in which they came, also where some were taken and are put back;
- whoever asks for little comes before those that have much waiting, and nobody can save up time for later;
- connections of one address share what the address gets: a cost counts once for each of them that waits;
- what is to come first costs nothing, so its tag is 0. Behind what its sender has waiting it has the tag of that;
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


class WaitingUpdate(NamedTuple, Generic[_U]):
    """An update that waits. The first two fields order it, and no two are alike in both.

    :ivar cost: bytes that it counts against the others.
    :ivar changes: how many records it may change.
    """

    tag: float
    number: int
    update: _U
    sender: Sender
    cost: int
    changes: int


class _Flow:
    """What there is of one sender.

    :ivar updates: how many wait, or were taken and are neither done nor put back.
    :ivar tag: of the last of them.
    """

    __slots__ = ("tag", "updates")

    def __init__(self) -> None:
        self.updates, self.tag = 0, 0.0


class UpdateQueue(Generic[_U]):
    """Updates that wait, in the order in which they are to be committed."""

    def __init__(self) -> None:
        self._entries: list[WaitingUpdate[_U]] = []  # a heap
        self._flows: dict[Sender, _Flow] = {}
        self._of_address: dict[str, int] = {}  # senders of which there is something
        self._level = 0.0  # the tag that was taken last
        self._numbers = count()

    def __len__(self) -> int:
        """How many wait."""
        return len(self._entries)

    @property
    def first(self) -> WaitingUpdate[_U] | None:
        """The one to be taken next, or None."""
        return self._entries[0] if self._entries else None

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
        heapq.heappush(self._entries, WaitingUpdate(flow.tag, next(self._numbers), update, sender, cost, changes))

    def take(self) -> WaitingUpdate[_U]:
        """The first one, which waits no longer. It is out until it is `done` or `put_back`."""
        taken = heapq.heappop(self._entries)
        self._level = max(self._level, taken.tag)
        return taken

    def take_all_of(self, which: Callable[[Sender], bool]) -> list[WaitingUpdate[_U]]:
        """All updates of some senders, which wait no longer, in order; they are never put back."""
        taken = sorted(waiting for waiting in self._entries if which(waiting.sender))
        if taken:
            numbers = {waiting.number for waiting in taken}
            self._entries = [waiting for waiting in self._entries if waiting.number not in numbers]
            heapq.heapify(self._entries)
            self.done(taken)
        return taken

    def put_back(self, updates: Iterable[WaitingUpdate[_U]]) -> None:
        """Have updates that are out wait again, in the places that they had."""
        for waiting in updates:
            if waiting.tag:  # else it came first
                self._level = min(self._level, waiting.tag)
            heapq.heappush(self._entries, waiting)

    def done(self, updates: Iterable[WaitingUpdate[_U]]) -> None:
        """Forget updates that are out."""
        for taken in updates:
            flow, address = self._flows[taken.sender], taken.sender.address
            flow.updates -= 1
            if not flow.updates:
                del self._flows[taken.sender]
                self._of_address[address] -= 1
                if not self._of_address[address]:
                    del self._of_address[address]
        if not self._flows:
            self._level = 0.0


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
