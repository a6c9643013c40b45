"""A member that asks just in time, so that each change waits for it alone, is removed, and is back after a while."""

from __future__ import annotations

import pytest
from replication.group_samples import HISTORY, A, B, C, group_of, pull_of

from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_times import GroupTimes
from pyshard.replication.lone_waits import LoneWaits
from pyshard.replication.primary_term import PrimaryTerm
from pyshard.replication.replica_figures import primary_figures
from pyshard.replication.wishes import Wish, WishKind

TIMES = GroupTimes(3.0, 4.0)
TOKEN = b"0123456789abcdef"
DELAY = 1.2  # seconds


class Slow:
    """A primary whose member C asks late each time.

    :param others: who asks besides.
    :ivar last: the number of its last group.
    """

    def __init__(self, group: ReplicaGroup, bound_until: float = 0.0, others: str = B) -> None:
        self.others = others
        self.now, self.last = 100.0, 1
        self.waits = LoneWaits()
        self.term = PrimaryTerm(group, TIMES, self.now, TOKEN, bound_until, self.waits)

    def hear(self, address: str, since: float) -> None:
        """A replica has all, and the answer that was sent at a moment."""
        pull = pull_of(address, self.last, self.term.beacon(since), ballot=self.term.group.ballot)
        self.term.heard(pull, HISTORY, self.last, self.last, self.now)

    def go_on(self, seconds: float, delay: float = DELAY) -> Wish | None:
        """Change one thing after the other, and ask what is wanted ten times a second; what is wanted first."""
        until = self.now + seconds
        while self.now < until:
            self.last += 1
            sent, heard = self.now, self.now + delay
            self.now += 0.01
            if self.others:
                self.hear(self.others, sent)
            while self.now < heard:
                self.now += 0.1
                if (wish := self.term.wish(self.last, self.now)) is not None:
                    return wish
            self.hear(C, sent)
            assert self.term.commit(self.last) == self.last
        return None

    def take_on(self, group: ReplicaGroup) -> None:
        """Go on under the next ballot."""
        self.term = PrimaryTerm(group, TIMES, self.now, TOKEN, 0.0, self.waits)


def test_removed_and_back() -> None:
    """It was never silent. A learner for a minute, it joins again, and is removed again if it is as before."""
    slow = Slow(group_of(least=2))
    assert slow.go_on(100.0) == Wish(WishKind.REMOVE, C)
    assert 160.0 <= slow.now < 170.0
    slow.take_on(group_of("AB", ballot=6, least=2))
    removed = slow.now
    joins = slow.go_on(100.0, delay=0.1)
    assert joins == Wish(WishKind.JOIN, C)
    assert 60.0 <= slow.now - removed < 61.0
    slow.take_on(group_of("ABC", ballot=7, least=2))
    assert slow.go_on(100.0) == Wish(WishKind.REMOVE, C)


@pytest.mark.parametrize(
    ("group", "others"),
    [(group_of(least=3), B), (group_of("AC"), "")],
    ids=["too few without it", "nobody to compare it with"],
)
def test_not_removed(group: ReplicaGroup, others: str) -> None:
    """It stays where changes need it, or where it is the only other one, whose network may be a long one."""
    slow = Slow(group, others=others)
    assert slow.go_on(100.0) is None
    waits = primary_figures(slow.term, slow.last, slow.now, "").waits
    assert waits == f"changes wait long for {C} alone; see its disk, its machine and the network to it"


def test_not_removed_too_early() -> None:
    """While an earlier primary may answer, by this side's promise, nobody is."""
    slow = Slow(group_of(least=2), bound_until=175.0)
    assert slow.go_on(100.0) == Wish(WishKind.REMOVE, C)
    assert slow.now >= 175.0


def test_quick_members_stay() -> None:
    """Where nobody waits for long all is well."""
    slow = Slow(group_of(least=2))
    assert slow.go_on(100.0, delay=0.1) is None
    assert primary_figures(slow.term, slow.last, slow.now, "").waits == ""


def test_joins_at_once_where_it_is_needed() -> None:
    """Where there are too few members, none that has everything rests."""
    slow = Slow(group_of(least=2))
    slow.go_on(100.0)
    slow.take_on(group_of("AB", ballot=6, least=3))
    assert slow.go_on(1.0, delay=0.1) == Wish(WishKind.JOIN, C)


def test_operators_are_told_of_its_rest() -> None:
    """Why a replica that follows well is no member."""
    slow = Slow(group_of(least=2))
    slow.go_on(100.0)
    slow.take_on(group_of("AB", ballot=6, least=2))
    slow.go_on(1.0, delay=0.1)
    told = primary_figures(slow.term, slow.last, slow.now, "")
    assert told.waits == f"changes have waited long for {C}, or again and again, so it is a learner for a while"
    assert A in slow.term.group.members
