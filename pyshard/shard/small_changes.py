"""Which small changes of an address are begun at once, where there are replicas; others wait as large ones do. Pure.

A small change waits for nobody. But many of them that are on their way together are as good as a large one: whoever
asks for something next waits until all members have them.

Rules:

- those of one address that are on their way have a bound. What is beyond waits, and so does what comes behind that;
- a change counts until it is answered, whether or not its sender is still there.
"""

from __future__ import annotations

from collections import Counter

#: Bytes of memory of the largest change that counts as small: some hundred records, a millisecond or a few.
SMALL = 64 * 1024

#: Bytes of memory of the small changes of one address that are begun at once, until they are answered.
SMALL_OF_ADDRESS = 4 * SMALL


class SmallChanges:
    """The small changes of one shard, by address."""

    def __init__(self) -> None:
        self._under_way: dict[str, int] = {}  # bytes that aren't answered
        self._waiting: Counter[str] = Counter()  # how many wait as large ones do

    def may_begin(self, address: str, weight: int) -> bool:
        """Whether a change is begun at once.

        :param weight: bytes of memory that it takes.
        """
        if weight > SMALL or address in self._waiting:
            return False
        return self._under_way.get(address, 0) + weight <= SMALL_OF_ADDRESS

    def begin(self, address: str, weight: int) -> None:
        """A change is begun."""
        self._under_way[address] = self._under_way.get(address, 0) + weight

    def end(self, address: str, weight: int) -> None:
        """A change isn't on its way any more."""
        left = self._under_way.pop(address, 0) - weight
        if left > 0:
            self._under_way[address] = left

    def wait(self, address: str, weight: int, number: int) -> None:
        """A change waits (1), or waits no more (-1)."""
        if weight > SMALL:
            return
        self._waiting[address] += number
        if not self._waiting[address]:
            del self._waiting[address]
