"""What a primary answers, and what counts of what it is asked."""

from __future__ import annotations

from functools import partial

import pytest
from replication.group_samples import A, B, C, group_of, pull_of
from replication.model_store import Disk, ModelStore
from stores import at_once
from twisted.internet.defer import Deferred, succeed

from pyshard.errors import BadRequest, FollowerBehind, NotConfigured
from pyshard.protocol.change_groups import ChangeGroup
from pyshard.replication.group_times import GroupTimes
from pyshard.replication.primary_term import PrimaryTerm
from pyshard.replication.pull_answers import PullAnswers
from pyshard.replication.pulls import Pulled


def _with_value(value: bytes, _: dict[bytes, bytes]) -> tuple[object, dict[bytes, bytes | None]]:
    return None, {b"k": value}


class Answers:
    """A primary A under ballot 5, whose log has the groups 1 to 4; at 100."""

    def __init__(self) -> None:
        self.now = 100.0
        self.leads = True
        self.asked: list[tuple[str, int]] = []
        self.groups_come: Deferred[None] = succeed(None)
        self.behind = False
        self.looked = 0
        self.store = ModelStore(Disk("store 1"), False, lambda: succeed(None))
        self.store.lead(5)
        for value in range(3):
            self.store.execute(partial(_with_value, b"%d" % value))
        self.term = PrimaryTerm(group_of(), GroupTimes(3.0, 4.0), self.now, b"0" * 16)
        self.answers = PullAnswers(self.store, self, lambda: self.now, self.look)

    def look(self) -> None:
        """Count."""
        self.looked += 1

    async def groups(self, follower: str, after: int, log_format: int) -> list[ChangeGroup]:
        """See `GroupSource`."""
        self.asked.append((follower, after))
        await self.groups_come
        if self.behind:
            raise FollowerBehind("gone")
        return self.store.groups_behind(after)

    def answered(self, **question: object) -> Pulled:
        """Have B ask, and be answered at once."""
        return at_once(self.answer(**question))

    def answer(self, **question: object) -> Deferred[Pulled]:
        """Have B ask."""
        pull = pull_of(B, **{"last": 0, "history": (), "beacon": self.term.beacon(99.9), **question})  # type: ignore[arg-type]
        return Deferred.fromCoroutine(self.answers.answer(pull, self.term, lambda: self.leads))


def test_groups() -> None:
    """Those behind the last one come, with what is committed, and a beacon."""
    primary = Answers()
    primary.term.committed = 2
    answer = primary.answered(last=1, history=((5, 1),))
    assert [group.sequence for group in answer.groups] == [2, 3, 4]
    assert (answer.ballot, answer.committed, answer.cut, answer.copy) == (5, 2, None, False)
    assert answer.beacon == primary.term.beacon(100.0)
    assert (primary.asked, primary.looked) == ([(B, 1)], 1)


def test_settled() -> None:
    """While both members have promised, and its own first group is committed: nothing can be acknowledged elsewhere."""
    primary = Answers()
    assert not primary.answered().settled, "C hasn't promised"
    primary.term.heard(pull_of(C, 1, primary.term.beacon(99.9), ((5, 1),)), primary.store.ballots, 4, 4, 100.0)
    assert not primary.answered().settled, "what was acknowledged under the ballot before isn't known"
    primary.term.committed = 1
    assert primary.answered().settled
    primary.groups_come = Deferred()
    waiting = primary.answer()
    primary.now = 102.95
    primary.groups_come.callback(None)
    assert not at_once(waiting).settled, "the promises have run out meanwhile"


def test_dated_when_it_is_sent() -> None:
    """The lease counts from then, not from when it was asked."""
    primary = Answers()
    primary.groups_come = Deferred()
    waiting = primary.answer()
    primary.now = 100.5
    primary.groups_come.callback(None)
    assert at_once(waiting).beacon == primary.term.beacon(100.5)


@pytest.mark.parametrize("ballot", [4, 6])
def test_another_ballot(ballot: int) -> None:
    """Nothing of it counts; who asks is told the primary's ballot."""
    primary = Answers()
    answer = primary.answered(last=4, history=((5, 1),), ballot=ballot, beacon=primary.term.beacon(99.9))
    assert answer == Pulled(5)
    assert primary.term.confirmed()[B] == 0
    assert not primary.term.may_answer(100.0)
    assert primary.asked == []


def test_cut() -> None:
    """What the log doesn't have is to go first."""
    assert Answers().answered(last=9, history=((5, 1),)).cut == 4
    assert Answers().answered(last=3, history=((4, 3),)).copy


def test_copy() -> None:
    """It asks from before what the log has."""
    primary = Answers()
    primary.behind = True
    answer = primary.answered()
    assert (answer.copy, answer.groups, answer.cut) == (True, (), None)


def test_nobody() -> None:
    """Another store at its address isn't of the group."""
    with pytest.raises(BadRequest):
        Answers().answered(incarnation="2")


def test_leads_no_more() -> None:
    """The answer isn't given: what the log has by then may be another primary's."""
    primary, failures = Answers(), []
    primary.groups_come = Deferred()
    primary.answer().addErrback(lambda failure: failures.append(failure.type))
    primary.leads = False
    primary.groups_come.callback(None)
    assert failures == [NotConfigured]


def test_gives_way() -> None:
    """It misses C for long, so B isn't answered any more; what B has counts all the same."""
    primary, failures = Answers(), []
    primary.now = 110.0
    primary.answer(last=3, history=((5, 1),)).addErrback(lambda failure: failures.append(failure.type))
    assert failures == [NotConfigured]
    assert primary.term.confirmed()[B] == 3
    assert primary.term.group.primary == A
