"""What a member asks, and what its store is told of the answers."""

from __future__ import annotations

import pytest
from conftest import TakeErrors
from replication.group_samples import B, C, group_of
from replication.pulling_member import Member, groups_of
from twisted.internet.defer import fail

from pyshard.errors import SnapshotEnded, StorageFailed, Unavailable
from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.protocol.log_positions import LogPosition
from pyshard.replication.group_times import GroupTimes
from pyshard.replication.member_pulls import MemberPulls
from pyshard.replication.member_term import MemberTerm
from pyshard.replication.pulls import Pulled
from pyshard.replication.store_turns import StoreTurns


def test_says_it_has_what_is_synced() -> None:
    """It asks for more, which says that it has the groups, only when the disk has them."""
    member = Member()
    assert (member.pulled().last, member.pulled().beacon, member.pulled().ballot) == (0, b"", 5)
    member.answer(Pulled(5, committed=1, beacon=b"one", groups=groups_of((5, 1), (5, 2))))
    assert member.question is None
    assert member.store.position == LogPosition(5, 2)
    member.sync()
    pull = member.pulled()
    assert (pull.last, pull.history, pull.beacon, pull.identity) == (2, ((5, 1),), b"one", "store 2")
    assert member.store.committed == 1


def test_says_nothing_of_what_is_not_synced() -> None:
    """Another term begins while groups are on their way to the disk."""
    member = Member()
    member.fill((4, 1), (5, 2))
    member.answer(Pulled(5, beacon=b"x", groups=groups_of((5, 3))))
    member.following.cancel()
    turns = StoreTurns()
    follower = MemberPulls("h:1", member, B, member.store, turns, member.clock, member)
    follower.start()
    member.clock.advance(0)
    assert member.store.position.sequence == 3
    assert (member.pulled().last, member.pulled().history) == (2, ((4, 1), (5, 2)))


def test_commits_what_it_surely_has() -> None:
    """Not more than the answer's groups, or than it had when it asked."""
    member = Member()
    member.answer(Pulled(5, committed=9, beacon=b"x", groups=groups_of((5, 1), (5, 2))))
    member.sync()
    assert member.store.committed == 2
    member.answer(Pulled(5, committed=9, beacon=b"y"))
    assert member.store.committed == 2


def test_notes_what_it_shows() -> None:
    """All that is committed, when the store shows it, and as old as the question that led to it."""
    member = Member()
    member.clock.advance(1.0)
    member.answer(Pulled(5, committed=0, beacon=b"x", groups=groups_of((5, 1), (5, 2)), settled=True))
    member.sync()
    assert (member.shown.committed, member.shown.age, member.pulled().stale) == (0, 1.0, None)
    member.clock.advance(0.5)
    member.answer(Pulled(5, committed=2, beacon=b"y", settled=True))
    assert (member.shown.committed, member.shown.age, member.store.committed) == (2, 0.5, 2)
    member.clock.advance(0.25)
    member.answer(Pulled(5, committed=2, beacon=b"z", settled=True))
    assert (member.shown.age, member.pulled().stale) == (0.25, 0.75)


def test_what_does_not_make_it_new() -> None:
    """Answers of a primary that doesn't know whether it leads alone, or that has committed more than is here."""
    for answer in (Pulled(5, committed=1, beacon=b"y"), Pulled(5, committed=9, beacon=b"y", settled=True)):
        member = Member()
        member.fill((5, 1))
        member.answer(answer)
        assert (member.store.committed, member.shown.age) == (1, None)


def test_what_is_not_applied_is_not_shown() -> None:
    """The disk fails when the store is told to commit."""
    member = Member()
    member.fill((5, 1))
    commit = member.store.commit
    member.store.commit = lambda sequence: fail(StorageFailed(f"full at {sequence}"))  # type: ignore[method-assign]
    member.answer(Pulled(5, committed=1, beacon=b"y", settled=True))
    assert [member.shown.age] == [None]
    member.store.commit = commit  # type: ignore[method-assign]
    member.clock.advance(1.0)
    assert (member.store.committed, member.shown.age) == (1, 1.0)


def test_cut() -> None:
    """What the primary's log doesn't have goes, and then it asks again."""
    member = Member()
    member.fill((4, 1), (4, 2), (4, 3))
    member.answer(Pulled(5, beacon=b"y", cut=1))
    assert member.question is None
    member.sync()
    assert (member.pulled().last, member.pulled().beacon) == (1, b"y")
    assert member.store.position == LogPosition(4, 1)


def test_tail_that_the_disk_never_got() -> None:
    """Groups are there that aren't safe, and the primary has others: they are cut without being told."""
    member = Member()
    member.fill((4, 1))
    member.answer(Pulled(5, beacon=b"x", groups=groups_of((4, 2), (4, 3))))
    member.sync(StorageFailed("full"))
    member.clock.advance(1.0)
    assert member.failed
    assert member.pulled().last == 1
    member.answer(Pulled(5, beacon=b"y", groups=groups_of((4, 2), (5, 3))))
    member.sync()
    member.sync()
    assert (member.pulled().last, member.pulled().history) == (3, ((4, 1), (5, 3)))
    assert member.failed == ""


def test_store_that_can_not() -> None:
    """It is told, and tried again after a while; the primary's answers count meanwhile."""
    member = Member()
    member.answer(Pulled(5, beacon=b"x", groups=groups_of((5, 1))))
    member.sync(StorageFailed("the disk is full"))
    assert "the disk is full" in member.failed
    assert member.question is None
    member.clock.advance(1.0)
    assert (member.pulled().last, member.pulled().beacon) == (0, b"x")


