"""A member of a group of replicas that follows its primary; the test answers, and has its disk sync."""

from __future__ import annotations

from typing import TypeVar

from replication.group_samples import B, group_of
from replication.model_store import Disk, ModelStore
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from pyshard.protocol.change_groups import Change, ChangeGroup
from pyshard.replication.group_times import GroupTimes
from pyshard.replication.member_pulls import MemberPulls
from pyshard.replication.member_term import MemberTerm
from pyshard.replication.pending_groups import PendingGroups
from pyshard.replication.pulls import Pull, Pulled
from pyshard.replication.stale_reads import ShownState
from pyshard.replication.store_turns import StoreTurns

_T = TypeVar("_T")


def groups_of(*places: tuple[int, int]) -> list[ChangeGroup]:
    """Groups of ballots and numbers."""
    return [
        ChangeGroup(sequence, ballot, 0, [Change(0, 0, b"k", 0, 0, b"%d" % sequence)]) for ballot, sequence in places
    ]


class Member:
    """B, or C as a learner, follows A under ballot 5. The test answers, and has its disk sync."""

    def __init__(self, me: str = B, members: str = "AB") -> None:
        self.clock = Clock()
        self.syncs: list[Deferred[None]] = []
        self.store = ModelStore(Disk(f"store {me[-1]}"), False, self._sync)
        self.member_term: MemberTerm | None = MemberTerm(group_of(members), me, GroupTimes(3.0, 4.0), 0.0)
        self.shown = ShownState(self.clock.seconds)
        self.copies = 0
        self.pending = PendingGroups()
        self.failed = ""
        self.asked: list[tuple[object, Deferred[object]]] = []
        self.following = MemberPulls("h:1", self, me, self.store, StoreTurns(), self.clock, self).start()
        self.clock.advance(0)

    def _sync(self) -> Deferred[None]:
        self.syncs.append(Deferred())
        return self.syncs[-1]

    def store_can(self, why_not: str) -> None:
        """See `FollowerOwner`."""
        self.failed = why_not

    def pull(self, question: Pull) -> Deferred[Pulled]:
        """See `Primary`."""
        return self._ask(question)

    def open_copy(self) -> Deferred[ChangeGroup]:
        """See `Primary`."""
        return self._ask("copy")

    def copied_rows(self) -> Deferred[list[Change]]:
        """See `Primary`."""
        return self._ask("rows")

    def _ask(self, question: object) -> Deferred[_T]:
        answer: Deferred[_T] = Deferred()
        self.asked.append((question, answer))  # type: ignore[arg-type]
        return answer

    @property
    def question(self) -> object:
        """What it waits for; None: for nothing."""
        question, answer = self.asked[-1]
        return None if answer.called else question

    def answer(self, answer: object) -> None:
        """Answer what it waits for."""
        assert self.question is not None
        self.asked[-1][1].callback(answer)

    def refuse(self, error: Exception) -> None:
        """The same, with an error."""
        assert self.question is not None
        self.asked[-1][1].errback(error)

    def sync(self, error: Exception | None = None) -> None:
        """Have the disk save what it was told first."""
        done = self.syncs.pop(0)
        if error is None:
            done.callback(None)
        else:
            done.errback(error)

    def pulled(self) -> Pull:
        """The question that waits."""
        question = self.question
        assert isinstance(question, Pull)
        return question

    def fill(self, *places: tuple[int, int]) -> None:
        """Give it groups, on its disk."""
        self.answer(Pulled(5, beacon=b"x", groups=groups_of(*places)))
        self.sync()
