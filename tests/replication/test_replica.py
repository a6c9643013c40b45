"""One replica over the model store: which groups it takes on, when it leads, and what it says."""

from __future__ import annotations

from replication.group_samples import A, B, C, group_of, pull_of
from replication.model_store import Disk
from replication.one_replica import One, errors_of
from stores import at_once
from twisted.internet.defer import Deferred

from pyshard.errors import NotConfigured, OutcomeUnknown, StorageFailed
from pyshard.replication.pulls import Pulled
from pyshard.replication.wishes import Wish, WishKind


def test_leads() -> None:
    """The primary of a group leads when the disk has the promise, and its own first group."""
    one = One()
    assert one.replica.report().ballot == 0
    one.held = []
    one.replica.take_on(group_of("A"))
    assert (one.replica.leads, one.replica.group, one.store.promised.ballot) == (False, None, 0)
    one.release()
    assert (one.replica.leads, one.replica.takes_changes, one.store.promised.ballot) == (True, True, 5)
    assert (one.store.ballots, one.store.committed) == (((5, 1),), 1)


def test_remembers_slow_members() -> None:
    """As long as it runs, so that who was removed doesn't join again at once."""
    one = One()
    one.replica.take_on(group_of())
    one.replica._waits.slow = C
    assert C in one.replica.report().slow  # a bootstrap is told, as operators ask there
    told = []
    for ballot in (6, 7, 9):  # of 8 it isn't told, so somebody else may have led
        one.replica.take_on(group_of("AB", ballot=ballot))
        told.append(one.replica._waits.rests.left(C, one.clock.seconds()))
    assert told == [60.0, 60.0, 60.0]
    assert one.replica.report().slow == (
        f"changes have waited long for {C}, or again and again, so it is a learner for a while"
    )


def test_knows_nothing_of_its_age_when_it_has_led() -> None:
    """What a primary shows may not be committed, so what it knew as a member counts no more."""
    one = One(B)
    one.replica.take_on(group_of())
    one.replica.shown.shows(1, 0.0)
    assert one.replica.shown.age == 0.0
    one.replica.take_on(group_of(primary=B, ballot=6))
    assert one.replica.leads
    assert [one.replica.shown.age] == [None]


def test_older_group_is_passed_over() -> None:
    """And the same one, too."""
    one = One()
    one.replica.take_on(group_of("A"))
    gate = one.replica.gate
    for ballot in (4, 5):
        one.replica.take_on(group_of("ABC", ballot, B))
    assert one.replica.gate is gate
    assert one.replica.group == group_of("A")


def test_primary_that_began_anew() -> None:
    """It doesn't lead under the ballot that it led under; it wants the next."""
    one = One()
    one.replica.take_on(group_of("A"))
    one.begin()
    assert [one.replica.leads] == [False]
    one.replica.take_on(group_of("A"))
    assert [one.replica.leads] == [False]
    assert one.wish() == Wish(WishKind.RENEW, A)
    one.replica.take_on(group_of("A", 6))
    assert one.replica.leads
    assert one.store.ballots == ((5, 1), (6, 2))


def test_store_that_the_group_does_not_know() -> None:
    """It leads nothing, and wants nothing."""
    one = One(disk=Disk("another"))
    one.replica.take_on(group_of("A"))
    assert not one.replica.leads
    assert one.wish() is None


def test_half_a_copy_does_not_lead() -> None:
    """Nor does it ask for one ballot after the other."""
    one = One(disk=Disk("store 1", complete=False))
    one.replica.take_on(group_of("A"))
    assert (one.replica.leads, one.wish()) == (False, None)


def test_follows() -> None:
    """Everybody else asks the primary, under the ballot that its disk has."""
    one = One(B)
    one.held = []
    one.replica.take_on(group_of())
    one.clock.advance(0)
    assert one.asked == []
    one.release()
    one.clock.advance(0)
    ((address, pull),) = one.asked
    assert (address, pull.ballot, pull.address) == (A, 5, B)
    one.begin()
    assert [pull.ballot for _, pull in one.asked] == [5, 5], "it remembers"


def test_answers_go_on_under_the_next_ballot() -> None:
    """A change that waits for a member passes when that member is removed."""
    one = One()
    one.replica.take_on(group_of("AB"))
    gate = one.replica.gate
    _, seen, changed, _ = one.store.execute(lambda _: (None, {b"a": b"1"}))
    passed = gate.passed(seen, changed)
    assert [passed.called] == [False]
    one.replica.take_on(group_of("A", 6))
    assert passed.called
    assert (errors_of(passed), one.replica.gate) == ([], gate)
    assert one.replica.leads_since == 5