@pytest.mark.parametrize("error", [Unavailable("gone"), OSError("gone")])
def test_network_that_can_not(error: Exception) -> None:
    """It asks again soon."""
    member = Member()
    member.refuse(error)
    assert (member.question, member.failed) == (None, "")
    member.clock.advance(0.05)
    assert member.pulled().last == 0


def test_another_ballot() -> None:
    """Nothing of the answer counts, of an older one or a newer one: who leads under which, bootstraps say."""
    member = Member()
    for ballot in (6, 4, 2**62):
        member.answer(Pulled(ballot, committed=5, beacon=b"x", groups=groups_of((ballot, 1))))
        assert member.store.position.sequence == 0
        member.clock.advance(0.05)
        assert (member.pulled().beacon, member.pulled().ballot) == (b"", 5)


def test_answer_of_an_older_ballot_of_this_side() -> None:
    """It came when the term had ended already: it binds nobody."""
    member = Member()
    member.member_term = newer = MemberTerm(group_of("AB", 6), B, GroupTimes(3.0, 4.0), 1.0)
    member.answer(Pulled(5, beacon=b"x", groups=groups_of((5, 1))))
    assert (newer.beacon, member.store.position.sequence) == (b"", 0)
    assert member.pulled().ballot == 6


def test_standing() -> None:
    """It asks nothing more under this ballot, and goes on under the next."""
    member = Member()
    term = member.member_term
    assert term is not None
    term.standing = True
    member.refuse(Unavailable("gone"))
    for _ in range(5):
        member.clock.advance(0.05)
    assert member.question is None
    member.member_term = MemberTerm(group_of("AB", 6), B, GroupTimes(3.0, 4.0), 1.0)
    member.clock.advance(0.05)
    assert member.pulled().ballot == 6


def test_other_primary() -> None:
    """It follows no more when another one leads, or this one does."""
    member = Member()
    member.member_term = MemberTerm(group_of("AB", 6, B), "h:1", GroupTimes(3.0, 4.0), 1.0)
    member.refuse(Unavailable("gone"))
    member.clock.advance(1.0)
    assert member.question is None
    assert member.following.called


def test_copy() -> None:
    """A learner forgets what it has, takes the rows, and goes on behind the head."""
    member = Member(C)
    member.fill((3, 1))
    member.shown.shows(1, 0.0)
    member.answer(Pulled(5, beacon=b"x", copy=True))
    assert (member.question, member.shown.age) == ("copy", None)
    member.answer(ChangeGroup(7, 5, 0, []))
    assert member.store.incomplete
    for key in (b"a", b"b"):
        member.answer([Change(0, 0, key, 0, 0, b"1")])
    member.answer([])
    member.sync()
    assert (member.store.values, member.store.incomplete) == ({b"a": b"1", b"b": b"1"}, False)
    assert (member.pulled().last, member.pulled().history) == (7, ((5, 7),))


@pytest.mark.parametrize("error", [SnapshotEnded("too old"), Unavailable("gone")])
def test_copy_that_breaks(error: Exception) -> None:
    """It isn't complete, says so, and begins another one."""
    member = Member(C)
    member.answer(Pulled(5, beacon=b"x", copy=True))
    member.answer(ChangeGroup(7, 5, 0, []))
    member.answer([Change(0, 0, b"a", 0, 0, b"1")])
    member.refuse(error)
    member.clock.advance(0.05)
    pull = member.pulled()
    assert (pull.complete, pull.last) == (False, 0)


def test_copies_are_counted() -> None:
    """Until it is a member: operators see how often it was begun."""
    member = Member(C)
    found = []
    for _ in range(2):
        member.answer(Pulled(5, beacon=b"x", copy=True))
        member.answer(ChangeGroup(7, 5, 0, []))
        found.append(member.copies)
        member.refuse(SnapshotEnded("too old"))
        member.clock.advance(0.05)
        member.clock.advance(0.05)
    assert found == [1, 2]
    member = Member()
    member.copies = 2
    member.answer(Pulled(5, beacon=b"x"))
    member.clock.advance(1)
    assert member.copies == 0


def test_member_makes_no_copy() -> None:
    """It would have to forget what may be nowhere else; so it waits, and asks again."""
    member = Member()
    member.fill((5, 1))
    for answer in (Pulled(5, beacon=b"x", copy=True), Pulled(5, beacon=b"x", cut=0)):
        member.store.committed = 1
        member.answer(answer)
        assert member.question is None
        member.clock.advance(0.05)
        assert (member.pulled().last, member.store.incomplete) == (1, False)


def test_long_history() -> None:
    """A question names the last ballots only, however many there were."""
    member = Member()
    member.fill(*[(ballot, ballot) for ballot in range(1, 1001)])
    assert member.pulled().history == tuple((ballot, ballot) for ballot in range(801, 1001))


@pytest.mark.parametrize("error", [Unavailable("gone, " + 3000 * "x"), ValueError("odd")])
def test_few_lines_tell_what_goes_wrong(error: Exception, logged_errors: TakeErrors, log_lines: list[str]) -> None:
    """However often it tries, and whatever a primary answers: one each ten seconds, with how many were left out."""
    member = Member()
    for _ in range(200):
        member.refuse(error)
        member.clock.advance(1)
    logged_errors()
    assert 18 <= len(log_lines) <= 23
    assert log_lines[-1].endswith("such lines before were left out")
    assert max(map(len, log_lines)) < 600
