"""A primary's term: a switch to another member, and one that comes to nothing."""

from __future__ import annotations

import pytest

from pyshard.model.range_moves import StoreId
from pyshard.model.replica_group import MapReplica, ReplicaGroup
from pyshard.protocol.log_positions import BallotHistory
from pyshard.replication.group_times import of_lease
from pyshard.replication.primary_term import OtherReplica, PrimaryTerm
from pyshard.replication.pulls import Pull
from pyshard.replication.wishes import Wish, WishKind

A, B = (MapReplica("h", port, StoreId(f"{port}d", "i"), True) for port in (1, 2))
GROUP = ReplicaGroup(5, "h:1", frozenset({"h:1", "h:2"}), (A, B), 2, 3.0)
LAST = 7
SWITCH = Wish(WishKind.SWITCH, "h:2")


@pytest.fixture
def term() -> PrimaryTerm:
    """One that has heard of its member a second ago, which has all but one group."""
    made = PrimaryTerm(GROUP, of_lease(3.0), 0.0, b"t" * 16)
    pull(made, LAST - 1, 1.0)
    return made


def pull(term: PrimaryTerm, last: int, now: float) -> None:
    """The member asks, and promises."""
    history: BallotHistory = ((5, 1),)
    term.heard(Pull(5, "h:2", "2d", "i", history, last, True, term.beacon(now)), history, LAST, now)
    term.commit(LAST)


def takes_changes(term: PrimaryTerm) -> bool:
    """Whether it does now."""
    return term.takes_changes


def test_switch(term: PrimaryTerm) -> None:
    """It takes no more changes, and says so when the other one has all; from then on it answers nothing more."""
    assert takes_changes(term)
    term.switch("h:2", 6.0)
    assert not takes_changes(term)
    assert term.wish(LAST, 1.0) is None
    assert term.may_answer(1.0), "nobody else can lead yet"
    pull(term, LAST, 1.1)
    assert term.wish(LAST, 1.2) == SWITCH
    assert not term.may_answer(1.2), "the other one may lead by now, and may have removed this one soon"


def test_switch_that_comes_to_nothing(term: PrimaryTerm) -> None:
    """If it was never said, it goes on at once."""
    term.switch("h:2", 6.0)
    assert term.wish(LAST, 1.0) is None
    pull(term, LAST - 1, 5.5)
    term.end_late_switch(5.9)
    assert not takes_changes(term)
    term.end_late_switch(6.0)
    assert takes_changes(term)
    assert term.may_answer(6.0)


@pytest.mark.parametrize("late", [False, True])
def test_switch_that_may_have_come_true(term: PrimaryTerm, late: bool) -> None:
    """Once it was said, only a new ballot tells who leads: either the other one has it, or this one."""
    pull(term, LAST, 1.0)
    term.switch("h:2", 2.0)
    assert term.wish(LAST, 1.1) == SWITCH
    if not late:
        term.switch(None)
    assert term.wish(LAST, 2.0) == Wish(WishKind.RENEW, "h:1")
    assert not term.takes_changes
    assert not term.may_answer(2.0)


def test_figures(term: PrimaryTerm) -> None:
    """How far the other one is, and since when it is silent."""
    assert term.figures(LAST, 1.5) == [OtherReplica("h:2", 1, 0.5, False)]
    assert term.leased_until == pytest.approx(4.0)
