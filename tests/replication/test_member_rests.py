"""For how long replicas that left the members are learners: by value, and at a primary whose member comes and goes."""

from __future__ import annotations

import pytest
from replication.group_samples import HISTORY, B, C, group_of, pull_of

from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_times import GroupTimes
from pyshard.replication.lone_waits import LoneWaits
from pyshard.replication.member_rests import MemberRests
from pyshard.replication.primary_term import PrimaryTerm
from pyshard.replication.wishes import Wish, WishKind

TIMES = GroupTimes(3.0, 4.0)
TOKEN = b"0123456789abcdef"


def rests_of(slow: str | None, times: int) -> list[float]:
    """How long C rests each time that it leaves, and is a member again after its rest."""
    rests, now, found = MemberRests(), 1000.0, list[float]()
    for _ in range(times):
        rests.begin([B, C], None, now)
        rests.begin([B], slow, now)
        found.append(rests.left(C, now))
        now += found[-1]
    return found


def test_rests() -> None:
    """The first time there is none, later twice as long each time, up to an hour; who was slow rests for longer."""
    assert rests_of(None, 12) == [0, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]
    assert rests_of(C, 8) == [60, 120, 240, 480, 960, 1920, 3600, 3600]


@pytest.mark.parametrize("slow", [None, C])
def test_who_leaves_for_ever(slow: str | None) -> None:
    """However often one has left, a rest is an hour at the most, and can be computed."""
    rests, now = MemberRests(), 0.0
    for _ in range(1100):  # 2.0 ** 1024 is no float
        rests.begin([B, C], None, now)
        rests.begin([B], slow, now)
        now += 10
    assert rests.left(C, now - 10) == 3600


def test_forgiven() -> None:
    """Who was well for an hour begins anew; who was so for less doesn't."""
    for well, rest in [(3601.0, 0.0), (3599.0, 10.0)]:
        rests = MemberRests()
        rests.begin([C], None, 0.0)
        rests.begin([], None, 0.0)
        rests.begin([C], None, 0.0)
        rests.begin([], None, well)
        assert rests.left(C, well) == rest


def test_missed_before_it_joined() -> None:
    """One that was to join, and was missed, has left; one that joined all the same hasn't."""
    rests = MemberRests()
    for _ in range(2):
        rests.miss(C)
        rests.begin([B], None, 10.0)
    assert rests.left(C, 10.0) == 10.0
    rests.miss(C)
    rests.begin([B, C], None, 30.0)
    assert rests.left(C, 30.0) == 0.0


def test_at_the_most() -> None:
    """A rest may be cut short."""
    rests = MemberRests()
    rests.begin([C], None, 0.0)
    rests.begin([], C, 0.0)
    assert (rests.left(C, 0.0), rests.left(C, 0.0, 7.0), rests.left(C, 8.0, 7.0)) == (60.0, 7.0, 0.0)


class Flapping:
    """A primary whose replica C follows for a second, and then is silent for two, again and again.

    :ivar removed: how often it was removed.
    """

    def __init__(self, group: ReplicaGroup, others: str) -> None:
        self.others = others
        self.now, self.removed, self._waits = 100.0, 0, LoneWaits()
        self._lead(group)

    def go_on(self, seconds: float) -> None:
        """Ask what is wanted ten times a second, and do it."""
        until = self.now + seconds
        while self.now < until:
            self.now += 0.1
            for address in [B] if self.others else []:
                self._hear(address)
            if self.now % 3.0 < 1.0:
                self._hear(C)
            wish, group = self._term.wish(10, self.now), self._term.group
            if wish is None:
                continue
            assert wish.address == C
            self.removed += wish.kind is WishKind.REMOVE
            self._lead(group.without_member(C) if wish == Wish(WishKind.REMOVE, C) else group.with_member(C))

    def _hear(self, address: str) -> None:
        term = self._term
        pull = pull_of(address, 10, term.beacon(self.now - 0.01), ballot=term.group.ballot)
        term.heard(pull, HISTORY, 10, 10, self.now)

    def _lead(self, group: ReplicaGroup) -> None:
        self._term = PrimaryTerm(group, TIMES, self.now, TOKEN, 0.0, self._waits)


@pytest.mark.parametrize(
    ("group", "others", "least", "most"),
    [
        (group_of("ABC", least=2), B, 5, 10),
        (group_of("AC"), "", 12, 25),
        (group_of("AC", least=2), "", 100, 400),
    ],
    ids=["members enough", "alone without it", "too few without it"],
)
def test_comes_and_goes(group: ReplicaGroup, others: str, least: int, most: int) -> None:
    """In 20 minutes it is removed some times, where it isn't needed; alone, a primary has it back each minute."""
    flapping = Flapping(group, others)
    flapping.go_on(1200.0)
    assert least <= flapping.removed <= most


def test_silent_as_it_joins() -> None:
    """A learner for which changes wait as it is to join, and that has to be removed, has left as well."""
    waits = LoneWaits()
    for ballot in (5, 6):
        term = PrimaryTerm(group_of("AB", ballot=ballot), TIMES, 100.0, TOKEN, 0.0, waits)
        for now in (100.1, 100.2):
            term.heard(pull_of(C, 10, term.beacon(now - 0.01), ballot=ballot), HISTORY, 10, 10, now)
        assert term.wish(10, 100.3) == Wish(WishKind.JOIN, C)
        term.heard(pull_of(B, 10, term.beacon(101.9), ballot=ballot), HISTORY, 10, 10, 102.0)
        assert term.wish(10, 102.0) == Wish(WishKind.REMOVE, C)
    waits.begin([B], 3.0, 102.0)
    assert waits.rests.left(C, 102.0) == 10.0
