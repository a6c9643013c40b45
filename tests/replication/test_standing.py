"""One replica over the model store: when it stands for the lead of its group, and what it does then."""

from __future__ import annotations

from replication.group_samples import B, C, group_of
from replication.model_store import Disk
from replication.one_replica import One

from pyshard.replication.wishes import Wish, WishKind


def test_stands_when_it_is_asked() -> None:
    """Not by itself: a bootstrap has to be there that settles it. What anybody else is told changes nothing."""
    one = One(B)
    one.replica.take_on(group_of())
    one.clock.advance(3.9)
    assert one.wish() is None
    one.clock.advance(0.2)
    assert one.replica.report().wish is None
    assert one.replica.member_term is not None
    assert not one.replica.member_term.standing
    assert one.wish() == Wish(WishKind.LEAD, B)
    assert one.replica.report().wish == Wish(WishKind.LEAD, B)


def test_stands_when_that_is_saved() -> None:
    """It asks nothing more from the first moment, and tells it when the disk has it. A restart changes nothing."""
    one = One(B)
    one.replica.take_on(group_of())
    one.clock.advance(4.1)
    one.held = []
    assert one.wish() is None
    assert one.replica.member_term is not None
    assert one.replica.member_term.standing
    assert one.replica.report().wish is None
    one.release()
    assert one.wish() == Wish(WishKind.LEAD, B)
    asked = len(one.asked)
    one.begin()
    one.clock.advance(1.0)
    assert len(one.asked) == asked
    assert one.wish() == Wish(WishKind.LEAD, B)


def test_standing_ends_with_the_ballot() -> None:
    """Under the next one it asks again, and waits a grace."""
    one = One(B)
    one.replica.take_on(group_of())
    one.clock.advance(4.1)
    assert one.wish() == Wish(WishKind.LEAD, B)
    one.replica.take_on(group_of("AB", 6))
    assert one.wish() is None
    one.begin()
    assert one.asked[-1][1].ballot == 6
    assert one.wish() is None


def test_can_not_save_that_it_stands() -> None:
    """It is tried again at the next question."""
    one = One(B)
    one.replica.take_on(group_of())
    one.clock.advance(4.1)
    one.held = []
    assert one.wish() is None
    one.break_disk()
    assert one.replica.report().wish is None
    assert one.wish() == Wish(WishKind.LEAD, B)


def test_member_does_not_stand_with_another_store() -> None:
    """Nor does a learner."""
    for one, members in ((One(B, Disk("another")), "ABC"), (One(C), "AB")):
        one.replica.take_on(group_of(members))
        one.clock.advance(10.0)
        assert one.wish() is None
