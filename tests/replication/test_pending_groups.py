"""How much a member takes that its primary doesn't say is committed."""

from __future__ import annotations

import pytest
from replication.group_samples import B
from replication.pulling_member import Member, groups_of

from pyshard.protocol.change_groups import ChangeGroup
from pyshard.protocol.log_groups import LogGroup
from pyshard.replication import pending_groups
from pyshard.replication.member_pulls import MemberPulls
from pyshard.replication.pending_groups import MOST_GROUPS, PendingGroups
from pyshard.replication.pulls import Pulled
from pyshard.replication.store_turns import StoreTurns


def test_what_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of groups of both sorts, until they are committed, or cut off."""
    monkeypatch.setattr(pending_groups, "MOST_BYTES", 1000)
    other = ChangeGroup(3, 5, 1, [], text=bytes(300))
    pending = PendingGroups()
    pending.take([LogGroup(1, bytes(300), 5), LogGroup(2, bytes(500), 5)])
    assert (pending.size, pending.has_room(2, 0)) == (800, True)
    pending.take([other])
    assert (pending.size, pending.has_room(3, 0)) == (800 + other.size, False)
    pending.committed(1)
    assert (pending.size, pending.has_room(3, 1)) == (500 + other.size, True)
    pending.cut(2)
    assert pending.size == 500
    pending.committed(9)
    assert pending.size == 0


def test_tiny_ones() -> None:
    """There may be twice as many as questions wait at a primary, also of those that were there at a start."""
    pending = PendingGroups()
    assert [pending.has_room(7 + MOST_GROUPS - 1, 7), pending.has_room(7 + MOST_GROUPS, 7)] == [True, False]


def test_a_primary_that_commits_nothing(monkeypatch: pytest.MonkeyPatch, log_lines: list[str]) -> None:
    """Behind the bound nothing is taken, until it says that those before are committed; it is asked each second."""
    [one] = groups_of((5, 1))
    monkeypatch.setattr(pending_groups, "MOST_BYTES", one.size + 1)
    member = Member()
    member.fill((5, 1))
    member.fill((5, 2))
    for _ in range(5):
        member.answer(Pulled(5, beacon=b"x", groups=groups_of((5, 3))))
        assert (member.question, member.store.position.sequence) == (None, 2)
        member.clock.advance(1.0)
        assert member.pulled().last == 2
    assert "h:1 doesn't say that its changes are committed" in log_lines[0]
    member.answer(Pulled(5, committed=1, beacon=b"x", groups=groups_of((5, 3))))
    member.clock.advance(1.0)
    assert (member.store.committed, member.store.position.sequence) == (1, 2)
    member.answer(Pulled(5, committed=1, beacon=b"x", groups=groups_of((5, 3))))
    member.sync()
    assert member.store.position.sequence == 3


def test_a_log_that_was_there_at_the_start(monkeypatch: pytest.MonkeyPatch, log_lines: list[str]) -> None:
    """A member that begins anew knows of little in it that it is committed; with the first answer it knows of all."""
    member = Member()
    member.fill((5, 1), (5, 2), (5, 3))
    member.following.cancel()
    monkeypatch.setattr(pending_groups, "MOST_GROUPS", 2)
    member.pending = PendingGroups()
    MemberPulls("h:1", member, B, member.store, StoreTurns(), member.clock, member).start()
    member.clock.advance(0)
    assert (member.pulled().last, member.store.committed) == (3, 0)
    member.answer(Pulled(5, committed=3, beacon=b"x", groups=groups_of((5, 4))))
    member.sync()
    assert (member.pulled().last, member.store.committed, log_lines) == (4, 3, [])


def test_what_comes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """It counts once, such as groups that aren't on the disk yet, and are asked for again."""
    member = Member()
    member.fill((5, 1))
    size = member.pending.size
    member.answer(Pulled(5, beacon=b"x", groups=groups_of((5, 1), (5, 2))))
    member.sync()
    assert member.pending.size == 2 * size
    member.answer(Pulled(5, beacon=b"y", cut=1))
    member.sync()
    assert member.pending.size == size
