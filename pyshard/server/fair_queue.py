"""A fair queue: whoever has used least is served next. Pure; what is used is seconds here, but it may be anything.

Rules:

- Of those that wait, the one that has used least comes first; of equals the one that has waited longest.
- Who has used nothing for a while comes before those that always wait, but only by a bounded credit. Else it could save
  up for hours, and then stop all others.
- When nobody waits any more, what was used is forgotten: without a queue there is nothing to be fair about.
- Connections of one address share what the address gets. So many connections get no more than one.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Hashable, Iterable
from itertools import count
from typing import Generic, TypeVar

_K = TypeVar("_K", bound=Hashable)
_G = TypeVar("_G", bound=Hashable)

_FEW = 1000  # notes of who has used what that are never looked through


def _everyone(_: object) -> bool:
    return True


class FairQueue(Generic[_K]):
    """Who waits, in the order in which they are to be served.

    :param credit: how far one that has used nothing for a while may be ahead of those that always wait.
    """

    def __init__(self, credit: float) -> None:
        self._credit = credit
        self._level = 0.0  # what the one had used that was taken last
        self._used: dict[_K, float] = {}
        self._entries: list[tuple[float, int, _K]] = []  # a heap; an entry counts if its number stands in `_waiting`
        self._waiting: dict[_K, int] = {}
        self._numbers = count()
        self._most_notes = _FEW

    def __len__(self) -> int:
        """How many wait."""
        return len(self._waiting)

    def add(self, key: _K) -> None:
        """Have one wait; nothing changes if it does already."""
        if key not in self._waiting:
            self._used[key] = self._used_by(key)
            self._enter(key)

    def take(self, may: Callable[[_K], bool] = _everyone) -> _K | None:
        """The one to be served next, which waits no longer; None: nobody waits who may be served.

        :param may: whether one may be served now; those that mayn't keep their place.
        """
        passed: list[tuple[float, int, _K]] = []
        taken: _K | None = None
        while self._entries and taken is None:
            entry = used, number, key = heapq.heappop(self._entries)
            if self._waiting.get(key) != number:
                continue
            if not may(key):
                passed.append(entry)
                continue
            taken = key
            del self._waiting[key]
            self._level = max(self._level, used)
        for entry in passed:
            heapq.heappush(self._entries, entry)
        if not self._waiting:
            self._forget_all()
        return taken

    def waiting(self) -> Iterable[_K]:
        """Those that wait."""
        return self._waiting

    def charge(self, key: _K, amount: float) -> None:
        """Count what one has used, waiting or not."""
        self._used[key] = self._used_by(key) + amount
        if key in self._waiting:
            self._enter(key)
        elif len(self._used) > self._most_notes:
            self._forget_some()

    def leave(self, key: _K) -> None:
        """Have one wait no longer. What it has used isn't forgotten, so that leaving is no way to the front."""
        self._waiting.pop(key, None)
        if not self._waiting:
            self._forget_all()

    def remove(self, key: _K) -> None:
        """Forget one that never comes back."""
        self._used.pop(key, None)
        self.leave(key)

    def _used_by(self, key: _K) -> float:
        least = self._level - self._credit
        return max(self._used.get(key, least), least)

    def _enter(self, key: _K) -> None:
        number = next(self._numbers)
        self._waiting[key] = number
        heapq.heappush(self._entries, (self._used[key], number, key))

    def _forget_all(self) -> None:
        self._used.clear()
        self._entries.clear()
        self._level = 0.0

    def _forget_some(self) -> None:
        """Forget those that stand no better or worse than somebody unknown."""
        least = self._level - self._credit
        self._used = {key: used for key, used in self._used.items() if used > least or key in self._waiting}
        self._most_notes = 2 * len(self._used) + _FEW  # so that each look is paid for by as many notes


class FairGroups(Generic[_K, _G]):
    """A fair queue of groups, and in each group a fair queue of its members.

    :param credit: as of `FairQueue`.
    """

    def __init__(self, credit: float) -> None:
        self._credit = credit
        self._groups: FairQueue[_G] = FairQueue(credit)
        self._members: dict[_G, FairQueue[_K]] = {}  # also of some groups of which nobody waits
        self._most_notes = _FEW

    def __bool__(self) -> bool:
        """Whether anybody waits."""
        return bool(self._groups)

    def add(self, member: _K, group: _G) -> None:
        """Have a member wait."""
        self._members_of(group).add(member)
        self._groups.add(group)

    def take(self, may: Callable[[_G], bool] = _everyone) -> _K | None:
        """The member to be served next, which waits no longer; None: nobody waits who may be served.

        :param may: whether members of a group may be served now.
        """
        group = self._groups.take(may)
        if group is None:
            return None
        members = self._members[group]
        member = members.take()
        if members:
            self._groups.add(group)
        return member

    def waiting_groups(self) -> Iterable[_G]:
        """The groups of those that wait."""
        return self._groups.waiting()

    def charge(self, member: _K, group: _G, amount: float) -> None:
        """Count what a member has used."""
        self._groups.charge(group, amount)
        self._members_of(group).charge(member, amount)

    def remove(self, member: _K, group: _G) -> None:
        """Forget a member that never comes back; what it has used still counts for its group."""
        members = self._members.get(group)
        if members is not None:
            members.remove(member)
            if not members:
                del self._members[group]
                self._groups.leave(group)

    def _members_of(self, group: _G) -> FairQueue[_K]:
        members = self._members.get(group)
        if members is None:
            if len(self._members) >= self._most_notes:
                self._members = {one: its for one, its in self._members.items() if its}
                self._most_notes = 2 * len(self._members) + _FEW
            members = self._members[group] = FairQueue(self._credit)
        return members
