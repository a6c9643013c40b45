"""The bytes that changes take at a primary until all members have them: how many may be, of each address and in all.

A member that is silent holds up whatever is changed: it can neither be undone nor be let go. So what a primary takes
on is bounded. Whoever wants a change begun asks here before.

Rules:

- those of one address are at most as many as are still free. So each leaves room to the others, however much it has;
- a change counts for its address until its group is committed, whether or not somebody still waits for the answer. So
  nobody gets new room by connecting again;
- first it counts what was asked for, and from then on what it really takes: a touch of some bytes may copy the largest
  documents;
- in all, groups count, too, where they take more than the changes of all addresses: some are of the store's own work.
  That waits while half of the room is taken;
- the store's writer may be another thread. It alone counts groups that are made; all else is the reactor's.
"""

from __future__ import annotations

from collections import deque

from pyshard.errors import Overloaded
from pyshard.settings import settings


class UncommittedBytes:
    """Those of a store.

    :param most: bytes that changes may take. A change that takes more may come when there is nothing else.
    """

    def __init__(self, most: int = settings.MAX_COMMIT_BYTES) -> None:
        self._most = most
        self._begun = 0  # of changes that wait to be made, or are being made
        self._waiting = 0  # of changes that are made, and of the answers that wait for them
        self._of: dict[str, int] = {}  # by address: of these, and of its changes that aren't committed
        self._changes: deque[tuple[int, str, int]] = deque()  # that are made: number of the group, address, bytes
        self._groups: deque[tuple[int, int]] = deque()  # their numbers, and all bytes that were made with each
        self._made = 0  # of all groups there ever were; the writer counts it
        self._committed = 0  # as many of them as are committed
        self._until = 0  # the number of the last committed group

    @property
    def total(self) -> int:
        """Bytes of all that isn't committed."""
        return self._begun + max(self._waiting, self._made - self._committed)

    @property
    def is_crowded(self) -> bool:
        """Whether the store's own work is to wait."""
        return self.total >= self._most // 2

    def refusal(self, address: str, weight: int) -> Overloaded | None:
        """Why no more may be begun for an address; None: it may.

        :param weight: bytes that it takes.
        """
        own, total = self._of.get(address, 0), self.total
        if own + weight <= self._most - total or not total:
            return None
        return _overloaded(total, own)

    def check_own_work(self) -> None:
        """Refuse what the store is to do for itself, and can do later.

        :raises Overloaded: half of the room is taken.
        """
        if self.is_crowded:
            raise _overloaded(self.total, 0)

    def refusal_now(self, more: int) -> Overloaded | None:
        """Why a change that was admitted may not be made all the same, as those before it took more; None: it may.

        :param more: bytes of a group that is being made. This is for the writer.
        """
        made = self._made - self._committed
        return None if made + more < self._most else _overloaded(made + more, 0)

    def begin(self, address: str, weight: int) -> None:
        """Count what is begun, or is to be begun when it may."""
        self._begun += weight
        self._count(address, weight)

    def end(self, address: str, weight: int) -> None:
        """Count something no more that was begun: it is made, or it has failed."""
        self._begun -= weight
        self._count(address, -weight)

    def made(self, sequence: int, address: str, size: int) -> None:
        """A change is in a group, and counts for its address until that is committed.

        :param sequence: the group's number, or that of a later one; no lower one than before.
        """
        if sequence > self._until:
            self._changes.append((sequence, address, size))
            self._waiting += size
            self._of[address] = self._of.get(address, 0) + size

    def add_group(self, sequence: int, size: int) -> None:
        """A group is made that may have more than the changes of which `made` is told; this is for the writer.

        :param size: bytes that it takes, with all its changes.
        """
        self._made += size
        self._groups.append((sequence, self._made))

    def committed(self, sequence: int) -> None:
        """All groups up to a number are committed."""
        self._until, groups, changes = sequence, self._groups, self._changes
        while groups and groups[0][0] <= sequence:
            self._committed = groups.popleft()[1]
        while changes and changes[0][0] <= sequence:
            self._forget_first()

    def begin_anew(self) -> None:
        """Forget what is made: the store leads no more, and the writer makes nothing more."""
        self._until = 0
        self._groups.clear()
        self._committed = self._made
        while self._changes:
            self._forget_first()

    def _forget_first(self) -> None:
        _, address, size = self._changes.popleft()
        self._waiting -= size
        self._count(address, -size)

    def _count(self, address: str, size: int) -> None:
        left = self._of[address] = self._of.get(address, 0) + size
        if not left:
            del self._of[address]


def _overloaded(total: int, own: int) -> Overloaded:
    return Overloaded(
        f"changes of {total:,} bytes wait for this shard's replicas already, {own:,} of them from this address; "
        "try again later"
    )
