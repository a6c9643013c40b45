"""What a primary knows: what is committed, for how long it may answer, who goes, who joins, and who leads next."""

from __future__ import annotations

import pytest
from replication.group_samples import HISTORY, A, B, C, group_of, pull_of

from pyshard.errors import BadRequest
from pyshard.model.replica_group import ReplicaGroup
from pyshard.replication.group_times import GroupTimes
from pyshard.replication.primary_term import Course, PrimaryTerm
from pyshard.replication.wishes import Wish, WishKind

TIMES = GroupTimes(3.0, 4.0)
TOKEN = b"0123456789abcdef"


def term_of(group: ReplicaGroup | None = None, bound_until: float = 0.0) -> PrimaryTerm:
    """A term that began at 100."""
    return PrimaryTerm(group or group_of(), TIMES, 100.0, TOKEN, bound_until)


def hear(term: PrimaryTerm, address: str, last: int, now: float, sent: float | None = None, ends: int = 10) -> Course:
    """A replica has groups, and was reached by an answer that was sent at a moment; this log ends there."""
    beacon = b"" if sent is None else term.beacon(sent)
    return term.heard(pull_of(address, last, beacon), HISTORY, ends, ends, now)


def test_committed_by_all() -> None:
    """A group is committed when every member has it, and this side, too."""
    term = term_of()
    assert term.commit(10) == 0
    hear(term, B, 7, 100.1)
    assert term.commit(10) == 0, "C hasn't"
    hear(term, C, 9, 100.1)
    assert term.commit(10) == 7
    assert term.commit(5) == 7, "what is committed stays so"
    hear(term, B, 10, 100.2)
    assert (term.commit(8), term.commit(10)) == (8, 9)
    assert term.confirmed() == {B: 10, C: 9}


def test_learner_isnt_needed() -> None:
    """What a learner has doesn't count, nor is it waited for."""
    term = term_of(group_of("AB"))
    hear(term, B, 10, 100.1)
    assert term.needed == {B}
    assert term.commit(10) == 10


def test_alone() -> None:
    """A primary without other members commits what it has, and may answer at any time."""
    term = term_of(group_of("A"))
    assert (term.commit(4), term.may_answer(1e9)) == (4, True)


def test_lease_counts_from_when_the_answer_was_sent() -> None:
    """However late the question comes that gives the beacon back."""
    term = term_of(group_of("AB"))
    hear(term, B, 10, 102.5, sent=100.5)
    assert term.may_answer(103.49)
    assert not term.may_answer(103.5)
    hear(term, B, 10, 103.6, sent=100.2)
    assert not term.may_answer(103.6), "an older one shortens nothing, and prolongs nothing"


def test_lease_of_all() -> None:
    """One lease that has run out is enough for no answer."""
    term = term_of()
    hear(term, B, 10, 100.2, sent=100.1)
    assert not term.may_answer(100.3)
    hear(term, C, 10, 100.2, sent=100.1)
    assert term.may_answer(100.3)
    hear(term, B, 10, 103.0, sent=102.9)
    assert not term.may_answer(103.2)


@pytest.mark.parametrize("beacon", [b"", b"x", TOKEN, PrimaryTerm(group_of(), TIMES, 0, b"z" * 16).beacon(100.0)])
def test_beacons_of_others(beacon: bytes) -> None:
    """No beacon, one that can't be read, and one of another term give no lease."""
    term = term_of(group_of("AB"))
    term.heard(pull_of(B, 10, beacon), HISTORY, 10, 10, 100.1)
    assert not term.may_answer(100.1)


def test_beacon_of_the_future() -> None:
    """One that was sent later than now gives none either."""
    term = term_of(group_of("AB"))
    hear(term, B, 10, 100.1, sent=200.0)
    assert not term.may_answer(100.1)


