"""Small updates of several addresses: how many are committed together, and for whom the next group waits. Pure.

A sync of the disk takes as long for one update as for many. A client that changes one thing at a time has nothing
waiting when it is answered, but soon after. If the next group of an address with hundreds of updates in flight began at
once, the client would wait for all of that group, and then for its own: for two syncs in place of one.

Rules:

- fewer updates are committed together while several addresses ask soon: one thing behind the answer to the one before.
  For who takes longer to ask again, little depends on how long it waits, and many small groups take twice the time of
  few large ones. So one read now and then doesn't bring them about;
- an update waits for the group before it, and a read for none: so who changes things may take longer to ask again. And
  while somebody else changes anything at all, not quite as many are committed together;
- a group of many updates waits for a moment for addresses that had one or two in the group before, if they have asked
  again that soon of late: then all of them are in one group;
- it waits for a part of what the group before took at the most, and no longer once all of them are there;
- what the store does for itself is none of these addresses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from math import inf

#: How many updates are committed together at the most while one address asks alone.
MOST_ALONE = 1000

#: The same while another address changes something now and then.
MOST_NOW_AND_THEN = 256

#: The same while several ask soon: what a thread computes in a few milliseconds.
MOST_BESIDE = 64

#: Seconds for which an address counts as one that asks soon, or changes something.
ASKS = 0.05

_SOON = 0.002  # seconds from the answer, or from the question before, within which somebody asks soon
_CHANGES_SOON = 0.02  # the same of who changes something: a group of all that one address has takes twice as long
_FEW = 2  # updates in a group of an address that is waited for
_MANY = 8  # updates that wait, from which on they wait for others
_TIMES = 0.7  # times as long as the group before took the next one waits at the most
_LONGEST = 0.001  # seconds that it waits at the most
_REMEMBERED = 100  # addresses of which it is known how soon they ask again
_WAITS = 1.0  # seconds that an update waits at the most for its address to be known still, where many addresses ask


class SmallGroups:
    """What is known of the addresses that ask. All times are in seconds of one clock."""

    def __init__(self) -> None:
        self._asked_last = self._changed_last = ""  # the address that has asked for anything last, and for a change
        self._other_asked_at = self._other_changed_at = -inf  # when somebody else than the one before did so last
        self._ended: dict[str, float] = {}  # when each address asked last, or was answered, if that is later
        self._most_ended = _REMEMBERED  # so many are kept before old ones go
        self._soon_last = ""  # the address that has asked soon last
        self._soon_at = self._other_soon_at = -inf  # when it did, and when another one did last
        self._answered: dict[str, float] = {}  # addresses that had few updates in the last group, and none since
        self._awaited: set[str] = set()  # those of them that the next group waits for
        self._again_after: dict[str, float] = {}  # seconds in which each has asked again
        self._until = 0.0  # the next group waits until then at the most

    @property
    def knows_several(self) -> bool:
        """Whether several addresses have ever asked: else nobody needs to be told of answers."""
        return len(self._ended) > 1

    def ask(self, address: str, now: float, soon: float = _SOON) -> None:
        """Note that an address has asked for something, which is no change.

        :param soon: seconds within which it asks soon.
        """
        if not address:
            return
        if address != self._asked_last:
            if self._asked_last:
                self._other_asked_at = now
            self._asked_last = address
        if 0 <= now - self._ended.get(address, -inf) < soon:
            if address != self._soon_last:
                self._soon_last, self._other_soon_at = address, self._soon_at
            self._soon_at = now
        self._ended[address] = now
        if len(self._ended) > self._most_ended:
            self._ended = {each: at for each, at in self._ended.items() if 0 <= now - at < _WAITS}
            self._most_ended = max(_REMEMBERED, 2 * len(self._ended))  # so it is seldom

    def answer(self, addresses: Iterable[str], now: float) -> None:
        """Note that updates of these addresses are answered."""
        for address in set(addresses) & self._ended.keys():
            self._ended[address] = now

    def several_ask(self, now: float, within: float) -> bool:
        """Whether several addresses have asked of late.

        :param within: in so many seconds.
        """
        return 0 <= now - self._other_asked_at < within

    def several_ask_soon(self, now: float) -> bool:
        """Whether several addresses ask soon."""
        return 0 <= now - self._soon_at < ASKS and 0 <= now - self._other_soon_at < ASKS

    def most(self, now: float) -> int:
        """How many updates are to be committed together at the most."""
        if self.several_ask_soon(now):
            return MOST_BESIDE
        return MOST_NOW_AND_THEN if 0 <= now - self._other_changed_at < ASKS else MOST_ALONE

    def submit(self, address: str, now: float) -> None:
        """Note that an address has submitted an update."""
        self.ask(address, now, _CHANGES_SOON)
        if address and address != self._changed_last:
            if self._changed_last:
                self._other_changed_at = now
            self._changed_last = address
        answered = self._answered.pop(address, None)
        if answered is not None:
            self._awaited.discard(address)
            self._note(address, now - answered)

    def commit(self, addresses: Iterable[str], began: float, now: float) -> None:
        """Note that a group is done.

        :param addresses: of each of its updates.
        """
        wait = min(_LONGEST, _TIMES * max(0.0, now - began))
        for address, answered in self._answered.items():  # they have asked nothing while this one was committed
            self._note(address, now - answered)
        updates_of = Counter(addresses) if self.several_ask_soon(now) else {}
        self._answered = {address: now for address, updates in updates_of.items() if address and updates <= _FEW}
        self._awaited = {address for address in self._answered if self._again_after.get(address, 0.0) <= wait}
        self._until = now + wait

    def remaining(self, updates: int, now: float) -> float:
        """Seconds for which the next group is to wait yet, if nobody submits anything meanwhile; 0: begin it.

        :param updates: how many wait.
        """
        if updates < _MANY or not self._awaited:
            return 0.0
        return max(0.0, self._until - now)

    def _note(self, address: str, seconds: float) -> None:
        """Note how soon an address has asked again."""
        if len(self._again_after) >= _REMEMBERED:
            self._again_after.clear()
        self._again_after[address] = seconds
