"""How long a member rests before it asks its primary again."""

from __future__ import annotations

from itertools import pairwise

import pytest
from replication.group_samples import C
from replication.pulling_member import Member

from pyshard.errors import SnapshotEnded
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.replication.pull_rests import PullRests
from pyshard.replication.pulls import Pulled


def test_answers_in_vain() -> None:
    """A rest comes behind more than twenty that come soon and bring nothing. One that waits, or has some, ends it."""
    rests = PullRests()
    assert [rests.behind_answer(0, 0.2, 0.5) for _ in range(22)] == [0.0] * 20 + [0.02] * 2
    assert rests.behind_answer(0, 0.25, 0.5) == 0.0
    assert [rests.behind_answer(0, 0.0, 0.5) for _ in range(21)] == [0.0] * 20 + [0.02]
    assert rests.behind_answer(1, 0.0, 0.5) == 0.0


def test_copies() -> None:
    """The next one is begun later each time, in half a minute at the most."""
    rests = PullRests()
    assert rests.before_copy(100.0) == 0.0
    found = []
    for copies in (1, 2, 3, 9, 10, 2000):
        rests.copied(copies, 100.0)
        found.append(round(rests.before_copy(100.0), 2))
    assert found == [0.1, 0.2, 0.4, 25.6, 30.0, 30.0]
    assert rests.before_copy(200.0) == 0.0


@pytest.mark.parametrize("answer", [Pulled(5, beacon=b"x"), Pulled(5, beacon=b"x", cut=1)])
def test_a_primary_that_answers_at_once(answer: Pulled) -> None:
    """A member that is told nothing, or to cut what it hasn't, asks fifty times a second behind the first ones."""
    member = Member()
    member.fill((5, 1))
    for number in range(23):
        member.answer(answer)
        if answer.cut is not None:
            member.sync()
        if number < 20:
            assert member.question is not None
            continue
        assert member.question is None
        member.clock.advance(0.02)
        assert member.question is not None
    member.fill((5, 2))
    assert member.question is not None, "who brings groups is asked again at once"


def test_a_copy_again_and_again() -> None:
    """A learner that is to be copied to without end begins each time later, and asks meanwhile."""
    member = Member(C)
    begun: list[float] = []
    for _ in range(500):
        if member.question is None:
            member.clock.advance(0.05)
        elif member.question == "copy":
            begun.append(member.clock.seconds())
            member.answer(ChangeGroup(7, 5, 0, []))
        elif member.question == "rows":
            member.refuse(SnapshotEnded("too old"))
        else:
            member.answer(Pulled(5, beacon=b"x", copy=True))
    pauses = [later - sooner for sooner, later in pairwise(begun)]
    assert len(pauses) >= 5
    assert all(later > 1.5 * sooner for sooner, later in pairwise(pauses))