def test_courses() -> None:
    """Who has the same goes on, who has more cuts, and who has nothing in common begins anew.

    Who hasn't promised anything under this ballot yet is answered at once, to promise it.
    """
    term = term_of()
    beacon = term.beacon(100.0)
    ask = [
        (pull_of(B, 4), Course.BEACON),
        (pull_of(B, 4, beacon), Course.GROUPS),
        (pull_of(B, 0, beacon, history=()), Course.GROUPS),
        (pull_of(B, 12), Course.CUT),
        (pull_of(B, 8, history=((4, 1), (5, 3), (6, 7))), Course.CUT),
        (pull_of(B, 8, history=((3, 1),)), Course.COPY),
        (pull_of(B, 8, complete=False), Course.COPY),
        (pull_of(B, 8, incarnation="2"), Course.NOBODY),
        (pull_of("h:9", 8), Course.NOBODY),
        (pull_of(A, 8), Course.NOBODY),
    ]
    for pull, course in ask:
        assert term.heard(pull, HISTORY, 10, 10, 100.1) is course, pull


def test_what_parts_isnt_confirmed() -> None:
    """Groups that this log doesn't have confirm nothing."""
    term = term_of(group_of("AB"))
    hear(term, B, 3, 100.1)
    term.heard(pull_of(B, 12), HISTORY, 10, 10, 100.2)
    assert term.commit(10) == 3


def test_silent_member_is_removed() -> None:
    """After half a lease; the one that is missed longest goes first."""
    term = term_of()
    assert term.wish(10, 101.5) is None
    assert term.wish(10, 101.6) == Wish(WishKind.REMOVE, B)
    hear(term, C, 9, 101.0, sent=100.9)
    hear(term, B, 9, 101.2, sent=101.1)
    assert term.wish(10, 102.6) == Wish(WishKind.REMOVE, C)


def test_nobody_is_removed_while_an_earlier_primary_may_answer() -> None:
    """This side's own promise to it goes on."""
    term = term_of(bound_until=103.0)
    assert term.wish(10, 102.9) is None
    assert term.wish(10, 103.0) == Wish(WishKind.REMOVE, B)


def test_member_that_gets_no_further_is_removed() -> None:
    """It asks all the time, and never has what it was given."""
    term = term_of(group_of("AB"))
    for step in range(20):
        hear(term, B, 4, 100.0 + step / 10, sent=99.95 + step / 10)
    assert term.wish(10, 101.9) == Wish(WishKind.REMOVE, B)


def test_member_without_answers_is_removed() -> None:
    """It asks all the time, and gives the same beacon back each time."""
    term = term_of(group_of("AB"))
    for step in range(20):
        hear(term, B, 10, 100.0 + step / 10, sent=99.9)
    assert term.wish(10, 101.9) == Wish(WishKind.REMOVE, B)


def test_member_that_gets_on_stays() -> None:
    """It takes a little each time, and is far behind."""
    term = term_of(group_of("AB"))
    for step in range(20):
        term.heard(pull_of(B, step, term.beacon(99.9 + step / 10)), HISTORY, 1000, 1000, 100.0 + step / 10)
    assert term.wish(1000, 101.9) is None


def test_member_that_needs_a_copy_is_removed() -> None:
    """At once: it has nothing that counts."""
    term = term_of()
    hear(term, B, 10, 100.1, sent=100.0)
    term.falls_behind(B)
    assert term.wish(10, 100.2) == Wish(WishKind.REMOVE, B)


def test_join() -> None:
    """A learner that keeps up is needed from when it is to join; the wish is told when it has what was committed."""
    term = term_of(group_of("AB"))
    hear(term, B, 10, 100.1, sent=100.0)
    assert term.commit(10) == 10
    hear(term, C, 8, 100.1, sent=100.0)
    assert term.wish(10, 100.2) is None, "it is behind"
    hear(term, C, 10, 100.3, sent=100.2, ends=12)
    hear(term, B, 12, 100.3, sent=100.2, ends=12)
    assert term.commit(12) == 12, "it isn't needed yet"
    assert term.needed == {B}
    assert term.wish(12, 100.4) is None, "12 was committed without it"
    assert term.needed == {B, C}
    assert not term.may_answer(104.0)
    hear(term, B, 13, 100.4, sent=100.3, ends=13)
    assert term.commit(13) == 12, "from now on it is"
    hear(term, C, 12, 100.5, sent=100.4, ends=13)
    assert term.wish(13, 100.5) == Wish(WishKind.JOIN, C)
    assert term.wish(13, 102.2) == Wish(WishKind.REMOVE, B)
    hear(term, B, 13, 102.3, sent=102.2, ends=13)
    assert term.wish(13, 102.4) == Wish(WishKind.REMOVE, C), "it may have joined, so it has to be removed"