def test_answers_that_are_under_way_go_on_under_the_next_ballot() -> None:
    """Also where nobody waits when the ballot changes: what is begun before asks the gate that it took then."""
    one = One()
    one.replica.take_on(group_of("AB"))
    gate = one.replica.gate
    _, seen, changed, _ = one.store.execute(lambda _: (None, {b"a": b"1"}))
    one.replica.take_on(group_of("A", 6))
    assert (one.replica.gate, one.replica.leads_since) == (gate, 5)
    assert gate.passed(seen, changed).called
    one.replica.take_on(group_of("AB", 7))
    _, seen, changed, _ = one.store.execute(lambda _: (None, {b"a": b"2"}))
    passed = gate.passed(seen, changed)
    assert [passed.called] == [False]
    one.replica.take_on(group_of("A", 8))
    assert passed.called


def test_answers_end_where_a_ballot_is_left_out() -> None:
    """Another one may have led in between."""
    one = One()
    one.replica.take_on(group_of("AB"))
    gate = one.replica.gate
    _, seen, changed, _ = one.store.execute(lambda _: (None, {b"a": b"1"}))
    passed, read = gate.passed(seen, changed), gate.passed(seen, False)
    one.replica.take_on(group_of("A", 7))
    assert (errors_of(passed), errors_of(read)) == ([OutcomeUnknown], [NotConfigured])
    assert one.replica.gate is not gate
    assert one.replica.leads_since == 7


def test_disk_fails_while_it_leads() -> None:
    """It leads no more, says why, and leads under another ballot if it is to."""
    one = One()
    one.replica.take_on(group_of("A"))
    passed = one.replica.gate.passed(99, True)
    one.replica.fail("the disk fails")
    assert errors_of(passed) == [OutcomeUnknown]
    assert (one.replica.leads, one.replica.report().failed) == (False, "the disk fails")
    assert one.wish() == Wish(WishKind.RENEW, A)
    one.replica.take_on(group_of("A", 6))
    assert (one.replica.leads, one.replica.report().failed) == (True, "")


def test_log_that_can_not_be_read() -> None:
    """A primary that can give nobody anything leads no more, if another one can lead. It removes nobody for that."""
    for members, leads in (("AB", False), ("A", True)):
        one = One()
        one.replica.take_on(group_of(members))
        first: Deferred[Pulled] = Deferred.fromCoroutine(one.replica.pulled(pull_of(B, 0, history=())))
        one.unreadable = True
        question = pull_of(B, 0, at_once(first).beacon, history=())
        pulled: Deferred[Pulled] = Deferred.fromCoroutine(one.replica.pulled(question))
        assert errors_of(pulled) == [StorageFailed]
        assert one.replica.leads == leads
        assert bool(one.replica.report().failed) != leads


def test_can_not_save_a_promise() -> None:
    """The group isn't taken on; it is when it is told again."""
    one = One(B)
    one.held = []
    one.replica.take_on(group_of())
    one.break_disk()
    assert [one.replica.group] == [None]
    assert "the disk fails" in one.replica.report().failed
    one.replica.take_on(group_of())
    one.clock.advance(0)
    assert (one.replica.group, one.replica.report().failed) == (group_of(), "")
    assert len(one.asked) == 1


def test_can_not_lead() -> None:
    """It says why. Another member can lead then."""
    one = One()
    one.held = []
    one.replica.take_on(group_of())
    held, one.held = one.held, []
    held[0].callback(None)  # the promise
    one.break_disk()
    assert not one.replica.leads
    assert "the disk fails" in one.replica.report().failed


def test_stopped() -> None:
    """Nothing begins any more, whatever was under way."""
    one = One()
    one.held = []
    one.replica.take_on(group_of("A"))
    one.replica.stop()
    one.release()
    assert not one.replica.leads
    one.replica.take_on(group_of("A", 6))
    assert one.replica.group is None


def test_no_removal_within_an_earlier_promise() -> None:
    """Made the primary by a switch, it knows until when the old one may answer by its promise."""
    one = One(B)
    one.replica.take_on(group_of())
    one.clock.advance(2.0)
    one.replica.take_on(group_of("ABC", 6, B))
    assert one.replica.leads
    one.clock.advance(1.9)
    assert one.wish() is None
    one.clock.advance(0.2)
    assert one.wish() == Wish(WishKind.REMOVE, A)


def test_pull_at_who_does_not_lead() -> None:
    """It is refused, and nothing of it counts."""
    one = One(B)
    one.replica.take_on(group_of())
    pulled: Deferred[Pulled] = Deferred.fromCoroutine(one.replica.pulled(pull_of(C, 0)))
    assert errors_of(pulled) == [NotConfigured]
