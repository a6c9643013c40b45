"""What a member has promised, and when it may stand for the primary's place."""

from __future__ import annotations

import pytest
from replication.group_samples import A, B, C, group_of

from pyshard.replication.group_times import GroupTimes
from pyshard.replication.member_term import MemberTerm
from pyshard.replication.wishes import Wish, WishKind

TIMES = GroupTimes(3.0, 4.0)


def test_waits_a_grace_when_it_begins() -> None:
    """It doesn't know what it promised before."""
    term = MemberTerm(group_of(), B, TIMES, 100.0)
    assert (term.may_stand(True, 103.9), term.may_stand(True, 104.0)) == (False, True)


def test_each_answer_binds_it() -> None:
    """For a grace from when it came; the beacon goes with the next question."""
    term = MemberTerm(group_of(), B, TIMES, 100.0)
    assert term.beacon == b""
    term.answered(b"one", 103.0)
    assert (term.beacon, term.heard, term.promised_until) == (b"one", 103.0, 107.0)
    assert (term.may_stand(True, 106.9), term.may_stand(True, 107.0)) == (False, True)


def test_standing_promises_nothing() -> None:
    """An answer that comes while it stands binds it no more, and it goes on standing."""
    term = MemberTerm(group_of(), B, TIMES, 100.0)
    term.standing = True
    term.answered(b"late", 104.5)
    assert (term.beacon, term.promised_until) == (b"", 104.0)
    assert term.may_stand(True, 100.0)


def test_wish_is_told_when_it_is_saved() -> None:
    """Before that a restart would forget it."""
    term = MemberTerm(group_of(), B, TIMES, 100.0)
    assert term.wish() is None
    term.standing = True
    assert term.wish() is None
    term.saved = True
    assert term.wish() == Wish(WishKind.LEAD, B)


def test_standing_since_before_a_restart() -> None:
    """It may be the primary any time, so it stands at once."""
    assert MemberTerm(group_of(), B, TIMES, 100.0, standing=True).wish() == Wish(WishKind.LEAD, B)


@pytest.mark.parametrize(("members", "complete"), [("AB", True), ("ABC", False)])
def test_who_never_stands(members: str, complete: bool) -> None:
    """A learner, and one whose store hasn't all."""
    term = MemberTerm(group_of(members), C, TIMES, 100.0)
    assert not term.may_stand(complete, 1000.0)


def test_is_member() -> None:
    """A learner is none."""
    assert [MemberTerm(group_of("AB"), me, TIMES, 0).is_member for me in (A, B, C)] == [True, True, False]