def test_learner_keeps_up_with_what_is_safe() -> None:
    """Under load the log's end is always ahead of what the disk has, and so of what a learner can have."""
    term = term_of(group_of("AB"))
    for step in range(4):
        now = 100.0 + step / 10
        term.heard(pull_of(C, 10 * step, term.beacon(now - 0.01)), HISTORY, 10 * step + 20, 10 * step + 10, now)
        term.heard(pull_of(B, 10 * step, term.beacon(now - 0.01)), HISTORY, 10 * step + 20, 10 * step + 10, now)
    assert term.wish(60, 100.4) == Wish(WishKind.JOIN, C)


def test_one_joins_at_a_time() -> None:
    """The other learner waits for the next ballot."""
    term = term_of(group_of("A"))
    for now in (100.0, 100.1):
        for address in (B, C):
            hear(term, address, 10, now, sent=now - 0.01)
    assert term.wish(10, 100.2) == Wish(WishKind.JOIN, B)
    assert term.needed == {B}


def test_silent_learner_is_nobodys_concern() -> None:
    """Nothing waits for it."""
    assert term_of(group_of("A")).wish(10, 200.0) is None


def test_switch() -> None:
    """No more changes are taken; the wish is told when the other one has all, and for as long as a lease."""
    term = term_of()
    for address in (B, C):
        hear(term, address, 9, 100.1, sent=100.0)
    assert term.takes_changes(100.1)
    term.switch(B, 100.1)
    assert not term.takes_changes(100.2)
    assert term.wish(10, 100.2) is None
    hear(term, B, 10, 100.2, sent=100.1)
    term.commit(10)
    assert term.wish(10, 100.2) is None, "C hasn't the last one, so it isn't committed"
    hear(term, C, 10, 100.2, sent=100.1)
    term.commit(10)
    assert term.wish(10, 100.3) == Wish(WishKind.SWITCH, B)
    term.switch(None, 100.3)
    assert term.takes_changes(100.3)
    assert term.wish(10, 100.3) is None


def test_switch_is_given_up() -> None:
    """After as long as a lease changes go on."""
    term = term_of()
    term.switch(B, 100.0)
    assert not term.takes_changes(102.9)
    assert term.takes_changes(103.0)


@pytest.mark.parametrize("address", [A, C, "h:9"])
def test_switch_to_no_other_member(address: str) -> None:
    """Neither to itself, nor to a learner, nor to one that isn't there."""
    term = term_of(group_of("AB"))
    with pytest.raises(BadRequest, match=r"expected one of the other members \['h:2'\]"):
        term.switch(address, 100.0)
    assert term.takes_changes(100.0)


def test_too_few() -> None:
    """With fewer members than changes need none are taken."""
    assert not term_of(group_of("AB", least=3)).takes_changes(100.0)
    assert term_of(group_of("ABC", least=3)).takes_changes(100.0)


def test_gives_way() -> None:
    """When one is silent for longer than it takes to remove it and for another one to lead, others aren't answered."""
    term = term_of()
    hear(term, B, 10, 105.4)
    assert not term.gives_way(B, 105.5)
    assert term.gives_way(B, 105.6)
    assert not term.gives_way(C, 105.6), "that one could end it"
    hear(term, C, 10, 105.7)
    assert not term.gives_way(B, 105.7)
